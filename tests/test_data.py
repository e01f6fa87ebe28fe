"""The bundled data: complete, the same every time, and refused when damaged."""

import csv
import dataclasses
import gzip
import hashlib
import io
import itertools
import math
import struct
from array import array
from datetime import datetime, timedelta

import numpy as np
import pytest
from dlbook import data

PARTS = {
    "train_images": "train-images-idx3",
    "train_labels": "train-labels-idx1",
    "test_images": "t10k-images-idx3",
    "test_labels": "t10k-labels-idx1",
}


@pytest.mark.parametrize(
    ("name", "train", "test"), [("fashion-mnist", 60_000, 10_000), ("digits", 4_000, 1_000)]
)
def test_every_image_has_a_label_and_every_class_as_many_images(name, train, test):
    dataset = data.load(name)
    for images, labels, examples in (
        (dataset.train_images, dataset.train_labels, train),
        (dataset.test_images, dataset.test_labels, test),
    ):
        assert images.shape == (examples, 28, 28) and images.dtype == np.uint8
        assert labels.shape == (examples,) and labels.dtype == np.uint8
        assert np.bincount(labels).tolist() == [examples // 10] * 10
        assert images.min() == 0 and images.max() == 255
        assert images.reshape(examples, -1).any(axis=1).all()  # no image is empty
    assert len(dataset.class_names) == 10 == len(set(dataset.class_names))


@pytest.mark.parametrize("name", data.LOADERS)
def test_loading_twice_gives_the_same_and_nobody_can_exchange_a_part(name):
    first, second = data.load(name), data.load(name)
    for field in dataclasses.fields(first):
        part, again = getattr(first, field.name), getattr(second, field.name)
        np.testing.assert_array_equal(part, again) if isinstance(part, np.ndarray) else None
        assert isinstance(part, np.ndarray) or part == again
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(first, field.name, None)


def test_fashion_mnist_equals_an_independent_reading():
    """Read with `struct` and `array` instead of NumPy, as the format is described by its authors."""
    dataset = data.load("fashion-mnist")
    for part, file in PARTS.items():
        with gzip.open(data.DIRECTORY / f"{file}-ubyte.gz") as stream:
            zero, kind, axes = struct.unpack(">HBB", stream.read(4))
            sizes = struct.unpack(f">{axes}I", stream.read(4 * axes))
            values = array("B", stream.read())
        assert (zero, kind) == (0, 8)
        assert getattr(dataset, part).shape == sizes
        assert getattr(dataset, part).tobytes() == values.tobytes()


def test_digits_are_the_rows_of_the_file_dealt_into_two_parts_without_overlap():
    dataset = data.load("digits")
    with gzip.open(data.DIRECTORY / "mnist_5k.csv.gz", "rt") as stream:
        rows = [(bytes(map(int, row[:-1])), int(row[-1])) for row in csv.reader(stream)]
    train = list(
        zip(
            [image.tobytes() for image in dataset.train_images],
            dataset.train_labels.tolist(),
            strict=True,
        )
    )
    test = list(
        zip(
            [image.tobytes() for image in dataset.test_images],
            dataset.test_labels.tolist(),
            strict=True,
        )
    )
    assert sorted(train + test) == sorted(rows)
    assert (
        len(set(rows)) == 5_000
    )  # no row occurs twice, so that these two parts have none in common
    assert not set(train) & set(test)
    # Mixed: any run of ten neighbours holds every class.
    assert {
        tuple(sorted(dataset.train_labels[start : start + 10])) for start in range(0, 4_000, 10)
    } == {tuple(range(10))}


def lines_of(name):
    with gzip.open(data.DIRECTORY / name, "rt", encoding="utf-8", newline="") as stream:
        return stream.read().split("\n")


def test_weather_equals_an_independent_reading():
    """Hour by hour with Python's own types: each line of the file at its hour, NaN everywhere else."""
    weather = data.load("weather")
    header, *lines, end = lines_of("weather_jfk_2013.csv.gz")
    assert end == "" and len(lines) == 8_706
    header, hours = header.split(","), {}
    for line in lines:
        row = dict(zip(header, line.split(","), strict=True))
        assert row["origin"] == "JFK" and row["year"] == "2013"
        hour = datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ")
        assert hour not in hours
        # the stamp is the local time of the other columns, in UTC
        local = datetime(2013, *(int(row[name]) for name in ("month", "day", "hour")))
        assert hour - local in (timedelta(hours=4), timedelta(hours=5))
        hours[hour] = [
            math.nan if row[name] == "NA" else float(row[name]) for name in weather.names
        ]
    assert weather.names == tuple(header[5:14]) and len(weather.units) == 9
    times = weather.times.astype("datetime64[s]").tolist()
    assert (times[0], times[-1]) == (min(hours), max(hours))
    assert {b - a for a, b in itertools.pairwise(times)} == {timedelta(hours=1)}
    assert len(times) == 8_730 and weather.values.shape == (8_730, 9)
    missing = [math.nan] * 9
    for time, row in zip(times, weather.values.tolist(), strict=True):
        np.testing.assert_array_equal(row, hours.get(time, missing))


def test_weather_is_plausible_in_its_units():
    weather = data.load("weather")
    ranges = {
        "temp": (10, 100),  # °F: -12 to 38 °C
        "dewp": (-15, 80),
        "humid": (10, 100),
        "wind_dir": (0, 360),
        "wind_speed": (0, 50),
        "wind_gust": (10, 70),
        "precip": (0, 1),
        "pressure": (980, 1045),
        "visib": (0, 10),
    }
    for name, (least, most) in ranges.items():
        column = weather.column(name)
        assert least <= np.nanmin(column) and np.nanmax(column) <= most
    assert np.isnan(weather.column("temp")).sum() == 24
    assert not (weather.column("dewp") > weather.column("temp") + 0.1).any()
    with pytest.raises(ValueError, match="unknown column 'rain'; known are temp, dewp"):
        weather.column("rain")


def test_gaps_are_filled_with_the_last_known_value():
    nan = np.nan
    filled = data.fill_gaps(np.array([[nan, 1], [2, nan], [nan, nan], [3, 5.0]]))
    assert filled.tolist() == [[2, 1], [2, 1], [2, 1], [3, 5]]
    assert data.fill_gaps(np.array([4.0, nan, nan, 1])).tolist() == [4, 4, 4, 1]
    with pytest.raises(ValueError, match="column 1 has no value; leave it out"):
        data.fill_gaps(np.array([[1, nan], [2, nan]]))
    weather = data.load("weather")
    filled, observed = data.fill_gaps(weather.values), ~np.isnan(weather.values)
    assert not np.isnan(filled).any()
    np.testing.assert_array_equal(filled[observed], weather.values[observed])
    # no hour knows anything of later ones
    past = data.fill_gaps(weather.values[:4_000, :5])
    np.testing.assert_array_equal(past, filled[:4_000, :5])


def test_utterances_equal_an_independent_reading():
    utterances = data.load("japanese-vowels")
    counts = {"train": [30] * 9, "test": [31, 35, 88, 44, 29, 24, 40, 50, 29]}
    for part, speakers in counts.items():
        frames, mask, labels = (
            getattr(utterances, f"{part}_{name}") for name in ("frames", "mask", "speakers")
        )
        lines = lines_of(f"JapaneseVowels_{part.upper()}.ts.gz")
        lines = lines[lines.index("@data") + 1 : -1]
        assert frames.shape == (len(lines), 29, 12) and frames.dtype == np.float32
        assert mask.shape == (len(lines), 29) and mask.dtype == bool
        assert np.bincount(labels).tolist() == speakers
        for line, found, present, label in zip(lines, frames, mask, labels, strict=True):
            *series, speaker = line.split(":")
            assert int(speaker) == label + 1 and len(series) == 12
            for coefficient, values in enumerate(series):
                values = array("f", map(float, values.split(",")))
                assert 7 <= len(values) <= 29
                assert found[: len(values), coefficient].tobytes() == values.tobytes()
                assert not found[len(values) :].any()
                assert present.tolist() == [step < len(values) for step in range(29)]
    both = [*map(bytes, utterances.train_frames), *map(bytes, utterances.test_frames)]
    assert len(set(both)) == 640  # no utterance occurs twice


def test_quatrains_equal_an_independent_reading():
    quatrains = data.load("tang-quatrains")
    assert (len(quatrains.five), len(quatrains.seven)) == (3_527, 9_883)
    read = {5: [], 7: []}
    for line in lines_of("tang_quatrains.tsv.gz")[:-1]:
        author, title, text = line.split("\t")
        characters = [character for character in text if character not in "，。？！；：、"]
        assert len(text) == len(characters) + 4 and author and title
        size = len(characters) // 4
        poem = ["".join(characters[i * size : (i + 1) * size]) for i in range(4)]
        read[size].append((author, title, tuple(poem)))
    for size, poems in ((5, quatrains.five), (7, quatrains.seven)):
        assert [dataclasses.astuple(poem) for poem in poems] == read[size]
        assert {len(line) for poem in poems for line in poem.lines} == {size}
        text = "".join(line for poem in poems for line in poem.lines)
        assert all(
            "\u3400" <= character <= "\u9fff" or character >= "\U00020000" for character in text
        )
    # Li Bai's night thoughts are there, in the wording of the Complete Tang Poems
    assert ("李白", "靜夜思") in {(poem.author, poem.title) for poem in quatrains.five}


def test_no_two_quatrains_agree_in_more_than_half_of_the_places():
    quatrains = data.load("tang-quatrains")
    for poems, size in ((quatrains.five, 5), (quatrains.seven, 7)):
        rows = np.array([list("".join(poem.lines)) for poem in poems]).view("int32")
        rows = rows.reshape(len(poems), 4 * size)
        for row in rows[::20]:  # every twentieth poem with all others
            assert np.sort((rows == row).sum(axis=1))[-2] <= 2 * size


def test_moby_dick_equals_an_independent_reading():
    novel = data.load("moby-dick")
    content = (gzip.open(data.DIRECTORY / "moby_dick.txt.gz").read()).decode("utf-8")
    assert novel.text == content == "".join(novel.chapters)
    assert len(content) == 1_190_317 and len(set(content)) == 83
    assert len(novel.chapters) == 135
    for number, chapter in enumerate(novel.chapters, start=1):
        assert chapter.startswith(f"CHAPTER {number}. ")
    assert "\n\nCall me Ishmael. Some years ago" in novel.chapters[0]


def test_unknown_name():
    with pytest.raises(
        ValueError, match="unknown data set 'mnist'; known are 'fashion-mnist', 'digits', 'weather'"
    ):
        data.load("mnist")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="mnist_5k.csv.gz is missing; install dlbook again"):
        data.unpack("mnist_5k.csv.gz", directory=tmp_path)


NAME = "t10k-labels-idx1-ubyte.gz"


def packed():
    return bytearray((data.DIRECTORY / NAME).read_bytes())


def half():
    return packed()[: len(packed()) // 2]


def no_archive():
    return b"<html>not found</html>"


def flipped_bit():
    content = packed()
    content[len(content) // 2] ^= 1
    return content


@pytest.mark.parametrize("damage", [half, no_archive, flipped_bit, bytes])
def test_damaged_archive(tmp_path, damage):
    """`bytes()` is an empty file."""
    (tmp_path / NAME).write_bytes(damage())
    with pytest.raises(ValueError, match=f"{NAME} .*; install dlbook again"):
        data.unpack(NAME, directory=tmp_path)


def test_wrong_checksum(tmp_path):
    content = bytearray(gzip.decompress(packed()))
    content[-1] ^= 1
    (tmp_path / NAME).write_bytes(gzip.compress(content))
    with pytest.raises(
        ValueError,
        match=f"has SHA-256 [0-9a-f]{{64}}, expected {data.SHA256[NAME]}; install dlbook again",
    ):
        data.unpack(NAME, directory=tmp_path)


def test_another_packing_of_the_same_content_is_as_good(tmp_path):
    (tmp_path / NAME).write_bytes(gzip.compress(gzip.decompress(packed()), compresslevel=1))
    assert data.unpack(NAME, directory=tmp_path) == data.unpack(NAME)


def test_every_file_is_checked_and_described():
    files = {path.name for path in data.DIRECTORY.glob("*.gz")}
    assert files == set(data.SHA256)
    licences = (data.DIRECTORY / "LICENSES.md").read_text(encoding="utf-8")
    assert [name for name in files if f"`{name}`" not in licences] == []


def test_not_an_idx_file():
    with pytest.raises(ValueError, match="not an IDX file of bytes"):
        data.read_idx(b"\0\0\x0d\x01" + struct.pack(">I", 0))
    empty = io.BytesIO(b"\0\0\x08\x01" + struct.pack(">I", 0)).getvalue()
    assert data.read_idx(empty).shape == (0,)


def test_a_run_is_what_was_saved_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "RUN_SHA256", {"run": None})
    with pytest.raises(FileNotFoundError, match="run.npz is missing; install dlbook again"):
        data.load_run("run", tmp_path)
    with pytest.raises(ValueError, match="unknown run 'walk'; known are 'run'"):
        data.load_run("walk", tmp_path)

    path = tmp_path / "run.npz"
    np.savez(path, loss=np.array([2.0, 1.0]), script="tools/run.py")
    data.RUN_SHA256["run"] = hashlib.sha256(path.read_bytes()).hexdigest()
    run = data.load_run("run", tmp_path)
    assert run["loss"].tolist() == [2.0, 1.0] and str(run["script"]) == "tools/run.py"

    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"expected {data.RUN_SHA256['run']}; install"):
        data.load_run("run", tmp_path)

    np.savez(path, loss=np.array([object()]))  # needs pickle, which could execute anything
    data.RUN_SHA256["run"] = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="allow_pickle=False"):
        data.load_run("run", tmp_path)


def test_every_run_is_checked():
    assert {path.stem for path in data.RUNS.glob("*")} == set(data.RUN_SHA256)
    for name in data.RUN_SHA256:
        assert (data.RUNS.parents[2] / str(data.load_run(name)["script"])).is_file()

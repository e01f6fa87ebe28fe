"""The bundled data: complete, the same every time, and refused when damaged."""

import csv
import gzip
import io
import struct
from array import array

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
def test_loading_twice_gives_the_same_arrays(name):
    first, second = data.load(name), data.load(name)
    for part in PARTS:
        np.testing.assert_array_equal(getattr(first, part), getattr(second, part))
    assert first.class_names == second.class_names


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


def test_unknown_name():
    with pytest.raises(
        ValueError, match="unknown data set 'mnist'; known are 'fashion-mnist', 'digits'"
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

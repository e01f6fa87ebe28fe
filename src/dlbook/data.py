"""The bundled data sets: real, whole, checked, and the same on every machine. Sources and licences: datasets/LICENSES.md."""

import gzip
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DIRECTORY = Path(__file__).parent / "datasets"

# SHA-256 of each file's *unpacked* content: archives of the same content differ from packager to packager.
SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    "mnist_5k.csv.gz": "167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053",
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


LOADERS = {"fashion-mnist": _fashion_mnist, "digits": _digits}


def load(name):
    """Load a bundled data set.

    Parameters
    ----------
    name : str
        "fashion-mnist": 60,000 training and 10,000 test images of clothing, the official split (Xiao et al., 2017).
        "digits": 5,000 handwritten digits of MNIST, 400 a class for training and 100 for testing. MNIST's own split
        is not preserved, so results do not compare with those published for MNIST.

    Returns
    -------
    Dataset

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

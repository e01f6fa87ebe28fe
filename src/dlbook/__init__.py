"""The helper package of the book *Deep Learning with Python*.

Everything that a notebook uses in nearly every cell is available as ``dlbook.name``; the algorithms live in modules:
`dlbook.perceptron` (the first neurons), `dlbook.tensor` (automatic differentiation), `dlbook.nn` (layers, losses, training), `dlbook.convolution` (layers for
images), `dlbook.recurrent` (layers for sequences and trees), `dlbook.attention` (a Transformer's layers), `dlbook.series` (windows of a series), `dlbook.optim`
(optimisers), `dlbook.regularization` (against overfitting), `dlbook.explain` (maps of class evidence), `dlbook.efficiency` (cost,
pruning, quantisation), `dlbook.parallel` (training in several processes), `dlbook.language`
(texts, n-grams, sampling), `dlbook.generative` (models that make data), `dlbook.diffusion` (noise taken away step by step), `dlbook.metrics` (how good they are),
`dlbook.trust` (attacks, calibration, privacy), `dlbook.checkup` (what to look at before training), `dlbook.frameworks` (one network in four programs),
`dlbook.selfsupervision` (images without labels), `dlbook.plot` (figures). Importing `dlbook` alone is quick: a name is loaded when it is first used.
"""

import importlib
import os

__version__ = "0.1.0"

# TensorFlow reports every start at length, and as an error that oneDNN leaves masks to other code. What really goes wrong
# is raised as an exception. Has to be said before TensorFlow is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# NumPy's linear algebra on one core. Its threads wait for each other by spinning: with any other program running, two
# cores are several times slower than one. Has to be said before NumPy is imported; TensorFlow is not affected.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_HOMES = {
    "load": "data",
    "load_run": "data",
    "Dataset": "data",
    "seed": "notebook",
    "claim": "notebook",
    "record": "notebook",
    "figure": "notebook",
    "source": "notebook",
    "Progress": "keras_progress",
}
_MODULES = (
    "attention",
    "checkup",
    "convolution",
    "data",
    "diffusion",
    "efficiency",
    "explain",
    "frameworks",
    "generative",
    "language",
    "metrics",
    "nn",
    "notebook",
    "optim",
    "parallel",
    "perceptron",
    "plot",
    "recurrent",
    "regularization",
    "selfsupervision",
    "series",
    "tensor",
    "trust",
)

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name):
    if name in _HOMES:
        return getattr(importlib.import_module(f"dlbook.{_HOMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"dlbook.{name}")
    raise AttributeError(f"dlbook has no {name!r}; it has {', '.join(__all__)}")


def __dir__():
    return __all__

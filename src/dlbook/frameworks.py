"""One small network in Keras, on whichever backend, and in plain PyTorch, trained on the same batches.

Keras reads its backend from KERAS_BACKEND when it is imported, so each program needs a process of its own:

    KERAS_BACKEND=jax python -m dlbook.frameworks keras-jax sgd float32 1 2 0 1 2

trains with seeds 0, 1 and 2 for two epochs and writes to standard output, as JSON, what `train_all` returns;
the 1 is what every initial weight is multiplied by. `run` does this for you. `tools/frameworks.py` runs all programs,
and `dlbook.load_run("frameworks")` has what they printed.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time

import numpy as np

PROGRAMS = {
    "keras-tensorflow": ("Keras on TensorFlow", "tensorflow"),
    "keras-jax": ("Keras on JAX", "jax"),
    "keras-torch": ("Keras on PyTorch", "torch"),
    "torch": ("plain PyTorch", "torch"),
}
BATCH, UPDATES, HELD_OUT = 64, 128, 2000  # an epoch is 128 batches of 64 images
LOOKS = (
    1,
    2,
    4,
    8,
    16,
    32,
    64,
    128,
)  # after so many updates of the first epoch, and after each later epoch
SHAPES = (3, 3, 1, 8), (8,), (3, 3, 8, 16), (16,), (576, 10), (10,)


def keras_network(optimizer):
    """Two convolutions and a dense layer, from (batch, 28, 28, 1) to logits, compiled."""
    import keras
    from keras import layers

    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    kinds = {
        "sgd": keras.optimizers.SGD(0.05, momentum=0.9),
        "sgd-half": keras.optimizers.SGD(0.05, momentum=0.5),
        "adam": keras.optimizers.Adam(0.002, epsilon=1e-7),
    }
    network.compile(kinds[optimizer], keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return network


def keras_train(network, images, labels):
    """Train on the images in the order given, once."""
    network.fit(images, labels, batch_size=BATCH, shuffle=False, verbose=0)


def torch_network(optimizer):
    """The same network in PyTorch, and its optimiser. Images are (batch, 1, 28, 28)."""
    import torch
    from torch import nn

    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(576, 10),
    )
    kinds = {
        "sgd": lambda weights: torch.optim.SGD(weights, 0.05, momentum=0.9),
        "sgd-half": lambda weights: torch.optim.SGD(weights, 0.05, momentum=0.5),
        "adam": lambda weights: torch.optim.Adam(weights, 0.002, eps=1e-7),
    }
    return network, kinds[optimizer](network.parameters())


def torch_train(network, optimizer, images, labels):
    """Train on the images in the order given, once."""
    from torch.nn.functional import cross_entropy

    for start in range(0, len(images), BATCH):
        loss = cross_entropy(network(images[start : start + BATCH]), labels[start : start + BATCH])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def torch_weights(weights):
    """Keras's arrays in PyTorch's order: channels before rows and columns, outputs before inputs."""
    first, first_bias, second, second_bias, dense, dense_bias = weights
    dense = dense.reshape(6, 6, 16, 10).transpose(3, 2, 0, 1).reshape(10, 576)
    kernels = [kernel.transpose(3, 2, 0, 1) for kernel in (first, second)]
    return [kernels[0], first_bias, kernels[1], second_bias, dense, dense_bias]


def start(seed, dtype="float32"):
    """What a seed decides: initial weights, one order of the training images an epoch, the held-out images.

    Returns
    -------
    weights : list of arrays, in Keras's order and shapes (`SHAPES`)
        Glorot's uniform initialisation; biases are 0.
    epoch : callable
        ``epoch(k)`` gives the images (8192, 28, 28, 1), from 0 to 1, and labels of epoch k.
    held_out : tuple of images (2000, 28, 28, 1) and labels, from the training set too
    """
    from dlbook import data, nn

    rng = np.random.default_rng(seed)
    weights = [
        (np.zeros(shape) if len(shape) == 1 else nn.glorot_uniform(shape, rng)).astype("float32")
        for shape in SHAPES
    ]
    fashion = data.load("fashion-mnist")
    order = rng.permutation(60000)

    def pick(rows):
        return (
            (fashion.train_images[rows, :, :, None] / 255).astype(dtype),
            fashion.train_labels[rows].astype("int64"),
        )

    def epoch(k):
        return pick(np.random.default_rng([seed, k]).permutation(order[: BATCH * UPDATES]))

    return [array.astype(dtype) for array in weights], epoch, pick(order[-HELD_OUT:])


def train_one(program, optimizer, dtype, factor, epochs, seed):
    """Train one network; what `train_all` returns has a list of these."""
    weights, epoch, (images, labels) = start(seed, dtype)
    weights = [(array * factor).astype(dtype) for array in weights]
    if program == "torch":
        import torch

        torch.set_num_threads(1)
        network, rule = torch_network(optimizer)
        network.to(getattr(torch, dtype))
        for parameter, array in zip(network.parameters(), torch_weights(weights)):
            parameter.data = torch.tensor(np.ascontiguousarray(array))

        def convert(images):
            return torch.tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))

        def train(images, labels):
            torch_train(network, rule, convert(images), torch.tensor(labels))

        def logits():
            with torch.no_grad():
                return network(convert(images)).numpy()

    else:
        import keras

        keras.config.set_floatx(dtype)
        network = keras_network(optimizer)
        network.set_weights(weights)

        def train(images, labels):
            keras_train(network, images, labels)

        def logits():
            return network.predict(images, batch_size=500, verbose=0)

    looks, seconds = [], []
    for k in range(epochs):
        epoch_images, epoch_labels = epoch(k)
        ends = (0, *LOOKS) if k == 0 else (0, UPDATES)
        for first, last in zip(ends, ends[1:]):
            rows = slice(first * BATCH, last * BATCH)
            started = time.perf_counter()
            train(epoch_images[rows], epoch_labels[rows])
            seconds.append(time.perf_counter() - started)
            looks.append(logits())
    return {
        "accuracy": float((looks[-1].argmax(axis=1) == labels).mean()),
        "logits": [look[:100].tolist() for look in looks],
        "seconds": seconds,
    }


def train_all(program, optimizer, dtype, factor, epochs, seeds):
    """Train one program with several seeds.

    Returns
    -------
    list of dict, one a seed
        "accuracy" on the held-out images after the last epoch; "logits", of 100 of these images after each of
        the updates `LOOKS` and after each later epoch, shape (looks, 100, 10); "seconds" of training up to each look.
    """
    return [train_one(program, optimizer, dtype, factor, epochs, seed) for seed in seeds]


def installed(program):
    """Whether the libraries that a program of `PROGRAMS` needs can be found."""
    if program not in PROGRAMS:
        raise ValueError(f"unknown program {program!r}; known are {', '.join(PROGRAMS)}")
    return importlib.util.find_spec(PROGRAMS[program][1]) is not None


def run(program, optimizer="sgd", dtype="float32", factor=1.0, epochs=2, seeds=(0,)):
    """Train one program in a process of its own, and return what `train_all` returns.

    Raises
    ------
    ValueError
        If the program is unknown.
    RuntimeError
        If the process fails; the message is its last line on standard error.
    """
    if not installed(program):
        raise RuntimeError(
            f"{PROGRAMS[program][0]} needs {PROGRAMS[program][1]}, which is not installed"
        )
    environment = os.environ | {
        "JAX_ENABLE_X64": str(int(dtype == "float64")),
        "JAX_PLATFORMS": "cpu",
    }
    if program.startswith("keras-"):
        environment["KERAS_BACKEND"] = program.removeprefix("keras-")
    arguments = [program, optimizer, dtype, repr(float(factor)), str(epochs), *map(str, seeds)]
    done = subprocess.run(
        [sys.executable, "-m", "dlbook.frameworks", *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{program} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments):
    program, optimizer, dtype, factor, epochs, *seeds = arguments
    print(
        json.dumps(
            train_all(
                program, optimizer, dtype, float(factor), int(epochs), [int(s) for s in seeds]
            )
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])

"""Measure the engine beside Keras: ``python tools/bench.py`` or ``make bench``.

Two things that are compared are measured in turns, so that whatever else the machine does meets both alike. The figures
are medians. Nothing here is a test: what a machine measures depends on the machine.
"""

import os
import platform
import subprocess
import sys
import time
from statistics import median

REPETITIONS = 3
CONFIGURATIONS = [("Adam", 32), ("Adam", 128), ("SGD", 32), ("SGD", 128)]
LEARNING_RATES = {"Adam": 0.001, "SGD": 0.1}

# Trains for one epoch, then prints the largest memory the process has held, in MiB.
MEMORY = """
import sys
sys.path.insert(0, {folder!r})
import bench
bench.{epoch}(*bench.load(), "Adam", 32)()
with open("/proc/self/status") as status:
    print(next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM")))
"""


def seconds(function):
    """How long a call of `function` takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def python(code):
    """Run code in a Python of its own and return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def in_turns(first, second, repetitions):
    """Seconds of two functions, called alternately: their medians, and the median of the ratios of neighbours."""
    pairs = [(seconds(first), seconds(second)) for _ in range(repetitions)]
    return median(a for a, _ in pairs), median(b for _, b in pairs), median(a / b for a, b in pairs)


def load():
    """Fashion-MNIST as both train on it: images (60000, 784) of float32 from 0 to 1, and labels."""
    import dlbook

    dataset = dlbook.load("fashion-mnist")
    return dataset.train_images.reshape(-1, 784).astype(
        "float32"
    ) / 255, dataset.train_labels.astype("int64")


def engine_epoch(images, labels, optimizer, batch_size):
    """A function that trains a new 784-128-10 network of the engine for an epoch at each call."""
    import numpy as np
    from dlbook import nn, optim

    rng = np.random.default_rng(0)
    model = nn.Sequential([nn.Dense(784, 128, "relu", rng=rng), nn.Dense(128, 10, rng=rng)])
    steps = getattr(optim, optimizer)(model.parameters, learning_rate=LEARNING_RATES[optimizer])
    return lambda: nn.fit(
        model,
        images,
        labels,
        loss=nn.cross_entropy,
        optimizer=steps,
        epochs=1,
        batch_size=batch_size,
        rng=rng,
    )


def keras_epoch(images, labels, optimizer, batch_size):
    """The same in Keras."""
    import keras

    model = keras.Sequential(
        [keras.Input((784,)), keras.layers.Dense(128, "relu"), keras.layers.Dense(10)]
    )
    model.compile(
        optimizer=getattr(keras.optimizers, optimizer)(learning_rate=LEARNING_RATES[optimizer]),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return lambda: model.fit(images, labels, batch_size=batch_size, epochs=1, verbose=0)


def backward_and_forward(sizes, batch_size):
    """Two functions: a backward pass through a ReLU network of the engine with its loss, and the forward pass before it."""
    import numpy as np
    from dlbook import nn

    rng = np.random.default_rng(0)
    hidden = [
        nn.Dense(inputs, outputs, "relu", rng=rng)
        for inputs, outputs in zip(sizes, sizes[1:-1], strict=False)
    ]
    model = nn.Sequential([*hidden, nn.Dense(sizes[-2], sizes[-1], rng=rng)])
    x = rng.standard_normal((batch_size, sizes[0])).astype("float32")
    y = rng.integers(sizes[-1], size=batch_size)
    results = []

    def forward():
        results.append(nn.cross_entropy(model(x), y))

    def backward():
        results.pop().backward()
        for parameter in model.parameters:
            parameter.grad = None

    return backward, forward


def bench_imports():
    print("\nStart-up, seconds of a new process")
    for code in ("pass", "import dlbook", "import keras"):
        print(
            f"  python -c {code!r:20} {median(seconds(lambda code=code: python(code)) for _ in range(REPETITIONS)):6.2f}"
        )


def bench_memory():
    print("\nPeak memory of a process that trains 784-128-10 for an epoch, MiB")
    folder = os.path.dirname(os.path.abspath(__file__))
    for name, epoch in (("engine", "engine_epoch"), ("Keras", "keras_epoch")):
        print(f"  {name:7} {python(MEMORY.format(folder=folder, epoch=epoch)):>6}")


def bench_epochs():
    print(
        f"\nOne epoch of 784-128-10 on Fashion-MNIST, seconds: medians of {REPETITIONS}, measured in turns"
    )
    print(f"  {'optimiser':9}  {'batch':>5}  {'engine':>6}  {'Keras':>6}  engine/Keras")
    images, labels = load()
    for optimizer, batch_size in CONFIGURATIONS:
        engine, keras = (
            epoch(images, labels, optimizer, batch_size) for epoch in (engine_epoch, keras_epoch)
        )
        keras()  # the first call also compiles
        a, b, ratio = in_turns(engine, keras, REPETITIONS)
        print(f"  {optimizer:9}  {batch_size:5}  {a:6.2f}  {b:6.2f}  {ratio:12.2f}", flush=True)


def lenet_steps(images, labels, batch_size):
    """Two functions that train on all images once, in the engine and in Keras: a network of the size of LeNet-5."""
    import keras
    import numpy as np
    from dlbook import convolution, nn, optim

    rng = np.random.default_rng(0)
    engine = nn.Sequential(
        [
            convolution.Conv2D(1, 6, 5, padding="same", activation="relu", rng=rng),
            convolution.MaxPooling2D(),
            convolution.Conv2D(6, 16, 5, activation="relu", rng=rng),
            convolution.MaxPooling2D(),
            convolution.Flatten(),
            nn.Dense(400, 120, "relu", rng=rng),
            nn.Dense(120, 84, "relu", rng=rng),
            nn.Dense(84, 10, rng=rng),
        ]
    )
    steps = optim.Adam(engine.parameters)
    layers = keras.layers
    twin = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(6, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(120, "relu"),
            layers.Dense(84, "relu"),
            layers.Dense(10),
        ]
    )
    assert twin.count_params() == engine.count_params()
    twin.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    options = {"epochs": 1, "batch_size": batch_size}
    return (
        lambda: nn.fit(
            engine, images, labels, loss=nn.cross_entropy, optimizer=steps, rng=rng, **options
        ),
        lambda: twin.fit(images, labels, verbose=0, **options),
    )


def bench_convolution():
    print("\nOne training step of LeNet-5, milliseconds: medians of 3 times 100 steps, in turns")
    print(f"  {'batch':>5}  {'engine':>6}  {'Keras':>6}  engine/Keras")
    images, labels = load()
    for batch_size in (32, 64, 128):
        part = slice(0, 100 * batch_size)
        engine, keras = lenet_steps(images[part].reshape(-1, 28, 28, 1), labels[part], batch_size)
        keras()  # the first call also compiles
        a, b, ratio = in_turns(engine, keras, REPETITIONS)
        print(f"  {batch_size:5}  {10 * a:6.1f}  {10 * b:6.1f}  {ratio:12.2f}", flush=True)


def lstm_steps(sequences, labels, units, batch_size):
    """Two functions that train on all sequences once, in the engine and in Keras: an LSTM and a dense layer of 10."""
    import keras
    import numpy as np
    from dlbook import nn, optim, recurrent

    rng = np.random.default_rng(0)
    engine = nn.Sequential(
        [recurrent.LSTM(sequences.shape[2], units, rng=rng), nn.Dense(units, 10, rng=rng)]
    )
    steps = optim.Adam(engine.parameters)
    twin = keras.Sequential(
        [keras.Input(sequences.shape[1:]), keras.layers.LSTM(units), keras.layers.Dense(10)]
    )
    assert twin.count_params() == engine.count_params()
    twin.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    options = {"epochs": 1, "batch_size": batch_size}
    return (
        lambda: nn.fit(
            engine, sequences, labels, loss=nn.cross_entropy, optimizer=steps, rng=rng, **options
        ),
        lambda: twin.fit(sequences, labels, verbose=0, **options),
    )


def bench_recurrent():
    print("\nOne training step of an LSTM, milliseconds: medians of 3 times 20 steps, in turns")
    print(f"  {'batch':>5}  {'steps':>5}  {'units':>5}  {'engine':>6}  {'Keras':>6}  engine/Keras")
    images, labels = load()
    for batch_size, units in ((32, 32), (64, 64), (64, 128)):
        part = slice(0, 20 * batch_size)  # an image as a sequence of its 28 rows
        rows = images[part].reshape(-1, 28, 28)
        engine, keras = lstm_steps(rows, labels[part], units, batch_size)
        keras()  # the first call also compiles
        a, b, ratio = in_turns(engine, keras, REPETITIONS)
        print(
            f"  {batch_size:5}  {28:5}  {units:5}  {50 * a:6.1f}  {50 * b:6.1f}  {ratio:12.2f}",
            flush=True,
        )


def bench_passes():
    print(
        "\nOne backward pass against one forward pass of the engine, milliseconds: medians of 200 pairs"
    )
    print(f"  {'network':14}  {'batch':>5}  {'forward':>7}  {'backward':>8}  backward/forward")
    for name, sizes in (("784-128-10", [784, 128, 10]), ("512, 8 layers", [512] * 9)):
        for batch_size in (32, 128):
            backward, forward = backward_and_forward(sizes, batch_size)
            pairs = [(seconds(forward), seconds(backward)) for _ in range(220)][
                20:
            ]  # the first ones warm the caches
            a, b, ratio = (
                median(column) for column in zip(*((f, g, g / f) for f, g in pairs), strict=True)
            )
            print(
                f"  {name:14}  {batch_size:5}  {1000 * a:7.2f}  {1000 * b:8.2f}  {ratio:16.2f}",
                flush=True,
            )


if __name__ == "__main__":
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, {os.cpu_count()} processor cores"
    )
    bench_imports()
    bench_memory()
    bench_epochs()
    bench_passes()
    bench_convolution()
    bench_recurrent()

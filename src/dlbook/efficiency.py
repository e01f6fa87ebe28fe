"""What a network costs, and four ways to make it cheaper.

Counting parameters and multiply-adds; pruning by magnitude; numbers of eight bits instead of
32; teaching a small network with a large one; and a stopwatch.

References: S. Han, J. Pool, J. Tran and W. Dally, *Learning both weights and connections for
efficient neural networks* (NIPS 2015); B. Jacob et al., *Quantization and training of neural
networks for efficient integer-arithmetic-only inference* (CVPR 2018); G. Hinton, O. Vinyals
and J. Dean, *Distilling the knowledge in a neural network* (arXiv:1503.02531); the book's
chapter "Future and challenges".
"""

import contextlib
import logging
import os
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np


class LayerCost(NamedTuple):
    """What one layer costs for one example."""

    name: str
    output_shape: tuple  # without the batch
    parameters: int
    multiply_adds: int  # products of an input with a weight of a dense layer or a convolution

    @property
    def values(self):
        """Numbers in the output for one example."""
        return int(np.prod(self.output_shape, dtype=int))


def layer_costs(network, input_shape=None):
    """Count parameters and multiply-adds layer by layer.

    A dense layer uses each weight once for each row that it sees, a convolution once for each
    place of its output. Biases, normalisation, activations and pooling need a few operations
    for each value and are left out, as is usual.

    Parameters
    ----------
    network : keras.Model or dlbook.nn.Sequential
        A Keras model must be built, and each of its layers be used once.
    input_shape : tuple of int or None
        Shape of one example, without the batch; an engine network needs it, because its layers
        do not know where they stand.

    Returns
    -------
    list of LayerCost, in the order of the layers

    Raises
    ------
    TypeError
        If a layer has a kernel of a kind that is not known here: a wrong count is worse than
        none.
    """
    if hasattr(network, "layers") and not hasattr(network, "compute_output_shape"):
        return _engine_costs(network, input_shape)
    costs = []
    for layer in network.layers:
        shape = tuple(layer.output.shape[1:])
        kernels = [weight.shape for weight in layer.weights if len(weight.shape) > 1]
        known = ("Dense", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv2D")
        kinds = {base.__name__ for base in type(layer).__mro__}
        if len(kernels) > 1 or (kernels and not kinds.intersection(known)):
            raise TypeError(
                f"layer {layer.name!r} is a {type(layer).__name__}, whose multiply-adds "
                f"layer_costs does not know; it knows {', '.join(known)} and layers without kernels"
            )
        places = int(np.prod(shape[:-1], dtype=int))
        work = places * int(np.prod(kernels[0], dtype=int)) if kernels else 0
        costs.append(LayerCost(layer.name, shape, int(layer.count_params()), work))
    return costs


def _engine_costs(network, input_shape):
    """`layer_costs` of the engine: an example of zeros goes through, layer after layer."""
    from dlbook.nn import call, weights_of
    from dlbook.tensor import as_tensor, no_grad

    if input_shape is None:
        raise ValueError("layer_costs: give input_shape, the shape of one example, for the engine")
    costs = []
    x = as_tensor(np.zeros((1, *input_shape), "float32"))
    with no_grad():
        for number, layer in enumerate(network.layers):
            kind = type(layer).__name__
            x = call(layer, x, training=False)
            shape = x.shape[1:]
            weights = weights_of(layer)
            work = 0
            if any(len(weight.shape) > 1 for weight in weights):
                if kind not in ("Dense", "Conv2D"):
                    raise TypeError(
                        f"layer {number} is a {kind}, whose multiply-adds layer_costs does not "
                        "know; of the engine's layers with kernels it knows Dense and Conv2D"
                    )
                work = int(np.prod(shape[:-1], dtype=int) * layer.kernel.size)
            parameters = sum(int(np.prod(weight.shape, dtype=int)) for weight in weights)
            costs.append(LayerCost(f"{kind} {number}", shape, parameters, work))
    return costs


def working_memory(costs, input_values):
    """Return how many numbers must be held at once while a chain of layers runs.

    While a layer works, its input and its output exist; the largest such pair decides. Layers
    without weights are taken to work in place, as converters make them do.

    Parameters
    ----------
    costs : list of LayerCost
        Of a network that is one chain.
    input_values : int
        Numbers of one example.
    """
    sizes = [input_values] + [cost.values for cost in costs if cost.multiply_adds]
    return max(before + after for before, after in zip(sizes, sizes[1:]))


def _check_share(share):
    if not 0 <= share < 1:
        raise ValueError(f"share: expected a number from 0 to below 1, got {share!r}")


def magnitude_masks(weights, share):
    """Mark the weights that stay when the `share` of smallest magnitude goes.

    One threshold for all arrays together, so layers may lose different shares.

    Parameters
    ----------
    weights : list of numpy.ndarray
    share : float
        Of all weights, from 0 to below 1, rounded down to a whole number of weights.

    Returns
    -------
    list of numpy.ndarray of float32, 1 where a weight stays and 0 where it goes
    """
    return _masks(weights, [np.abs(array) for array in weights], share)


def random_masks(weights, share, rng):
    """Mark the weights that stay when a `share` drawn at random goes: the baseline."""
    return _masks(weights, [rng.random(array.shape) for array in weights], share)


def _masks(weights, scores, share):
    """Zero for the `share` of all places that have the smallest scores; ties by position."""
    _check_share(share)
    flat = np.concatenate([np.ravel(score) for score in scores])
    mask = np.ones(flat.size, "float32")
    mask[np.argsort(flat, kind="stable")[: int(share * flat.size)]] = 0
    ends = np.cumsum([array.size for array in weights])[:-1]
    return [part.reshape(array.shape) for part, array in zip(np.split(mask, ends), weights)]


def quantise(values, bits=8, axis=None):
    """Replace numbers by integers, a scale and a zero point.

    The range from the smallest to the largest value, extended so that it contains 0, is cut
    into 2**bits - 1 steps of size `scale`; `zero_point` is the integer that stands for 0, so
    that 0, which padding and ReLU produce all the time, is exact. A value differs from what
    `dequantise` gives back by at most scale / 2. After Jacob et al. (2018), section 2.

    Parameters
    ----------
    values : numpy.ndarray
    bits : int
        2 to 8.
    axis : int or None
        Give each index of this axis a scale and a zero point of its own, such as -1 for each
        filter of a kernel; None has one for the whole array.

    Returns
    -------
    integers : numpy.ndarray of int8, the shape of `values`
        From -2**(bits - 1) to 2**(bits - 1) - 1.
    scale : numpy.ndarray of float64
    zero_point : numpy.ndarray of int64
        Both broadcast against `values`.
    """
    if bits not in range(2, 9):
        raise ValueError(f"bits: expected a whole number from 2 to 8, got {bits!r}")
    values = np.asarray(values, "float64")
    if not values.size or not np.isfinite(values).all():
        raise ValueError("quantise: expected at least one number, all of them finite")
    axes = None if axis is None else tuple(set(range(values.ndim)) - {axis % values.ndim})
    low = np.minimum(values.min(axis=axes, keepdims=True), 0)
    high = np.maximum(values.max(axis=axes, keepdims=True), 0)
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scale = (high - low) / (most - least)
    scale = np.where(scale == 0, 1.0, scale)  # all zeros: any scale will do
    zero_point = np.round(least - low / scale).astype("int64")
    integers = np.clip(np.round(values / scale) + zero_point, least, most).astype("int8")
    return integers, scale, zero_point


def dequantise(integers, scale, zero_point):
    """Return the numbers that the integers of `quantise` stand for, as float64."""
    return scale * (integers.astype("int64") - zero_point)


def distillation_loss(logits, teacher_logits, labels, temperature, share):
    """Return the loss of a student that learns from labels and from a teacher.

    ``(1 - share) * cross_entropy(labels) + share * T**2 * cross_entropy(teacher)``, where the
    second compares the softmax of both networks' logits divided by the temperature T. The
    gradient of that term falls as 1 / T**2; the factor keeps the balance when T is changed.
    Hinton et al. (2015), section 2.

    Parameters
    ----------
    logits, teacher_logits : arrays or tensors of Keras's backend, shape (batch, classes)
    labels : array of int, shape (batch,)
    temperature : float
        Above 0; the larger, the more the teacher says about the classes that it rejects.
    share : float
        Weight of the teacher, 0 to 1.

    Returns
    -------
    scalar tensor, the mean over the batch
    """
    from keras import ops

    if temperature <= 0 or not 0 <= share <= 1:
        raise ValueError(
            "distillation_loss: expected temperature > 0 and share from 0 to 1, "
            f"got {temperature!r} and {share!r}"
        )
    hard = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    soft_targets = ops.softmax(teacher_logits / temperature)
    soft = -ops.sum(soft_targets * ops.log_softmax(logits / temperature), axis=-1)
    return ops.mean((1 - share) * hard + share * temperature**2 * soft)


def latency(function, repetitions, warm_up=3):
    """Time a function call by call.

    Returns
    -------
    numpy.ndarray of float, shape (repetitions,)
        Seconds of each call. Their median says what is usual, their 95th percentile what one
        has to reckon with; the mean says neither.
    """
    for _ in range(warm_up):
        function()
    seconds = np.empty(repetitions)
    for i in range(repetitions):
        start = time.perf_counter()
        function()
        seconds[i] = time.perf_counter() - start
    return seconds


@contextlib.contextmanager
def quiet():
    """Keep what compiled libraries write to the standard error stream, and show it only if something fails.

    Converters and interpreters of LiteRT report every step there, past Python. What Python
    programs log below the level of a warning is not shown either.
    """
    sys.stderr.flush()
    kept, level = os.dup(2), logging.root.manager.disable
    logging.disable(max(level, logging.INFO))
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            file.seek(0)
            sys.stderr.write(file.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            logging.disable(level)


class LiteNetwork:
    """A network in LiteRT's format, run by its interpreter on one thread.

    Parameters
    ----------
    content : bytes
        A .tflite file with one input and one output, exported for a fixed batch size.
    """

    def __init__(self, content):
        from ai_edge_litert.interpreter import Interpreter

        with quiet():
            self.interpreter = Interpreter(model_content=content, num_threads=1)
            self.interpreter.allocate_tensors()
        (self.input,) = self.interpreter.get_input_details()
        (self.output,) = self.interpreter.get_output_details()

    def __call__(self, batch):
        """Return the output for a batch of the size and dtype that the network was exported for.

        An integer output stands for numbers as in `quantise`, all with the same scale, so the
        largest is the same.
        """
        self.interpreter.set_tensor(self.input["index"], batch)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.output["index"])

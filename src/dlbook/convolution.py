"""Convolution and its transpose, pooling, batch normalisation and residual blocks for `dlbook.nn.Sequential`.

Names, argument order, defaults and padding are those of Keras on TensorFlow. Images are
``(batch, height, width, channels)``, kernels ``(height, width, inputs, filters)``.

Everything here reads its input through *windows*: the patches of the image that a kernel
covers, one for each element of the output. Nothing loops over pixels or examples.

References: V. Dumoulin and F. Visin, *A guide to convolution arithmetic for deep learning*
(arXiv:1603.07285); the book's chapter "Convolutional networks".
"""

import numpy as np
from dlbook.nn import ACTIVATIONS, INITIALIZERS, _named, call, weights_of
from dlbook.tensor import Tensor, mean, operation, reshape
from numpy.lib.stride_tricks import sliding_window_view


def pair(value, name):
    """Return a size, given as one number or as (height, width), as a pair of positive ints."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(both) != 2 or not all(isinstance(size, (int, np.integer)) and size > 0 for size in both):
        raise ValueError(
            f"{name}: expected a positive whole number or a pair of them, got {value!r}"
        )
    return both


def output_size(size, kernel_size, stride=1, padding="valid", dilation=1):
    """Return how many places a kernel takes along an axis of `size` pixels.

    Parameters
    ----------
    size, kernel_size, stride, dilation : int
        In pixels along this axis.
    padding : {"valid", "same"}

    Raises
    ------
    ValueError
        If the padding has another name, or the kernel does not fit the image.
    """
    extent = dilation * (kernel_size - 1) + 1  # pixels from the first to the last tap
    if padding == "same":
        return -(-size // stride)  # size / stride, rounded up
    if padding != "valid":
        raise ValueError(f"padding must be 'valid' or 'same', got {padding!r}")
    if extent > size:
        raise ValueError(
            f"a kernel of extent {extent} does not fit {size} pixels; use padding='same' "
            "or a smaller kernel"
        )
    return (size - extent) // stride + 1


def padding_sizes(size, kernel_size, stride=1, padding="valid", dilation=1):
    """Return how many pixels to add before and after an axis of `size` pixels.

    "same" adds what the last window lacks; if that is odd, the end gets the larger
    part. This is TensorFlow's convention; the amount depends on size and stride.
    """
    count = output_size(size, kernel_size, stride, padding, dilation)
    if padding == "valid":
        return 0, 0
    missing = max((count - 1) * stride + dilation * (kernel_size - 1) + 1 - size, 0)
    return missing // 2, missing - missing // 2


def convolve_by_definition(x, kernel, strides=1, padding="valid", dilation_rate=1):
    """Cross-correlation written as its definition: four loops, two over the pixels of
    the output and two over the kernel. For reading and for tests; `conv2d` is fast.
    There is no bias here; the layer `Conv2D` adds it.

    Parameters
    ----------
    x : numpy.ndarray, shape (batch, height, width, inputs)
    kernel : numpy.ndarray, shape (kernel height, kernel width, inputs, filters)

    Returns
    -------
    numpy.ndarray, shape (batch, output height, output width, filters)
    """
    (s, t), (d, e) = pair(strides, "strides"), pair(dilation_rate, "dilation_rate")
    batch, height, width, _ = x.shape
    kernel_height, kernel_width, _, filters = kernel.shape
    rows = output_size(height, kernel_height, s, padding, d)
    columns = output_size(width, kernel_width, t, padding, e)
    top, bottom = padding_sizes(height, kernel_height, s, padding, d)
    left, right = padding_sizes(width, kernel_width, t, padding, e)
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    output = np.zeros((batch, rows, columns, filters), x.dtype)
    for row in range(rows):
        for column in range(columns):
            for i in range(kernel_height):
                for j in range(kernel_width):
                    pixel = padded[:, row * s + i * d, column * t + j * e]
                    output[:, row, column] += pixel @ kernel[i, j]
    return output


class Windows:
    """Where a kernel of some size lies on images of some shape, and how to go there and back.

    Parameters
    ----------
    shape : tuple
        Of the images: (batch, height, width, channels).
    kernel_size, strides, dilation_rate : int or pair of int
    padding : {"valid", "same"}

    Attributes
    ----------
    output_shape : (int, int)
        Rows and columns of windows.

    Raises
    ------
    ValueError
        If the shape has not four axes, a size is not positive, or the kernel does not fit.
    """

    def __init__(self, shape, kernel_size, strides=1, padding="valid", dilation_rate=1):
        if len(shape) != 4:
            raise ValueError(
                f"expected images of shape (batch, height, width, channels), got {shape}; "
                "a grey image has 1 channel: x[..., None]"
            )
        self.shape = shape
        self.kernel_size = pair(kernel_size, "kernel_size")
        self.strides = pair(strides, "strides")
        self.dilation = pair(dilation_rate, "dilation_rate")
        axes = list(zip(shape[1:3], self.kernel_size, self.strides, self.dilation, strict=True))
        self.output_shape = tuple(output_size(n, k, s, padding, d) for n, k, s, d in axes)
        self.margins = [padding_sizes(n, k, s, padding, d) for n, k, s, d in axes]

    def pad(self, images, value=0.0):
        """Return the images with their margins, filled with `value`."""
        if not np.any(self.margins):
            return images
        return np.pad(images, [(0, 0), *self.margins, (0, 0)], constant_values=value)

    def crop(self, padded):
        """Undo `pad`."""
        (top, _), (left, _) = self.margins
        return padded[:, top : top + self.shape[1], left : left + self.shape[2]]

    def view(self, images):
        """Return all windows without copying: (batch, rows, columns, kh, kw, channels)."""
        extents = [d * (k - 1) + 1 for k, d in zip(self.kernel_size, self.dilation)]
        every = sliding_window_view(self.pad(images), extents, axis=(1, 2))
        (s, t), (d, e) = self.strides, self.dilation
        return every[:, ::s, ::t, :, ::d, ::e].transpose(0, 1, 2, 4, 5, 3)

    def taps(self):
        """For each element (i, j) of the kernel, where it meets the image: (i, j, index).

        ``padded[index]`` has shape (batch, rows, columns, channels).
        """
        (s, t), (d, e), (rows, columns) = self.strides, self.dilation, self.output_shape
        for i in range(self.kernel_size[0]):
            for j in range(self.kernel_size[1]):
                down = slice(i * d, i * d + s * (rows - 1) + 1, s)
                across = slice(j * e, j * e + t * (columns - 1) + 1, t)
                yield i, j, (slice(None), down, across)


def conv2d(x, kernel, strides=1, padding="valid", dilation_rate=1):
    """Slide `kernel` over `x`: one matrix product of all windows with all filters.

    There is no bias here; the layer `Conv2D` adds it.

    Parameters
    ----------
    x : Tensor, shape (batch, height, width, inputs)
    kernel : Tensor, shape (kernel height, kernel width, inputs, filters)

    Returns
    -------
    Tensor, shape (batch, output height, output width, filters)
    """
    kh, kw, inputs, filters = kernel.shape
    windows = Windows(x.shape, (kh, kw), strides, padding, dilation_rate)
    batch, rows, columns = x.shape[0], *windows.output_shape
    matrix = windows.view(x.data).reshape(batch * rows * columns, kh * kw * inputs)
    output = matrix @ kernel.data.reshape(-1, filters)

    def kernel_vjp(g):
        return (matrix.T @ g.reshape(-1, filters)).reshape(kernel.shape)

    def input_vjp(g):
        gradient, flat = windows.pad(np.zeros(x.shape, x.dtype)), g.reshape(-1, filters)
        for i, j, index in windows.taps():
            contribution = flat @ kernel.data[i, j].T
            gradient[index] += contribution.reshape(batch, rows, columns, inputs)
        return windows.crop(gradient)

    output = output.reshape(batch, rows, columns, filters)
    return operation(output, (x, input_vjp), (kernel, kernel_vjp))


class Conv2D:
    """A convolutional layer: ``activation(conv2d(x, kernel) + bias)``.

    Parameters
    ----------
    inputs, filters : int
        Channels before and after.
    kernel_size, strides, dilation_rate : int or pair of int
        Along height and width.
    padding : {"valid", "same"}
    activation, kernel_initializer, rng, dtype
        As in `dlbook.nn.Dense`.

    Raises
    ------
    ValueError
        If a size is not positive, or both strides and dilation are larger than 1 (Keras
        does not allow it either).
    """

    def __init__(
        self,
        inputs,
        filters,
        kernel_size,
        strides=1,
        padding="valid",
        dilation_rate=1,
        activation=None,
        *,
        kernel_initializer="glorot_uniform",
        rng,
        dtype="float32",
    ):
        kernel_size = pair(kernel_size, "kernel_size")
        self.places = pair(strides, "strides"), padding, pair(dilation_rate, "dilation_rate")
        if max(self.places[0]) > 1 and max(self.places[2]) > 1:
            raise ValueError(
                f"strides {self.places[0]} and dilation_rate {self.places[2]} are both larger "
                "than 1; use one of the two, in two layers if need be"
            )
        output_size(size=10**9, kernel_size=1, padding=padding)  # is the name known?
        self.activation = (
            None if activation is None else _named(ACTIVATIONS, activation, "activation")
        )
        initializer = _named(INITIALIZERS, kernel_initializer, "initializer")
        shape = (*kernel_size, inputs, filters)
        self.kernel = Tensor(initializer(shape, rng).astype(dtype), requires_grad=True)
        self.bias = Tensor(np.zeros(filters, dtype), requires_grad=True)
        self.parameters = [self.kernel, self.bias]

    def __call__(self, x):
        """Map (batch, height, width, inputs) to (batch, rows, columns, filters)."""
        inputs = self.kernel.shape[2]
        if x.ndim != 4 or x.shape[3] != inputs:
            raise ValueError(
                f"Conv2D expects shape (batch, height, width, {inputs}), got {x.shape}"
            )
        z = conv2d(x, self.kernel, *self.places) + self.bias
        return z if self.activation is None else self.activation(z)


def conv2d_transpose(x, kernel, strides=1, padding="valid"):
    """Put a copy of `kernel`, multiplied by the value there, at each place of `x`, and add.

    This is the vector-Jacobian product of `conv2d` with respect to its image: what there
    is the gradient of the output comes in here, and what there is the gradient of the
    image comes out. So a stride enlarges, and the VJP of this function is `conv2d`.
    There is no bias here; the layer `Conv2DTranspose` adds it.

    Parameters
    ----------
    x : Tensor, shape (batch, height, width, inputs)
    kernel : Tensor, shape (kernel height, kernel width, filters, inputs)
        Filters come before inputs, since for `conv2d` the two change their roles.

    Returns
    -------
    Tensor, shape (batch, output height, output width, filters)
        For a stride s and a kernel of k pixels, n pixels become s n with padding "same",
        and s n + max(k - s, 0) with "valid".
    """
    kh, kw, filters, inputs = kernel.shape
    axes = zip(x.shape[1:3], (kh, kw), pair(strides, "strides"))
    sizes = [s * n + (max(k - s, 0) if padding == "valid" else 0) for n, k, s in axes]
    shape = x.shape[0], *sizes, filters
    windows = Windows(shape, (kh, kw), strides, padding)
    flat, image = x.data.reshape(-1, inputs), windows.pad(np.zeros(shape, x.dtype))
    for i, j, index in windows.taps():
        image[index] += (flat @ kernel.data[i, j].T).reshape(*x.shape[:3], filters)

    def input_vjp(g):
        return conv2d(Tensor(g), Tensor(kernel.data), strides, padding).data

    def kernel_vjp(g):
        matrix = windows.view(g).reshape(len(flat), kh * kw * filters)
        return (matrix.T @ flat).reshape(kernel.shape)

    return operation(windows.crop(image), (x, input_vjp), (kernel, kernel_vjp))


class Conv2DTranspose:
    """A layer that enlarges: ``activation(conv2d_transpose(x, kernel) + bias)``.

    Parameters
    ----------
    inputs, filters : int
        Channels before and after.
    kernel_size, strides : int or pair of int
        Along height and width. With padding "same", a stride of 2 doubles both.
    padding : {"valid", "same"}
    activation, kernel_initializer, rng, dtype
        As in `dlbook.nn.Dense`.

    Raises
    ------
    ValueError
        If a size is not positive.

    References
    ----------
    M. D. Zeiler et al., *Deconvolutional networks* (CVPR 2010); the arithmetic is that of
    V. Dumoulin and F. Visin (arXiv:1603.07285), chapter 4.
    """

    def __init__(
        self,
        inputs,
        filters,
        kernel_size,
        strides=1,
        padding="valid",
        activation=None,
        *,
        kernel_initializer="glorot_uniform",
        rng,
        dtype="float32",
    ):
        kernel_size = pair(kernel_size, "kernel_size")
        self.places = pair(strides, "strides"), padding
        output_size(size=10**9, kernel_size=1, padding=padding)  # is the name known?
        self.activation = (
            None if activation is None else _named(ACTIVATIONS, activation, "activation")
        )
        initializer = _named(INITIALIZERS, kernel_initializer, "initializer")
        shape = (*kernel_size, filters, inputs)
        self.kernel = Tensor(initializer(shape, rng).astype(dtype), requires_grad=True)
        self.bias = Tensor(np.zeros(filters, dtype), requires_grad=True)
        self.parameters = [self.kernel, self.bias]

    def __call__(self, x):
        """Map (batch, height, width, inputs) to (batch, rows, columns, filters)."""
        inputs = self.kernel.shape[3]
        if x.ndim != 4 or x.shape[3] != inputs:
            raise ValueError(
                f"Conv2DTranspose expects shape (batch, height, width, {inputs}), got {x.shape}"
            )
        z = conv2d_transpose(x, self.kernel, *self.places) + self.bias
        return z if self.activation is None else self.activation(z)


class MaxPooling2D:
    """The largest value of each window, channel by channel.

    Only the first pixel that holds the maximum receives the gradient. `strides` defaults
    to `pool_size`; "same" pads with minus infinity, which no maximum notices.
    """

    def __init__(self, pool_size=2, strides=None, padding="valid"):
        self.pool_size = pair(pool_size, "pool_size")
        self.strides = self.pool_size if strides is None else pair(strides, "strides")
        self.padding = padding

    def __call__(self, x):
        """Map (batch, height, width, channels) to (batch, rows, columns, channels)."""
        windows = Windows(x.shape, self.pool_size, self.strides, self.padding)
        padded = windows.pad(x.data, -np.inf)
        largest = np.full((x.shape[0], *windows.output_shape, x.shape[3]), -np.inf, x.dtype)
        for _, _, index in windows.taps():
            np.maximum(largest, padded[index], out=largest)

        def vjp(g):
            gradient = np.zeros(padded.shape, x.dtype)
            waiting = np.ones(g.shape, bool)
            for _, _, index in windows.taps():
                found = waiting & (padded[index] == largest)
                gradient[index] += g * found
                waiting &= ~found
            return windows.crop(gradient)

        return operation(largest, (x, vjp))


class AveragePooling2D:
    """The mean of each window, channel by channel; padding does not count, as in TensorFlow."""

    def __init__(self, pool_size=2, strides=None, padding="valid"):
        self.pool_size = pair(pool_size, "pool_size")
        self.strides = self.pool_size if strides is None else pair(strides, "strides")
        self.padding = padding

    def __call__(self, x):
        """Map (batch, height, width, channels) to (batch, rows, columns, channels)."""
        windows = Windows(x.shape, self.pool_size, self.strides, self.padding)
        padded = windows.pad(x.data)
        inside = windows.pad(np.ones((1, *x.shape[1:3], 1), x.dtype))
        total, count = 0, 0
        for _, _, index in windows.taps():
            total, count = total + padded[index], count + inside[index]

        def vjp(g):
            gradient, share = np.zeros(padded.shape, x.dtype), g / count
            for _, _, index in windows.taps():
                gradient[index] += share
            return windows.crop(gradient)

        return operation(total / count, (x, vjp))


class GlobalAveragePooling2D:
    """The mean of each channel over all pixels: (batch, height, width, c) to (batch, c)."""

    def __call__(self, x):
        return mean(x, axis=(1, 2))


class Flatten:
    """Each example as one row: (batch, height, width, c) to (batch, height·width·c)."""

    def __call__(self, x):
        return reshape(x, (x.shape[0], int(np.prod(x.shape[1:]))))


class BatchNormalization:
    """Give each channel mean 0 and variance 1 over the batch, then scale and shift it.

    In training, mean and variance are those of the batch, and running means of both are
    kept; otherwise the running means are used, so that an example's output does not depend
    on its neighbours in the batch.

    Parameters
    ----------
    inputs : int
        Size of the last axis; the statistics are taken over all other axes.
    momentum : float
        Weight of the past in the running means.
    epsilon : float
        Added to the variance before its root is taken.

    References
    ----------
    S. Ioffe and C. Szegedy, *Batch normalization* (ICML 2015), algorithm 1.
    """

    has_training_mode = True

    def __init__(self, inputs, momentum=0.99, epsilon=1e-3, *, dtype="float32"):
        self.momentum, self.epsilon = momentum, epsilon
        self.gamma = Tensor(np.ones(inputs, dtype), requires_grad=True)
        self.beta = Tensor(np.zeros(inputs, dtype), requires_grad=True)
        self.moving_mean = Tensor(np.zeros(inputs, dtype))
        self.moving_variance = Tensor(np.ones(inputs, dtype))
        self.parameters = [self.gamma, self.beta]
        self.weights = [*self.parameters, self.moving_mean, self.moving_variance]

    def __call__(self, x, training=False):
        """Map a Tensor of shape (batch, ..., inputs) to one of the same shape."""
        if x.ndim < 2 or x.shape[-1] != self.gamma.size:
            raise ValueError(
                f"BatchNormalization({self.gamma.size}) expects shape (batch, ..., "
                f"{self.gamma.size}), got {x.shape}"
            )
        if not training:
            scale = (self.moving_variance.data + self.epsilon) ** -0.5
            return (x - self.moving_mean) * (self.gamma * scale) + self.beta
        axes = tuple(range(x.ndim - 1))
        batch_mean, batch_variance = x.data.mean(axis=axes), x.data.var(axis=axes)
        for moving, batch in (
            (self.moving_mean, batch_mean),
            (self.moving_variance, batch_variance),
        ):
            moving.data = self.momentum * moving.data + (1 - self.momentum) * batch
        return standardise(x, batch_mean, batch_variance, self.epsilon) * self.gamma + self.beta


def standardise(x, mean, variance, epsilon):
    """(x - mean) / √(variance + epsilon), for x's own mean and variance by channel.

    Both are taken over all axes but the last, and the gradient takes into account that
    they depend on x.

    Parameters
    ----------
    x : Tensor, shape (batch, ..., channels)
    mean, variance : numpy.ndarray, shape (channels,)
    epsilon : float
    """
    axes = tuple(range(x.ndim - 1))
    scale = (variance + epsilon) ** -0.5
    value = (x.data - mean) * scale

    def vjp(g):
        constant, slope = g.mean(axis=axes), (g * value).mean(axis=axes)
        return (g - constant - value * slope) * scale

    return operation(value, (x, vjp))


class Residual:
    """A block with a shortcut: ``block(x) + shortcut(x)``; the shortcut is x itself by default.

    Parameters
    ----------
    block : callable
        Usually a `dlbook.nn.Sequential`.
    shortcut : callable or None
        A layer, usually a Conv2D with 1×1 kernels, that gives x the block's output shape.

    References
    ----------
    K. He et al., *Deep residual learning for image recognition* (CVPR 2016).
    """

    has_training_mode = True

    def __init__(self, block, shortcut=None):
        self.block, self.shortcut = block, shortcut
        paths = [block] if shortcut is None else [block, shortcut]
        self.parameters = [p for path in paths for p in getattr(path, "parameters", [])]
        self.weights = [weight for path in paths for weight in weights_of(path)]

    def __call__(self, x, training=False):
        """Map a Tensor to the sum of both paths; `call` tells the layers whether this is training."""
        through = call(self.block, x, training)
        around = x if self.shortcut is None else call(self.shortcut, x, training)
        if through.shape != around.shape:
            raise ValueError(
                f"Residual: the block returns shape {through.shape}, the shortcut "
                f"{around.shape}; make them equal, for example by a shortcut with 1×1 kernels"
            )
        return through + around

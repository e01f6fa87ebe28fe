"""Cures for overfitting: a penalty on large weights, dropout, shifted images.

The fourth cure, early stopping, needs no code of its own: keep the weights of the epoch
whose validation loss was lowest, and go back to them.
"""

import numpy as np
from dlbook.tensor import operation


def l2_penalty(layers, strength):
    """The penalty that `strength` times the sum of all squared weights adds to a loss.

    Biases go free, as with ``kernel_regularizer=keras.regularizers.L2(strength)``.

    Parameters
    ----------
    layers : sequence
        Those that have a `kernel`, such as `Dense`, are counted.
    strength : float
        How much a squared weight costs, in units of the loss; not negative.

    Returns
    -------
    Tensor with a single number.

    Raises
    ------
    ValueError
        If `strength` is negative, or none of the layers has a kernel.
    """
    if strength < 0:
        raise ValueError(
            f"l2_penalty: strength is {strength}; a negative one would reward large weights, use 0 or more"
        )
    kernels = [layer.kernel for layer in layers if hasattr(layer, "kernel")]
    if not kernels:
        raise ValueError("l2_penalty: none of the layers has a kernel; pass model.layers")
    squares = [(kernel * kernel).sum() for kernel in kernels]
    return strength * sum(squares[1:], start=squares[0])


class Dropout:
    """Set each value to 0 with probability `rate`, but only in training.

    The values that are kept are divided by ``1 - rate``, so that the mean stays what it
    is without dropout. Every call in training draws anew; otherwise nothing is changed.

    Parameters
    ----------
    rate : float
        From 0 to below 1.
    rng : numpy.random.Generator
        Where the draws come from.

    Raises
    ------
    ValueError
        If `rate` is not in that range.

    References
    ----------
    N. Srivastava et al., *Dropout* (JMLR 15, 2014); section 10 has the scaling in
    training.
    """

    has_training_mode = True

    def __init__(self, rate, *, rng):
        if not 0 <= rate < 1:
            raise ValueError(
                f"Dropout: rate is {rate}; expected the share of values to drop, from 0 to below 1"
            )
        self.rate, self.rng = rate, rng

    def __call__(self, x, training=False):
        """Map a Tensor of any shape to one of the same shape."""
        if not training or self.rate == 0:
            return x
        keep = self.rng.random(x.shape) >= self.rate
        factor = (keep / (1 - self.rate)).astype(x.dtype)
        return operation(x.data * factor, (x, lambda g: g * factor))


def shift_images(images, largest, rng):
    """Copies of `images`, each moved by its own random whole number of pixels.

    What comes in at the border is the image's smallest value, the background.

    Parameters
    ----------
    images : numpy.ndarray, shape (batch, height, width)
    largest : int
        The largest shift, in pixels, up, down, left or right; all shifts up to it are
        equally likely.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray of the same shape and dtype.

    Raises
    ------
    ValueError
        If `images` has another number of axes, or `largest` is not from 0 to the size
        of an image.
    """
    if images.ndim != 3:
        raise ValueError(
            f"shift_images expects shape (batch, height, width), got {images.shape}; rows of pixels "
            "have to be reshaped first"
        )
    count, height, width = images.shape
    if not 0 <= largest <= min(height, width):
        raise ValueError(
            f"shift_images: largest is {largest}; expected 0 to {min(height, width)} pixels for {height} × {width} images"
        )
    border = ((0, 0), (largest, largest), (largest, largest))
    padded = np.pad(images, border, constant_values=images.min())
    down, right = rng.integers(0, 2 * largest + 1, (2, count))
    rows = down[:, None] + np.arange(height)
    columns = right[:, None] + np.arange(width)
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]

"""Attention and a small Transformer decoder, on the engine.

Names, defaults and shapes of weights are those of Keras, so that a layer here and its
twin there can share weights. Sequences are ``(batch, steps, width)``. A mask is an array
of bool that broadcasts with the scores ``(..., queries, keys)``: where it is False, a
query does not see a key.

References: A. Vaswani et al., *Attention is all you need* (NeurIPS 2017); the book's
chapter "Future and challenges".
"""

import numpy as np
from dlbook.nn import Dense, glorot_uniform
from dlbook.recurrent import positive
from dlbook.tensor import Tensor, as_tensor, matmul, softmax, where

HIDDEN = -1e9  # a score whose exponential is 0 in any precision used here


def causal_mask(steps):
    """Array of bool (steps, steps): query t sees the keys 1 to t, and no later one."""
    return np.tril(np.ones((positive(steps, "steps"),) * 2, bool))


def attention(query, key, value, mask=None):
    """Scaled dot-product attention: each query takes a weighted mean of the values.

    Parameters
    ----------
    query : Tensor, shape (..., queries, d)
    key : Tensor, shape (..., keys, d)
    value : Tensor, shape (..., keys, e)
    mask : array of bool or None
        Broadcasts with (..., queries, keys). A query that sees no key takes the mean of
        all values, as in Keras.

    Returns
    -------
    output : Tensor, shape (..., queries, e)
    weights : Tensor, shape (..., queries, keys)
        Softmax of query · key / √d over the keys; each row sums to 1.

    Raises
    ------
    ValueError
        If the shapes do not belong together.

    References
    ----------
    Vaswani et al. (2017), equation 1.
    """
    query, key, value = as_tensor(query), as_tensor(key), as_tensor(value)
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(
            "attention expects query (..., queries, d), key (..., keys, d), value "
            f"(..., keys, e), got {query.shape}, {key.shape}, {value.shape}"
        )
    axes = (*range(key.ndim - 2), key.ndim - 1, key.ndim - 2)
    scores = (query @ key.transpose(*axes)) * query.shape[-1] ** -0.5
    if mask is not None:
        scores = where(mask, scores, HIDDEN)
    weights = softmax(scores)
    return weights @ value, weights


def sinusoidal_positions(steps, width):
    """A vector for each place of a sequence: sines and cosines of falling frequency.

    Columns 2i and 2i + 1 are sin and cos of place / 10,000^(2i / width); place 0 first.
    A shift by any number of places is the same rotation of each such pair, wherever it
    begins.

    Returns
    -------
    numpy.ndarray of float64, shape (steps, width), values from -1 to 1

    References
    ----------
    Vaswani et al. (2017), section 3.5.
    """
    positive(steps, "steps"), positive(width, "width")
    if width % 2:
        raise ValueError(f"sinusoidal_positions: width must be even, got {width}")
    angles = np.arange(steps)[:, None] * 10_000.0 ** (-np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(steps, width)


class Positions:
    """Add `sinusoidal_positions` to a sequence (batch, steps, width); nothing is learnt."""

    def __call__(self, x):
        return x + sinusoidal_positions(*x.shape[1:]).astype(x.dtype)


class LayerNormalization:
    """Give every vector mean 0 and variance 1, then a learnt scale and shift.

    Unlike `dlbook.convolution.BatchNormalization` it looks at one vector only: it is the
    same in training and in use, and for any length of sequence.

    Parameters
    ----------
    width : int
        Size of the last axis.
    epsilon : float
        Added to the variance. The default is that of Keras.
    dtype : str

    References
    ----------
    J. L. Ba, J. R. Kiros and G. E. Hinton, *Layer normalization* (2016), equation 4.
    """

    def __init__(self, width, epsilon=0.001, *, dtype="float32"):
        self.epsilon = epsilon
        self.gamma = Tensor(np.ones(positive(width, "width"), dtype), requires_grad=True)
        self.beta = Tensor(np.zeros(width, dtype), requires_grad=True)
        self.parameters = [self.gamma, self.beta]

    def __call__(self, x):
        """Map (..., width) to the same shape."""
        if x.shape[-1] != self.gamma.size:
            raise ValueError(
                f"LayerNormalization({self.gamma.size}) expects shape (..., "
                f"{self.gamma.size}), got {x.shape}"
            )
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred**2).mean(axis=-1, keepdims=True)
        return centred * (variance + self.epsilon) ** -0.5 * self.gamma + self.beta


class MultiHeadAttention:
    """Several attentions side by side, each in a smaller space of its own.

    Parameters
    ----------
    num_heads, key_dim : int
        How many heads, and the size of each one's queries, keys and values.
    width : int
        Size of the last axis before and after.
    rng, dtype
        As in `dlbook.nn.Dense`.

    Attributes
    ----------
    parameters : list of Tensor
        Kernel and bias of query, key, value and output. A kernel is (width, num_heads,
        key_dim), that of the output (num_heads, key_dim, width).

    References
    ----------
    Vaswani et al. (2017), section 3.2.2.
    """

    def __init__(self, num_heads, key_dim, width, *, rng, dtype="float32"):
        self.num_heads, self.key_dim = (
            positive(num_heads, "num_heads"),
            positive(key_dim, "key_dim"),
        )
        inner = (num_heads, key_dim)
        shapes = [((width, *inner), inner)] * 3 + [((*inner, width), (width,))]
        self.parameters = []
        for number, (kernel_shape, bias_shape) in enumerate(shapes):
            flat = (width, num_heads * key_dim) if number < 3 else (num_heads * key_dim, width)
            kernel = glorot_uniform(flat, rng).reshape(kernel_shape).astype(dtype)
            bias = np.zeros(bias_shape, dtype)
            self.parameters += [Tensor(array, requires_grad=True) for array in (kernel, bias)]

    def _heads(self, x, number):
        """Project (batch, steps, width) to (batch, heads, steps, key_dim)."""
        kernel, bias = self.parameters[2 * number : 2 * number + 2]
        batch, steps, width = x.shape
        rows = x.reshape(batch * steps, width) @ kernel.reshape(width, -1) + bias.reshape(-1)
        return rows.reshape(batch, steps, self.num_heads, self.key_dim).transpose(0, 2, 1, 3)

    def __call__(self, query, value=None, mask=None, return_attention_scores=False):
        """Attend.

        Parameters
        ----------
        query : Tensor, shape (batch, queries, width)
        value : Tensor, shape (batch, keys, width), or None
            Where keys and values come from; None for self-attention.
        mask : array of bool or None
            Broadcasts with (batch, heads, queries, keys).
        return_attention_scores : bool
            Whether to return the weights (batch, heads, queries, keys), too.

        Returns
        -------
        Tensor, shape (batch, queries, width), or a pair
        """
        value = query if value is None else value
        parts = self._heads(query, 0), self._heads(value, 1), self._heads(value, 2)
        mixed, weights = attention(*parts, mask)
        kernel, bias = self.parameters[6:]
        batch, steps, width = query.shape
        rows = mixed.transpose(0, 2, 1, 3).reshape(batch * steps, -1)
        output = (matmul(rows, kernel.reshape(-1, width)) + bias).reshape(batch, steps, width)
        return (output, weights) if return_attention_scores else output


class DecoderBlock:
    """A Transformer's layer: attention to what came before, then two dense layers.

    Both parts are computed from normalised vectors and added to what goes through
    ("pre-norm"), so that the sum of all layers reaches the output.

    Parameters
    ----------
    width, num_heads : int
        `width` is a multiple of `num_heads`. The inner dense layer has 4 · width units.
    causal : bool
        Whether a step sees only itself and what came before.
    rng, dtype
        As in `dlbook.nn.Dense`.

    References
    ----------
    Vaswani et al. (2017), section 3.1; R. Xiong et al., *On layer normalization in the
    Transformer architecture* (ICML 2020), table 1, for the place of the normalisation.
    """

    def __init__(self, width, num_heads, causal=True, *, rng, dtype="float32"):
        if width % positive(num_heads, "num_heads"):
            raise ValueError(
                f"DecoderBlock: width must be a multiple of num_heads, got {width} and {num_heads}"
            )
        self.causal = causal
        self.norm1 = LayerNormalization(width, 1e-5, dtype=dtype)
        self.attend = MultiHeadAttention(num_heads, width // num_heads, width, rng=rng, dtype=dtype)
        self.norm2 = LayerNormalization(width, 1e-5, dtype=dtype)
        self.dense1 = Dense(width, 4 * width, "relu", rng=rng, dtype=dtype)
        self.dense2 = Dense(4 * width, width, rng=rng, dtype=dtype)
        parts = self.norm1, self.attend, self.norm2, self.dense1, self.dense2
        self.parameters = [parameter for part in parts for parameter in part.parameters]

    def attended(self, x):
        """What `attend` returns for x (batch, steps, width), with its weights."""
        mask = causal_mask(x.shape[1]) if self.causal else None
        return self.attend(self.norm1(x), mask=mask, return_attention_scores=True)

    def __call__(self, x):
        """Map (batch, steps, width) to the same shape."""
        x = x + self.attended(x)[0]
        return x + self.dense2(self.dense1(self.norm2(x)))

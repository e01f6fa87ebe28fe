"""Reverse-mode automatic differentiation over NumPy arrays.

A `Tensor` is a NumPy array that remembers how it was computed. Every operation stores, next to its result,
one *edge* per input: the input and a function, the vector-Jacobian product (VJP), which turns the gradient of the
loss with respect to the result into the gradient of the loss with respect to that input. `Tensor.backward` visits
the operations in reverse order and applies those functions: this is backpropagation, for any graph.

To add an operation, compute its value with NumPy and return ``operation(value, (input, vjp), ...)``. Nothing else in
this module has to know about it.

References: A. Griewank and A. Walther, *Evaluating Derivatives* (2nd ed., SIAM 2008), chapter 3; the book's
chapter "Feedforward networks and backpropagation".
"""

from contextlib import contextmanager

import numpy as np
from scipy.sparse import csr_array
from scipy.special import erf

_recording = True


@contextmanager
def no_grad():
    """Compute without remembering: inside the block no operation stores edges, so no memory is kept for `backward`."""
    global _recording
    before, _recording = _recording, False
    try:
        yield
    finally:
        _recording = before


class Tensor:
    """An array, and the operation that made it.

    Parameters
    ----------
    data : array_like
        The values, of any shape. The array is not copied.
    requires_grad : bool
        True for the leaves that are to be learnt: `backward` leaves their gradient in `grad`.

    Attributes
    ----------
    data : numpy.ndarray
    grad : numpy.ndarray or None
        After `backward`, the gradient of the result with respect to this leaf, in the leaf's shape. Gradients of
        several `backward` calls add up until `grad` is set to None.
    requires_grad : bool
        For a computed tensor: whether any leaf behind it requires a gradient.

    Raises
    ------
    TypeError
        If `requires_grad` is set for data that are not floating-point numbers.
    """

    __array_priority__ = (
        1000  # numpy_array * tensor must call Tensor.__rmul__, not loop over the array
    )

    def __init__(self, data, requires_grad=False):
        self.data = np.asarray(data)
        if requires_grad and not np.issubdtype(self.data.dtype, np.floating):
            raise TypeError(
                f"only floating-point tensors can require a gradient, got dtype "
                f"{self.data.dtype}; convert with .astype('float32')"
            )
        self.requires_grad = requires_grad
        self.grad = None
        self.edges = ()

    def backward(self):
        """Set `grad` of every leaf that requires it to the gradient of this scalar.

        Raises
        ------
        ValueError
            If this tensor is not a single number, or depends on nothing that requires
            a gradient.
        """
        if self.data.size != 1:
            raise ValueError(
                f"backward() starts from a single number, got shape {self.shape}; "
                "reduce it first, for example with .mean()"
            )
        if not self.requires_grad:
            raise ValueError(
                "backward() found no input with requires_grad=True "
                "(was the result computed under no_grad()?)"
            )
        gradients = {self: np.ones_like(self.data)}
        for tensor in reversed(topological_order(self)):
            gradient = gradients.pop(tensor)
            if not tensor.edges:
                tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient
            for source, vjp in tensor.edges:
                contribution = vjp(gradient)
                if source in gradients:
                    contribution = gradients[source] + contribution
                gradients[source] = contribution

    shape = property(lambda self: self.data.shape)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    dtype = property(lambda self: self.data.dtype)
    T = property(lambda self: transpose(self))

    def __add__(self, other):
        return add(self, other)

    def __sub__(self, other):
        return subtract(self, other)

    def __mul__(self, other):
        return multiply(self, other)

    def __truediv__(self, other):
        return divide(self, other)

    def __matmul__(self, other):
        return matmul(self, other)

    def __radd__(self, other):
        return add(other, self)

    def __rsub__(self, other):
        return subtract(other, self)

    def __rmul__(self, other):
        return multiply(other, self)

    def __rtruediv__(self, other):
        return divide(other, self)

    def __rmatmul__(self, other):
        return matmul(other, self)

    def __neg__(self):
        return multiply(self, -1.0)

    def __pow__(self, exponent):
        return power(self, exponent)

    def sum(self, axis=None, keepdims=False):
        return sum(self, axis, keepdims)

    def mean(self, axis=None, keepdims=False):
        return mean(self, axis, keepdims)

    def reshape(self, *shape):
        return reshape(self, shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape)

    def transpose(self, *axes):
        return transpose(self, axes or None)

    def __repr__(self):
        return f"Tensor({np.array2string(self.data, separator=', ', precision=4)}{', requires_grad=True' if self.requires_grad else ''})"


def operation(data, *edges):
    """Return the tensor `data` that an operation computed, connected to its inputs.

    Parameters
    ----------
    data : numpy.ndarray
        The value of the operation.
    *edges : (Tensor, callable)
        For each input the pair (input, vjp): `vjp` takes the gradient with respect to
        `data` (in its shape) and returns the gradient with respect to the input (in
        the input's shape).
    """
    result = Tensor(data)
    if _recording:
        result.edges = tuple(edge for edge in edges if edge[0].requires_grad)
        result.requires_grad = bool(result.edges)
    return result


def topological_order(result):
    """List the tensors behind `result` that require a gradient, each after its inputs.

    Depth-first search with a stack of its own: a recurrent network is a graph thousands
    of operations deep, more than Python's recursion allows.
    """
    order, seen, stack = [], set(), [(result, False)]
    while stack:
        tensor, inputs_are_listed = stack.pop()
        if inputs_are_listed:
            order.append(tensor)
        elif tensor not in seen:
            seen.add(tensor)
            stack.append((tensor, True))
            stack.extend((source, False) for source, _ in tensor.edges)
    return order


def as_tensor(value, like=None):
    """Return `value` as a Tensor; a Python number takes the dtype of the tensor `like`, so that float32 stays float32."""
    if isinstance(value, Tensor):
        return value
    if like is not None and isinstance(value, (int, float)):
        return Tensor(np.asarray(value, dtype=like.dtype))
    return Tensor(value)


def unbroadcast(gradient, shape):
    """Sum `gradient` over the axes along which broadcasting repeated an input of `shape`.

    An input that was used several times receives the sum of the gradients of its uses.
    Returns an array of `shape`.
    """
    if gradient.shape == shape:
        return gradient
    gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
    sizes = enumerate(zip(shape, gradient.shape))
    repeated = tuple(axis for axis, (old, new) in sizes if old == 1 and new != 1)
    return gradient.sum(axis=repeated, keepdims=True)


def _pair(a, b, name):
    """Both operands as tensors, after checking that their shapes broadcast."""
    a, b = (
        as_tensor(a, like=b if isinstance(b, Tensor) else None),
        as_tensor(b, like=a if isinstance(a, Tensor) else None),
    )
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ValueError(
            f"{name}: shapes {a.shape} and {b.shape} do not broadcast; "
            "aligned from the right, sizes must be equal or 1"
        ) from None
    return a, b


# Arithmetic, with broadcasting


def add(a, b):
    a, b = _pair(a, b, "add")
    return operation(
        a.data + b.data,
        (a, lambda g: unbroadcast(g, a.shape)),
        (b, lambda g: unbroadcast(g, b.shape)),
    )


def subtract(a, b):
    a, b = _pair(a, b, "subtract")
    return operation(
        a.data - b.data,
        (a, lambda g: unbroadcast(g, a.shape)),
        (b, lambda g: unbroadcast(-g, b.shape)),
    )


def multiply(a, b):
    a, b = _pair(a, b, "multiply")
    return operation(
        a.data * b.data,
        (a, lambda g: unbroadcast(g * b.data, a.shape)),
        (b, lambda g: unbroadcast(g * a.data, b.shape)),
    )


def divide(a, b):
    a, b = _pair(a, b, "divide")
    return operation(
        a.data / b.data,
        (a, lambda g: unbroadcast(g / b.data, a.shape)),
        (b, lambda g: unbroadcast(-g * a.data / b.data**2, b.shape)),
    )


def power(a, exponent):
    """`a` to a constant real power."""
    if not isinstance(exponent, (int, float)):
        raise TypeError(
            f"power: the exponent must be a Python number, got {type(exponent).__name__}"
        )
    return operation(a.data**exponent, (a, lambda g: g * exponent * a.data ** (exponent - 1)))


def matmul(a, b):
    """Matrix product over the last two axes; leading axes broadcast.

    Shapes: ``(..., n, k) @ (..., k, m) -> (..., n, m)``.
    """
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"matmul: expected shapes (..., n, k) and (..., k, m), got {a.shape} and {b.shape}"
        )
    return operation(
        a.data @ b.data,
        (a, lambda g: unbroadcast(g @ b.data.swapaxes(-1, -2), a.shape)),
        (b, lambda g: unbroadcast(a.data.swapaxes(-1, -2) @ g, b.shape)),
    )


# Functions of one argument, element by element


def exp(a):
    value = np.exp(a.data)
    return operation(value, (a, lambda g: g * value))


def log(a):
    return operation(np.log(a.data), (a, lambda g: g / a.data))


def tanh(a):
    value = np.tanh(a.data)
    return operation(value, (a, lambda g: g * (1 - value**2)))


def sigmoid(a):
    """The logistic function 1 / (1 + exp(-a)), written with tanh so that no argument overflows."""
    value = 0.5 * (1 + np.tanh(0.5 * a.data))
    return operation(value, (a, lambda g: g * value * (1 - value)))


def relu(a):
    """max(a, 0); the derivative at 0 is taken as 0, as in Keras."""
    positive = a.data > 0
    return operation(a.data * positive, (a, lambda g: g * positive))


def gelu(a):
    """a · Φ(a), where Φ(a) is the probability that a standard normal number is below a.

    D. Hendrycks and K. Gimpel, *Gaussian error linear units* (2016); exact, as in Keras.
    """
    below = 0.5 * (1 + erf(a.data / 2**0.5))
    slope = below + a.data * np.exp(-0.5 * a.data**2) / (2 * np.pi) ** 0.5
    return operation(a.data * below, (a, lambda g: g * slope))


def softmax(a):
    """exp(a) normalised to sum 1 along the last axis; subtracting the maximum first leaves it unchanged and safe."""
    value = np.exp(a.data - a.data.max(axis=-1, keepdims=True))
    value /= value.sum(axis=-1, keepdims=True)
    return operation(value, (a, lambda g: value * (g - (g * value).sum(axis=-1, keepdims=True))))


# Reductions and changes of shape


def sum(a, axis=None, keepdims=False):
    """Sum over `axis` (an int, a tuple or None for all). Each element's gradient is that of its sum."""

    def vjp(g):
        if axis is not None and not keepdims:
            g = np.expand_dims(g, axis)
        return np.broadcast_to(g, a.shape)

    return operation(a.data.sum(axis=axis, keepdims=keepdims), (a, vjp))


def mean(a, axis=None, keepdims=False):
    total = sum(a, axis, keepdims)
    return total * (total.size / a.size)


def reshape(a, shape):
    return operation(a.data.reshape(shape), (a, lambda g: g.reshape(a.shape)))


def transpose(a, axes=None):
    """Permute the axes (reverse them by default)."""
    inverse = None if axes is None else np.argsort(axes)
    return operation(a.data.transpose(axes), (a, lambda g: g.transpose(inverse)))


# Selection and assembly


def where(condition, a, b):
    """`a` where `condition` holds and `b` elsewhere.

    Each element's gradient goes to the one that was taken. `condition` is an array of
    bool that broadcasts with both.
    """
    condition = np.asarray(condition)
    a, b = _pair(a, b, "where")
    try:
        np.broadcast_shapes(condition.shape, a.shape, b.shape)
    except ValueError:
        raise ValueError(
            f"where: the condition's shape {condition.shape} does not broadcast with {a.shape} "
            f"and {b.shape}; aligned from the right, sizes must be equal or 1"
        ) from None
    return operation(
        np.where(condition, a.data, b.data),
        (a, lambda g: unbroadcast(np.where(condition, g, 0), a.shape)),
        (b, lambda g: unbroadcast(np.where(condition, 0, g), b.shape)),
    )


def gather(a, indices):
    """The rows of `a` that `indices` names, any number of times each.

    This is the product of a matrix of one-hot rows with `a`, without the
    multiplications by 0 and 1. Its gradient, the product with the transposed matrix,
    adds up for each row of `a` the gradients of all its copies.

    Parameters
    ----------
    a : Tensor, shape (rows, ...)
    indices : array of int, any shape
        From 0 to rows - 1.

    Returns
    -------
    Tensor, shape indices.shape + a.shape[1:]
    """
    indices = np.asarray(indices)
    if not np.issubdtype(indices.dtype, np.integer):
        raise TypeError(
            f"gather expects whole numbers as indices, got dtype {indices.dtype}; "
            "convert with .astype(int)"
        )
    rows, count = a.shape[0], indices.size
    if count and (indices.min() < 0 or indices.max() >= rows):
        raise ValueError(
            f"gather: indices must be in 0..{rows - 1}, got {indices.min()}..{indices.max()}"
        )

    def vjp(g):
        ones, row_starts = np.ones(count, g.dtype), np.arange(count + 1)
        one_hot = csr_array((ones, indices.ravel(), row_starts), shape=(count, rows))
        return (one_hot.T @ g.reshape(count, a.size // rows)).reshape(a.shape)

    return operation(a.data[indices], (a, vjp))


def pieces(a, indices):
    """The parts ``a[index]`` for several `indices` of which no two overlap.

    All parts write their gradients into one array of the shape of `a`. If each had such
    an array to itself, then cutting a sequence into its T steps would cost of the order
    of T² in the backward pass instead of T.

    Returns
    -------
    list of Tensor
    """
    gradients = []

    def vjp(index):
        def write(g):
            if not gradients:
                gradients.append(np.zeros(a.shape, a.dtype))
            gradients[0][index] = g
            return np.zeros(())  # nothing to add up; `whole` hands over the array

        return write

    whole = operation(a.data, (a, lambda _: gradients.pop()))
    return [operation(a.data[index], (whole, vjp(index))) for index in indices]


def unstack(a, axis=0):
    """Cut `a` along `axis` into slices that lack this axis."""
    before = (slice(None),) * (axis % a.ndim)
    return pieces(a, [(*before, position) for position in range(a.shape[axis])])


def split(a, sections, axis=0):
    """Cut `a` along `axis` into `sections` parts of equal size."""
    size, rest = divmod(a.shape[axis], sections)
    if rest:
        raise ValueError(
            f"split: axis {axis} of shape {a.shape} cannot be cut into {sections} equal parts"
        )
    before = (slice(None),) * (axis % a.ndim)
    return pieces(a, [(*before, slice(i * size, (i + 1) * size)) for i in range(sections)])


def concatenate(tensors, axis=0):
    """Join tensors along `axis`; all other sizes are equal. Undoes `split`."""
    tensors = [as_tensor(tensor) for tensor in tensors]
    ends = np.cumsum([tensor.shape[axis] for tensor in tensors])

    def vjp(position):
        return lambda g: np.split(g, ends[:-1], axis)[position]

    joined = np.concatenate([tensor.data for tensor in tensors], axis)
    return operation(joined, *((tensor, vjp(i)) for i, tensor in enumerate(tensors)))


def stack(tensors, axis=0):
    """Put tensors of equal shape next to each other along a new axis. Undoes `unstack`."""
    tensors = [as_tensor(tensor) for tensor in tensors]
    if len({tensor.shape for tensor in tensors}) != 1:
        raise ValueError(
            f"stack expects tensors of one shape, got {[tensor.shape for tensor in tensors]}"
        )

    def vjp(position):
        return lambda g: g.take(position, axis)

    joined = np.stack([tensor.data for tensor in tensors], axis)
    return operation(joined, *((tensor, vjp(i)) for i, tensor in enumerate(tensors)))


def numerical_gradient(function, array, step=1e-6):
    """Gradient of a scalar function by central differences: the check on every derivative of the book.

    Parameters
    ----------
    function : callable
        Takes no argument and returns a number that depends on `array`.
    array : numpy.ndarray of float64
        Changed in place, one element at a time, and restored.
    step : float
        The error is of order step² from the truncated Taylor series plus 1e-16 / step from rounding: in float64 1e-6
        to 1e-5 is best, in float32 no step is good.

    Returns
    -------
    numpy.ndarray in the shape of `array`.
    """
    if array.dtype != np.float64:
        raise TypeError(
            f"numerical_gradient needs float64, got {array.dtype}: in lower precision "
            "the difference of two close values is mostly rounding"
        )
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        original = array[index]
        array[index] = original + step
        above = float(function())
        array[index] = original - step
        below = float(function())
        array[index] = original
        gradient[index] = (above - below) / (2 * step)
    return gradient

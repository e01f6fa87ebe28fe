"""Every operation against finite differences in float64, on shapes drawn by Hypothesis, and against TensorFlow."""

import dlbook
import numpy as np
import pytest
import tensorflow as tf
from dlbook import tensor as T
from dlbook.tensor import Tensor, no_grad, numerical_gradient, operation
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

# Central differences with step 1e-5 have an error near 1e-10 for values of order one; 1e-6 leaves room and still sees
# any wrong factor.
RELATIVE_ERROR = 1e-6


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def positive(shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 2.0, size=shape)


def away_from_zero(shape, seed=0):
    """Values at least 0.1 from the kink of ReLU."""
    values = normal(shape, seed)
    return values + 0.1 * np.sign(values)


def check(function, *arrays):
    """Compare every gradient of a random weighted sum of ``function(*arrays)`` with central differences."""
    leaves = [Tensor(array, requires_grad=True) for array in arrays]
    output = function(*leaves)
    weights = normal(output.shape, seed=99)

    def value():
        return (function(*(Tensor(leaf.data) for leaf in leaves)).data * weights).sum()

    (output * Tensor(weights)).sum().backward()
    for position, leaf in enumerate(leaves):
        numerical = numerical_gradient(value, leaf.data, step=1e-5)
        assert leaf.grad.shape == leaf.shape, f"input {position}"
        assert leaf.grad.dtype == np.float64
        scale = max(1.0, np.abs(numerical).max(initial=0))
        assert np.abs(leaf.grad - numerical).max(initial=0) <= RELATIVE_ERROR * scale, (
            f"input {position}"
        )


BINARY = {"add": T.add, "subtract": T.subtract, "multiply": T.multiply, "divide": T.divide}
TF_BINARY = {"add": tf.add, "subtract": tf.subtract, "multiply": tf.multiply, "divide": tf.divide}
UNARY = {
    "exp": (T.exp, normal, tf.exp),
    "log": (T.log, positive, tf.math.log),
    "tanh": (T.tanh, normal, tf.tanh),
    "sigmoid": (T.sigmoid, normal, tf.sigmoid),
    "relu": (T.relu, away_from_zero, tf.nn.relu),
    "gelu": (T.gelu, normal, lambda a: tf.nn.gelu(a, approximate=False)),
    "softmax": (T.softmax, normal, tf.nn.softmax),
    "cube": (lambda a: a**3, normal, lambda a: a**3),
    "inverse square root": (lambda a: a**-0.5, positive, lambda a: a**-0.5),
    "negation": (lambda a: -a, normal, tf.negative),
}


@pytest.mark.parametrize("name", BINARY)
@given(
    shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4),
    seed=st.integers(0, 1000),
)
def test_binary_operations_with_broadcasting(name, shapes, seed):
    check(BINARY[name], *(positive(shape, seed + i) for i, shape in enumerate(shapes.input_shapes)))


@pytest.mark.parametrize("name", UNARY)
@given(shape=array_shapes(max_dims=3, max_side=4), seed=st.integers(0, 1000))
def test_unary_operations(name, shape, seed):
    function, draw, _ = UNARY[name]
    check(function, draw(shape, seed))


@given(
    batch=mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3),
    n=st.integers(1, 4),
    k=st.integers(1, 4),
    m=st.integers(1, 4),
)
def test_matmul_with_broadcast_batches(batch, n, k, m):
    first, second = batch.input_shapes
    check(T.matmul, normal((*first, n, k)), normal((*second, k, m), 1))


@given(data=st.data(), shape=array_shapes(max_dims=4, max_side=4), keepdims=st.booleans())
def test_reductions(data, shape, keepdims):
    axis = data.draw(
        st.none() | st.integers(0, len(shape) - 1) | st.just(tuple(range(len(shape)))[::2])
    )
    check(lambda a: a.sum(axis, keepdims), normal(shape))
    check(lambda a: a.mean(axis, keepdims), normal(shape))


@given(data=st.data(), shape=array_shapes(max_dims=4, max_side=4))
def test_reshape_and_transpose(data, shape):
    axes = data.draw(st.permutations(range(len(shape))))
    check(lambda a: a.transpose(*axes), normal(shape))
    check(lambda a: a.T, normal(shape))
    check(lambda a: a.reshape(-1), normal(shape))
    check(lambda a: a.reshape(shape[::-1]), normal(shape))


@given(
    shapes=mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=4),
    seed=st.integers(0, 1000),
)
def test_where(shapes, seed):
    first, second, third = shapes.input_shapes
    condition = normal(first, seed) > 0
    check(lambda a, b: T.where(condition, a, b), normal(second, seed + 1), normal(third, seed + 2))


@given(
    shape=array_shapes(max_dims=3, max_side=4),
    indices=array_shapes(min_dims=0, max_dims=3, max_side=3),
    seed=st.integers(0, 1000),
)
def test_gather(shape, indices, seed):
    """Rows that are taken several times, and rows that are never taken."""
    rows = np.random.default_rng(seed).integers(shape[0], size=indices)
    check(lambda a: T.gather(a, rows), normal(shape, seed))
    assert T.gather(Tensor(normal(shape)), rows).shape == (*indices, *shape[1:])


@given(data=st.data(), shape=array_shapes(max_dims=4, max_side=4))
def test_cutting_and_joining(data, shape):
    """Cut and joined again in another order, with a part that is used twice and one that is not used."""
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    slices = T.unstack(Tensor(normal(shape)), axis)
    assert len(slices) == shape[axis]
    for position, part in enumerate(slices):
        np.testing.assert_array_equal(part.data, normal(shape).take(position, axis))
    check(lambda a: T.stack(T.unstack(a, axis)[::-1], axis), normal(shape))
    check(lambda a: T.concatenate(T.split(a, shape[axis], axis)[::-1], axis), normal(shape))
    check(lambda a: T.unstack(a, axis)[0] * T.unstack(a, axis)[-1], normal(shape))

    def first_twice(a):
        first, *_ = T.split(a, shape[axis], axis)
        return first * T.tanh(first)

    check(first_twice, normal(shape))


def test_joining_different_sizes():
    check(lambda a, b: T.concatenate([a, b, a], axis=1), normal((2, 3)), normal((2, 1), 1))
    check(lambda a, b: T.stack([a, b, a], axis=1), normal((2, 3)), normal((2, 3), 1))


def test_parts_of_a_computed_tensor_and_a_second_backward():
    a = Tensor(normal((3, 4)), requires_grad=True)
    parts = T.unstack(T.exp(a), axis=1)
    loss = (parts[0] * parts[2]).sum()
    loss.backward()
    first = a.grad
    loss.backward()
    np.testing.assert_allclose(a.grad, 2 * first)
    assert not first[:, [1, 3]].any()


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (lambda a: T.gather(a, [0, 2]), ValueError, r"must be in 0..1, got 0..2"),
        (lambda a: T.gather(a, [-1]), ValueError, r"must be in 0..1, got -1..-1"),
        (lambda a: T.gather(a, [0.0]), TypeError, "whole numbers as indices, got dtype float64"),
        (lambda a: T.split(a, 2, axis=1), ValueError, r"axis 1 of shape \(2, 3\) .* 2 equal parts"),
        (lambda a: T.stack([a, a.T]), ValueError, r"one shape, got \[\(2, 3\), \(3, 2\)\]"),
        (lambda a: T.where(np.ones(2, bool), a, a), ValueError, r"shape \(2,\) does not broadcast"),
        (lambda a: T.where(True, a, a.T), ValueError, r"where: shapes \(2, 3\) and \(3, 2\)"),
    ],
)
def test_wrong_selections_are_named(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong(Tensor(normal((2, 3))))


def test_an_input_used_several_times_gets_the_sum_of_its_gradients():
    check(lambda a, b: a * a * b + T.tanh(a) / b + a, positive((2, 3)), positive((3,), 1))


def test_mixed_operands():
    array = normal((2, 3))
    check(
        lambda a: 2 * a + array - a / 4 + (1 - a) + array @ a.T @ np.ones((2, 3)) + 1 / (a + 5),
        array.copy(),
    )
    check(lambda a: array - a, array.copy())
    check(lambda a: array / (a + 9), array.copy())


@pytest.mark.parametrize("name", UNARY)
def test_unary_operations_equal_tensorflow(name):
    function, draw, reference = UNARY[name]
    array = draw((5, 7)).astype("float32")
    weights = normal((5, 7), 1).astype("float32")
    leaf, variable = Tensor(array, requires_grad=True), tf.Variable(array)
    output = function(leaf)
    (output * weights).sum().backward()
    with tf.GradientTape() as tape:
        expected = reference(variable)
        loss = tf.reduce_sum(expected * weights)
    assert output.dtype == np.float32 and leaf.grad.dtype == np.float32
    np.testing.assert_allclose(output.data, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(leaf.grad, tape.gradient(loss, variable), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", BINARY)
@given(shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=4))
@settings(max_examples=10)
def test_binary_operations_equal_tensorflow(name, shapes):
    arrays = [positive(shape, i).astype("float32") for i, shape in enumerate(shapes.input_shapes)]
    leaves, variables = (
        [Tensor(array, requires_grad=True) for array in arrays],
        [tf.Variable(array) for array in arrays],
    )
    BINARY[name](*leaves).sum().backward()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(TF_BINARY[name](*variables))
    for leaf, expected in zip(leaves, tape.gradient(loss, variables)):
        np.testing.assert_allclose(leaf.grad, expected, rtol=1e-5, atol=1e-5)


def test_float32_stays_float32_beside_python_numbers():
    a = Tensor(np.ones(3, "float32"), requires_grad=True)
    assert (2.0 * a + 1 - a / 3).dtype == np.float32
    assert a.mean().dtype == np.float32


def test_gradients_add_up_until_forgotten():
    a = Tensor([1.0, 2.0], requires_grad=True)
    (a * a).sum().backward()
    (a * a).sum().backward()
    np.testing.assert_array_equal(a.grad, [4.0, 8.0])


def test_no_grad_keeps_no_graph():
    a = Tensor([1.0], requires_grad=True)
    with no_grad():
        assert not (a * 2).requires_grad
    assert (a * 2).requires_grad


def test_a_graph_may_be_deeper_than_python_recursion():
    state = start = Tensor(1.0, requires_grad=True)
    for _ in range(5000):
        state = state * 0.999 + 0.001
    state.backward()
    assert start.grad == pytest.approx(0.999**5000)


def test_new_operations_need_only_operation():
    """Gathering rows and a convolution, as later chapters will write them, without touching the module."""

    def gather(table, indices):
        def vjp(g):
            gradient = np.zeros_like(table.data)
            np.add.at(gradient, indices, g)
            return gradient

        return operation(table.data[indices], (table, vjp))

    def convolve(signal, kernel):
        windows = np.lib.stride_tricks.sliding_window_view(signal.data, kernel.size)

        def vjp_signal(g):
            gradient = np.zeros_like(signal.data)
            for offset, weight in enumerate(kernel.data):
                gradient[offset : offset + g.size] += weight * g
            return gradient

        return operation(
            windows @ kernel.data, (signal, vjp_signal), (kernel, lambda g: windows.T @ g)
        )

    check(lambda table: gather(table, np.array([2, 0, 2, 1])), normal((3, 4)))
    check(convolve, normal(9), normal(3, 1))


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (
            lambda: Tensor([1.0, 2.0], requires_grad=True).backward(),
            ValueError,
            r"single number, got shape \(2,\)",
        ),
        (lambda: Tensor(1.0).backward(), ValueError, "requires_grad"),
        (lambda: Tensor([1, 2], requires_grad=True), TypeError, "int64"),
        (lambda: Tensor(np.ones((2, 3))) + np.ones((2, 4)), ValueError, r"\(2, 3\) and \(2, 4\)"),
        (
            lambda: Tensor(np.ones((2, 3))) @ np.ones((2, 3)),
            ValueError,
            r"got \(2, 3\) and \(2, 3\)",
        ),
        (lambda: Tensor(np.ones(3)) @ np.ones((3, 2)), ValueError, r"got \(3,\)"),
        (lambda: Tensor([1.0]) ** Tensor([2.0]), TypeError, "exponent"),
        (lambda: numerical_gradient(lambda: 0.0, np.ones(2, "float32")), TypeError, "float32"),
        (lambda: dlbook.nothing, AttributeError, "nothing"),
    ],
)
def test_bad_input_is_named(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()

"""Recurrent layers, embeddings, masks, clipping: against Keras in float64 and float32, and against finite differences.

Hypothesis draws sizes, options and masks: any steps of any sequence may be missing, the first and all of them too.
"""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from dlbook import nn, optim
from dlbook import recurrent as R
from dlbook.regularization import Dropout
from dlbook.tensor import Tensor, numerical_gradient
from hypothesis import given, settings
from hypothesis import strategies as st

settings.register_profile("book", deadline=None, max_examples=25)
settings.load_profile("book")

RNG = np.random.default_rng
# In float64 engine and Keras differ by rounding only. In float32 as asked of every layer of the book.
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
KINDS = {
    "SimpleRNN": (R.SimpleRNN, keras.layers.SimpleRNN, {}),
    "SimpleRNN, relu": (R.SimpleRNN, keras.layers.SimpleRNN, {"activation": "relu"}),
    "LSTM": (R.LSTM, keras.layers.LSTM, {}),
    "LSTM, relu": (R.LSTM, keras.layers.LSTM, {"activation": "relu"}),
    "LSTM, gates tanh": (R.LSTM, keras.layers.LSTM, {"recurrent_activation": "tanh"}),
    "GRU": (R.GRU, keras.layers.GRU, {}),
    "GRU, reset before": (R.GRU, keras.layers.GRU, {"reset_after": False}),
    "GRU, gates tanh": (R.GRU, keras.layers.GRU, {"recurrent_activation": "tanh"}),
}
LAYERS = [R.SimpleRNN, R.LSTM, R.GRU]
sizes = st.integers(1, 4)
lengths = st.integers(1, 6)
seeds = st.integers(0, 999)


def relative_error(found, expected):
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    return np.abs(found - expected).max(initial=0) / max(1.0, np.abs(expected).max(initial=0))


def random_weights(layer, seed):
    """Biases too, so that the order of the blocks matters everywhere."""
    rng = RNG(seed)
    for weight in layer.parameters:
        weight.data = rng.normal(0, 0.7, weight.shape).astype(weight.dtype)
    return layer


def weighted_sum(arrays, weights):
    first, *rest = [
        (a * w).sum() if isinstance(a, Tensor) else tf.reduce_sum(a * w)
        for a, w in zip(arrays, weights, strict=True)
    ]
    return sum(rest, start=first)


def as_list(value):
    return list(value) if isinstance(value, (tuple, list)) else [value]


def compare_with_keras(layer, twin, x, mask=None, initial_state=None):
    """Outputs, and all gradients of a random weighted sum of outputs and states."""
    dtype, tolerance = str(x.dtype), TOLERANCE[str(x.dtype)]
    starts = [] if initial_state is None else initial_state
    ours = [Tensor(array, requires_grad=True) for array in [x, *starts]]
    theirs = [tf.Variable(array) for array in [x, *starts]]
    twin.build(x.shape)
    twin.set_weights([weight.data for weight in layer.parameters])
    outputs = as_list(layer(ours[0], ours[1:] or None, mask))
    weights = [RNG(i).normal(size=output.shape).astype(dtype) for i, output in enumerate(outputs)]
    weighted_sum(outputs, weights).backward()
    with tf.GradientTape() as tape:
        expected = as_list(twin(theirs[0], initial_state=theirs[1:] or None, mask=mask))
        total = weighted_sum(expected, weights)
    gradients = tape.gradient(
        total, [*theirs, *twin.trainable_variables], unconnected_gradients="zero"
    )
    for found, wanted in zip(outputs, expected, strict=True):
        assert found.dtype == dtype
        assert relative_error(found.data, wanted) <= tolerance
    for leaf, gradient in zip([*ours, *layer.parameters], gradients, strict=True):
        assert leaf.grad.dtype == dtype
        assert relative_error(leaf.grad, gradient) <= tolerance


def draw_case(
    kind, dtype, seed, inputs, units, return_sequences, return_state, starts, batch, length
):
    """A layer, its twin, sequences, a mask and initial states."""
    ours, theirs, options = KINDS[kind]
    rng = RNG(seed)
    options = {**options, "return_sequences": return_sequences, "return_state": return_state}
    layer = random_weights(ours(inputs, units, rng=rng, dtype=dtype, **options), seed)
    twin = theirs(units, dtype=dtype, **options)
    x = rng.normal(size=(batch, length, inputs)).astype(dtype)
    mask = rng.random((batch, length)) < 0.6
    state = None
    if starts:
        state = [rng.normal(size=(batch, units)).astype(dtype) for _ in range(layer.states)]
    return layer, twin, x, mask, state


cases = given(
    seed=seeds,
    inputs=sizes,
    units=sizes,
    return_sequences=st.booleans(),
    return_state=st.booleans(),
    starts=st.booleans(),
    batch=sizes,
    length=lengths,
)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", KINDS)
@cases
@settings(max_examples=6)
def test_outputs_states_and_gradients_equal_keras(kind, dtype, **sizes):
    layer, twin, x, _, state = draw_case(kind, dtype, **sizes)
    compare_with_keras(layer, twin, x, initial_state=state)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", KINDS)
@cases
@settings(max_examples=6)
def test_masked_outputs_states_and_gradients_equal_keras(kind, dtype, **sizes):
    layer, twin, x, mask, state = draw_case(kind, dtype, **sizes)
    if state is not None:
        mask[:, 0] = True  # where there is no step yet, Keras returns zeros, the engine the state
    compare_with_keras(layer, twin, x, mask, state)


@pytest.mark.parametrize("kind", KINDS)
@cases
@settings(max_examples=6)
def test_gradients_equal_finite_differences(kind, **sizes):
    layer, _, x, mask, state = draw_case(kind, "float64", **sizes)
    if "relu" in kind:
        return  # the kink; Keras has checked it
    leaves = [Tensor(x, requires_grad=True)]
    leaves += [Tensor(array, requires_grad=True) for array in state or []]

    def outputs():
        return as_list(layer(leaves[0], leaves[1:] or None, mask))

    weights = [RNG(i).normal(size=output.shape) for i, output in enumerate(outputs())]
    weighted_sum(outputs(), weights).backward()
    for leaf in [*leaves, *layer.parameters]:
        numerical = numerical_gradient(
            lambda: weighted_sum(outputs(), weights).data, leaf.data, step=1e-5
        )
        assert relative_error(leaf.grad, numerical) <= 1e-6


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_a_fixed_value_of_each_layer_worked_out_by_hand(kind):
    """One unit, one step from a given state, written with Python's own functions: no library in common."""
    from math import exp, isclose, tanh

    def s(z):
        return 1 / (1 + exp(-z))

    x, h, c = 0.5, -0.3, 0.8
    layer = random_weights(KINDS[kind][0](1, 1, rng=RNG(0), dtype="float64", return_state=True), 1)
    w, u = layer.kernel.data[0], layer.recurrent_kernel.data[0]
    b = layer.bias.data
    state = [Tensor([[h]]), Tensor([[c]])][: layer.states]
    found = [float(array.data[0, 0]) for array in layer(np.array([[[x]]]), state)[1:]]
    if kind == "SimpleRNN":
        expected = [tanh(x * w[0] + h * u[0] + b[0])]
    elif kind == "LSTM":
        i, f, g, o = (x * w[k] + h * u[k] + b[k] for k in range(4))
        c = s(f) * c + s(i) * tanh(g)
        expected = [s(o) * tanh(c), c]
    else:
        z, r = (s(x * w[k] + b[0, k] + h * u[k] + b[1, k]) for k in (0, 1))
        g = tanh(x * w[2] + b[0, 2] + r * (h * u[2] + b[1, 2]))
        expected = [z * h + (1 - z) * g]
    assert all(isclose(a, e, rel_tol=1e-12) for a, e in zip(found, expected, strict=True))


def stacked(dtype="float32"):
    """Embedding with a mask, dropout between, three kinds of layers one on top of the other, a label a step."""
    rng = RNG(0)
    options = {"rng": rng, "dtype": dtype}
    return nn.Sequential(
        [
            R.Embedding(7, 5, mask_zero=True, **options),
            Dropout(0.0, rng=rng),
            nn.Sequential([R.LSTM(5, 6, return_sequences=True, **options)]),
            nn.Dense(6, 6, "tanh", **options),
            R.GRU(6, 4, return_sequences=True, **options),
            R.SimpleRNN(4, 3, return_sequences=True, **options),
            nn.Dense(3, 7, **options),
        ]
    )


def stacked_twin():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None,)),
            layers.Embedding(7, 5, mask_zero=True),
            layers.Dropout(0.0),
            layers.LSTM(6, return_sequences=True),
            layers.Dense(6, "tanh"),
            layers.GRU(4, return_sequences=True),
            layers.SimpleRNN(3, return_sequences=True),
            layers.Dense(7),
        ]
    )


def sentences(seed=1, count=24, length=6):
    """Symbols 1 to 6, filled up with 0 from a random length on; one sentence is of full length."""
    rng = RNG(seed)
    x = rng.integers(1, 7, (count, length))
    ends = rng.integers(1, length + 1, count)
    ends[0] = length
    x[np.arange(length) >= ends[:, None]] = 0
    return x


LOSS = partial(R.sequence_cross_entropy, ignore_class=0)


def test_a_stack_with_masks_trains_as_in_keras():
    """Twelve steps of SGD with clipping: the mask reaches every layer and the loss, in Keras by itself."""
    ours, theirs = stacked(), stacked_twin()
    theirs.set_weights(ours.get_weights())
    assert ours.count_params() == theirs.count_params()
    x = sentences()
    y = np.where(x == 0, 0, RNG(2).integers(1, 7, x.shape))
    history = nn.fit(
        ours,
        x,
        y,
        loss=LOSS,
        optimizer=optim.SGD(ours.parameters, 0.5, global_clipnorm=0.3),
        epochs=4,
        batch_size=8,
    )
    theirs.compile(
        keras.optimizers.SGD(0.5, global_clipnorm=0.3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0),
    )
    expected = theirs.fit(x, y, epochs=4, batch_size=8, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    for found, wanted in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        nn.predict(ours, x), theirs.predict(x, verbose=0), rtol=1e-3, atol=1e-4
    )


def test_gradients_of_the_stack_equal_finite_differences():
    model, x = stacked("float64"), sentences(count=3)
    y = np.where(x == 0, 0, RNG(2).integers(1, 7, x.shape))
    for parameter in model.parameters:  # away from zero biases, and embeddings of visible size
        parameter.data += RNG(3).normal(0, 0.3, parameter.shape)
    LOSS(model(x), y).backward()
    for parameter in model.parameters:
        numerical = numerical_gradient(lambda: LOSS(model(x), y).data, parameter.data, step=1e-5)
        assert relative_error(parameter.grad, numerical) <= 1e-6


@pytest.mark.parametrize("first", [R.Embedding(7, 3, mask_zero=True, rng=RNG(0)), "masking"])
@pytest.mark.parametrize("layer", LAYERS)
def test_padding_changes_nothing(layer, first):
    """A sequence's output is the same alone and filled up beside longer ones: the mask is not ignored."""
    if first == "masking":
        first, x = R.Masking(), RNG(0).normal(size=(4, 6, 3)).astype("float32")
        x[1, 4:] = x[2, 1:] = 0
    else:
        x = sentences(count=4)
    for return_sequences in (False, True):
        model = nn.Sequential(
            [
                first,
                layer(3, 5, return_sequences=True, rng=RNG(1)),
                layer(5, 4, return_sequences=return_sequences, rng=RNG(2)),
            ]
        )
        together = model(x).data
        for row, symbols in enumerate(x):
            length = np.count_nonzero(symbols.reshape(6, -1).any(axis=1))
            alone = model(symbols[None, :length]).data[0]
            beside = together[row, :length] if return_sequences else together[row]
            np.testing.assert_allclose(beside, alone, rtol=1e-5, atol=1e-6)


def test_masks_are_made_and_dropped_as_in_keras():
    symbols, values = sentences(count=3), RNG(0).normal(size=(3, 6, 2)).astype("float32")
    values[1, 3:] = values[2, 0] = 0
    embedding = R.Embedding(7, 2, mask_zero=True, rng=RNG(0))
    twin = keras.layers.Embedding(7, 2, mask_zero=True)
    np.testing.assert_array_equal(embedding.compute_mask(symbols, None), twin.compute_mask(symbols))
    assert R.Embedding(7, 2, rng=RNG(0)).compute_mask(symbols, None) is None
    masking, twin = R.Masking(), keras.layers.Masking()
    np.testing.assert_array_equal(masking.compute_mask(values), twin.compute_mask(values))
    np.testing.assert_array_equal(masking(Tensor(values)).data, twin(values))
    mask = masking.compute_mask(values)
    assert R.LSTM(2, 3, rng=RNG(0)).compute_mask(values, mask) is None
    assert R.LSTM(2, 3, return_sequences=True, rng=RNG(0)).compute_mask(values, mask) is mask


@given(
    seed=seeds,
    vocabulary=st.integers(1, 9),
    width=sizes,
    shape=st.sampled_from([(3,), (2, 5), (0, 2), (2, 3, 2)]),
)
def test_embedding_equals_keras(seed, vocabulary, width, shape):
    """Symbols that occur several times, and some that never do: their gradient is zero."""
    layer = R.Embedding(vocabulary, width, rng=RNG(seed))
    twin = keras.layers.Embedding(vocabulary, width)
    twin.build()
    twin.set_weights([layer.embeddings.data])
    symbols = RNG(seed).integers(vocabulary, size=shape)
    output = layer(symbols)
    weights = RNG(seed).normal(size=output.shape).astype("float32")
    (output * weights).sum().backward()
    with tf.GradientTape() as tape:
        expected = twin(symbols)
        total = tf.reduce_sum(expected * weights)
    gradient = tf.convert_to_tensor(tape.gradient(total, twin.trainable_variables[0]))
    np.testing.assert_array_equal(output.data, expected)
    assert layer.embeddings.grad.dtype == np.float32
    assert relative_error(layer.embeddings.grad, gradient) <= 1e-5


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (lambda: R.SimpleRNN(3, 4, rng=RNG(0)), lambda: keras.layers.SimpleRNN(4)),
        (lambda: R.LSTM(3, 4, rng=RNG(0)), lambda: keras.layers.LSTM(4)),
        (
            lambda: R.LSTM(3, 4, unit_forget_bias=False, rng=RNG(0)),
            lambda: keras.layers.LSTM(4, unit_forget_bias=False),
        ),
        (lambda: R.GRU(3, 4, rng=RNG(0)), lambda: keras.layers.GRU(4)),
        (
            lambda: R.GRU(3, 4, reset_after=False, rng=RNG(0)),
            lambda: keras.layers.GRU(4, reset_after=False),
        ),
    ],
)
def test_layers_start_as_in_keras(ours, theirs):
    """The same shapes and biases; the kernels are drawn by the same rules."""
    layer, twin = ours(), theirs()
    twin.build((None, 5, 3))
    assert [w.shape for w in layer.parameters] == [w.shape for w in twin.get_weights()]
    np.testing.assert_array_equal(layer.bias.data, twin.get_weights()[2])
    limit = np.sqrt(6 / (3 + layer.kernel.shape[1]))
    assert 0.8 * limit < np.abs(layer.kernel.data).max() <= limit
    for recurrent in (layer.recurrent_kernel.data, twin.get_weights()[1]):
        np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(4), atol=1e-6)


@given(rows=st.integers(1, 8), columns=st.integers(1, 8), seed=seeds)
def test_orthogonal_initial_weights(rows, columns, seed):
    weights = nn.orthogonal((rows, columns), RNG(seed))
    assert weights.shape == (rows, columns)
    product = weights.T @ weights if rows >= columns else weights @ weights.T
    np.testing.assert_allclose(product, np.eye(min(rows, columns)), atol=1e-12)


def test_orthogonal_weights_have_no_preferred_direction():
    """Without the correction of signs the diagonal of 2×2 matrices would be on one side of 0."""
    draws = np.array([nn.orthogonal((2, 2), RNG(seed)) for seed in range(2000)])
    # 2000 values of mean 0 and variance 1/2: the mean is within 4 standard errors of 0
    assert np.abs(draws.mean(axis=0)).max() < 4 * np.sqrt(0.5 / 2000)


def test_embeddings_start_as_in_keras():
    twin = keras.layers.Embedding(400, 10)
    twin.build()
    for values in (R.Embedding(400, 10, rng=RNG(0)).embeddings.data, twin.get_weights()[0]):
        assert np.abs(values).max() == pytest.approx(0.05, rel=0.01)
        assert values.std() == pytest.approx(0.1 / 12**0.5, rel=0.05)


@given(
    batch=sizes,
    steps=lengths,
    classes=st.integers(2, 5),
    seed=seeds,
    ignored=st.sampled_from([None, 0, -1]),
)
def test_sequence_cross_entropy_equals_keras(batch, steps, classes, seed, ignored):
    rng = RNG(seed)
    x = rng.normal(size=(batch, steps, classes)).astype("float32")
    y = rng.integers(classes, size=(batch, steps))
    if ignored is not None:
        y[rng.random(y.shape) < 0.4] = ignored
        y[0, 0] = 1  # at least one step counts
    logits, variable = Tensor(x, requires_grad=True), tf.Variable(x)
    loss = R.sequence_cross_entropy(logits, y, ignore_class=ignored)
    loss.backward()
    reference = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=ignored)
    with tf.GradientTape() as tape:
        expected = reference(y, variable)
    # Keras divides by the number of steps + 1e-7
    assert float(loss.data) == pytest.approx(float(expected), rel=1e-5)
    assert relative_error(logits.grad, tape.gradient(expected, variable)) <= 1e-5
    if ignored is not None:
        assert not logits.grad[y == ignored].any()


@given(clipnorm=st.sampled_from([0.01, 1.0, 3.0, 100.0]), seed=seeds)
def test_clipping_equals_keras(clipnorm, seed):
    rng = RNG(seed)
    gradients = [rng.normal(size=shape).astype("float32") for shape in [(3, 2), (4,), ()]]
    parameters = [Tensor(np.zeros_like(g), requires_grad=True) for g in gradients]
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = gradient.copy()
    unused = Tensor(np.zeros(3), requires_grad=True)
    norm = optim.clip_by_global_norm([*parameters, unused], clipnorm)
    expected, expected_norm = tf.clip_by_global_norm(gradients, clipnorm)
    assert norm == pytest.approx(float(expected_norm), rel=1e-6)
    assert unused.grad is None
    for parameter, wanted in zip(parameters, expected, strict=True):
        assert parameter.grad.dtype == np.float32
        np.testing.assert_allclose(parameter.grad, wanted, rtol=1e-5)
        if norm <= clipnorm:
            np.testing.assert_array_equal(parameter.grad, wanted)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_optimisers_with_clipping_equal_keras(name):
    rng = RNG(0)
    start = rng.normal(size=(4, 3)).astype("float32")
    ours = Tensor(start.copy(), requires_grad=True)
    theirs = keras.Variable(start)
    optimizer = getattr(optim, name)([ours], 0.1, global_clipnorm=1.0)
    twin = getattr(keras.optimizers, name)(0.1, global_clipnorm=1.0)
    for scale in (5, 0.01, 100):
        ours.grad = (scale * rng.normal(size=(4, 3))).astype("float32")
        twin.apply([tf.constant(ours.grad)], [theirs])
        optimizer.step()
        np.testing.assert_allclose(ours.data, theirs, rtol=1e-5, atol=1e-6)


def test_clipping_of_a_gradient_whose_square_overflows():
    parameter = Tensor(np.zeros(2, "float32"), requires_grad=True)
    parameter.grad = np.array([3e30, 4e30], "float32")
    assert optim.clip_by_global_norm([parameter], 1.0) == pytest.approx(5e30)
    np.testing.assert_allclose(parameter.grad, [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_sequence_can_be_walked_in_two_parts(layer):
    """With `return_state` and `initial_state`, as when text is generated symbol by symbol."""
    x = RNG(0).normal(size=(3, 7, 2)).astype("float32")
    walk = layer(2, 5, return_state=True, rng=RNG(1))
    whole, *_ = walk(x)
    _, *state = walk(x[:, :4])
    second, *_ = walk(x[:, 4:], state)
    np.testing.assert_allclose(second.data, whole.data, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_thousand_steps_need_no_recursion_and_backward_can_be_repeated(layer):
    x = RNG(0).normal(size=(1, 1000, 1)).astype("float32")
    walk = layer(1, 2, rng=RNG(1))
    result = walk(x).sum()
    result.backward()
    first = [parameter.grad.copy() for parameter in walk.parameters]
    result.backward()  # gradients add up
    for parameter, gradient in zip(walk.parameters, first):
        np.testing.assert_allclose(parameter.grad, 2 * gradient, rtol=1e-6)


SEQUENCES = np.ones((2, 5, 3), "float32")


def lstm(**options):
    return R.LSTM(3, 4, rng=RNG(0), **options)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: lstm()(np.ones((2, 5, 2))), r"\(batch, steps, 3\).*got \(2, 5, 2\)"),
        (lambda: lstm()(np.ones((5, 3))), r"LSTM\(3, 4\) expects .*got \(5, 3\)"),
        (lambda: lstm()(np.ones((2, 0, 3))), r"at least one step, got \(2, 0, 3\)"),
        (
            lambda: lstm()(SEQUENCES, mask=np.ones((2, 4), bool)),
            r"mask has shape \(2, 4\), expected \(2, 5\)",
        ),
        (
            lambda: lstm()(SEQUENCES, [np.ones((2, 4))]),
            r"has shapes \[\(2, 4\)\], expected \[\(2, 4\), \(2, 4\)\]",
        ),
        (
            lambda: R.GRU(3, 4, rng=RNG(0))(SEQUENCES, Tensor(np.ones((2, 5)))),
            r"\[\(2, 5\)\], expected \[\(2, 4\)\]",
        ),
        (lambda: R.LSTM(3, 0, rng=RNG(0)), "units: expected a whole number above 0, got 0"),
        (lambda: R.GRU(2.5, 4, rng=RNG(0)), "inputs: expected a whole number above 0, got 2.5"),
        (lambda: lstm(activation="than"), "unknown activation 'than'; known are"),
        (lambda: lstm(recurrent_activation="hard"), "unknown activation 'hard'; known are"),
        (lambda: lstm(recurrent_initializer="ortho"), "unknown initializer 'ortho'; known are"),
        (
            lambda: R.Embedding(0, 3, rng=RNG(0)),
            "input_dim: expected a whole number above 0, got 0",
        ),
        (lambda: R.Embedding(5, 3, rng=RNG(0))(np.array([[1, 5]])), r"must be in 0..4, got 1..5"),
        (lambda: R.Embedding(5, 3, rng=RNG(0))(np.array([[-1, 2]])), r"must be in 0..4, got -1..2"),
        (
            lambda: R.sequence_cross_entropy(Tensor(np.ones((2, 3))), np.zeros(2, int)),
            r"got \(2, 3\) and \(2,\)",
        ),
        (
            lambda: R.sequence_cross_entropy(Tensor(np.ones((2, 3, 4))), np.zeros((2, 3), int), 0),
            "every label is 0, the class to ignore; at least one step has to count",
        ),
        (
            lambda: R.sequence_cross_entropy(Tensor(np.ones((1, 2, 4))), np.array([[1, 4]])),
            r"labels must be in 0..3, got 1..4",
        ),
        (
            lambda: optim.clip_by_global_norm([], 0),
            "must be positive, got 0; None means no clipping",
        ),
        (lambda: optim.clip_by_global_norm([], float("nan")), "must be positive, got nan"),
    ],
)
def test_bad_input_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_symbols_have_to_be_whole_numbers():
    with pytest.raises(TypeError, match="whole numbers as indices, got dtype float64; convert"):
        R.Embedding(5, 3, rng=RNG(0))(np.array([[1.0]]))


OPERATORS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "×": lambda a, b: a * b}


def random_tree(rng, height):
    """An expression of digits 0 to 4 whose height is exactly `height`; one of the children may be lower."""
    if height == 0:
        return int(rng.integers(5))
    children = random_tree(rng, height - 1), random_tree(rng, int(rng.integers(height)))
    left, right = children if rng.random() < 0.5 else children[::-1]
    return "+-×"[rng.integers(3)], left, right


def tree_value(tree):
    if not isinstance(tree, tuple):
        return tree
    symbol, left, right = tree
    return OPERATORS[symbol](tree_value(left), tree_value(right)) % 5


def tree_network(dtype="float32", width=4, hidden=6, seed=0):
    return R.TreeNetwork(range(5), OPERATORS, width, 5, hidden=hidden, rng=RNG(seed), dtype=dtype)


def recursive_definition(network, tree):
    """The vector of one tree by recursion, node by node."""
    weights = [parameter.data for parameter in network.parameters]
    embeddings, inner, inner_bias, outer, outer_bias = weights[:5]
    symbol = tree[0] if isinstance(tree, tuple) else tree
    vector = embeddings[network.numbers[symbol]]
    if not isinstance(tree, tuple):
        return vector
    parts = [vector, *(recursive_definition(network, child) for child in tree[1:])]
    return np.tanh(np.maximum(np.concatenate(parts) @ inner + inner_bias, 0) @ outer + outer_bias)


@given(seed=seeds, count=sizes)
def test_a_batch_of_trees_level_by_level_equals_the_recursion(seed, count):
    rng = RNG(seed)
    network = random_weights(tree_network("float64"), seed)
    trees = [random_tree(rng, int(rng.integers(5))) for _ in range(count)]
    kernel, bias = network.readout.parameters
    expected = [recursive_definition(network, tree) @ kernel.data + bias.data for tree in trees]
    np.testing.assert_allclose(network(trees).data, expected, rtol=1e-12, atol=1e-12)


def test_gradients_of_a_batch_of_trees_equal_finite_differences():
    network = random_weights(tree_network("float64"), 1)
    trees = [random_tree(RNG(i), i) for i in range(4)]
    labels = np.array([tree_value(tree) for tree in trees])
    nn.cross_entropy(network(trees), labels).backward()
    for parameter in network.parameters:
        numerical = numerical_gradient(
            lambda: nn.cross_entropy(network(trees), labels).data, parameter.data, step=1e-6
        )
        assert relative_error(parameter.grad, numerical) <= 1e-6


def test_left_and_right_are_told_apart():
    network = tree_network()
    first, second = network([("-", 3, 1), ("-", 1, 3)]).data
    assert np.abs(first - second).max() > 1e-3


def test_a_tree_network_learns_to_subtract():
    """All 75 expressions of height 1, in a few seconds."""
    trees = np.empty(75, object)
    trees[:] = [(symbol, a, b) for symbol in OPERATORS for a in range(5) for b in range(5)]
    labels = np.array([tree_value(tree) for tree in trees])
    network = tree_network(width=16, hidden=64)
    optimizer = optim.Adam(network.parameters, 0.01)
    history = nn.fit(
        network,
        trees,
        labels,
        loss=nn.cross_entropy,
        optimizer=optimizer,
        epochs=100,
        batch_size=25,
        rng=RNG(0),
        metric=nn.accuracy,
    )
    assert history["accuracy"][-1] == 1.0


@pytest.mark.parametrize(
    "tree, message",
    [
        (("+", 1, 7), r"7 is not one of its leaves; known are \[0, 1, 2, 3, 4, '\+', '-', '×'\]"),
        (("/", 1, 2), "'/' is not one of its operators"),
        ((3, 1, 2), "3 is not one of its operators"),
        ("+", r"'\+' is not one of its leaves"),
        (("+", 1), r"expected a leaf or \(operator, left, right\), got \('\+', 1\)"),
    ],
)
def test_wrong_trees_are_named(tree, message):
    with pytest.raises(ValueError, match=message):
        tree_network()([tree])


def test_no_trees():
    with pytest.raises(ValueError, match="at least one tree"):
        tree_network()([])

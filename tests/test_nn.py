"""Layers, losses, optimisers and the training loop: against finite differences, and against Keras with the same weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from dlbook import nn, optim
from dlbook.tensor import Tensor, numerical_gradient
from hypothesis import given
from hypothesis import strategies as st

ACTIVATIONS = [None, *nn.ACTIVATIONS]


def relative_error(found, expected):
    return np.abs(found - expected).max() / max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@given(
    batch=st.integers(1, 4),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_dense_gradients_equal_finite_differences(activation, batch, inputs, outputs, seed):
    rng = np.random.default_rng(seed)
    layer = nn.Dense(inputs, outputs, activation, rng=rng, dtype="float64")
    layer.bias.data += rng.normal(size=outputs)
    x = Tensor(rng.normal(size=(batch, inputs)), requires_grad=True)
    z = x.data @ layer.kernel.data + layer.bias.data
    if activation == "relu" and np.abs(z).min() < 1e-3:
        return  # too near the kink for finite differences to mean anything
    weights = rng.normal(size=(batch, outputs))
    (layer(x) * weights).sum().backward()
    for leaf in (x, layer.kernel, layer.bias):
        numerical = numerical_gradient(
            lambda: (layer(Tensor(x.data)).data * weights).sum(), leaf.data, step=1e-5
        )
        assert relative_error(leaf.grad, numerical) <= 1e-6


@given(
    batch=st.integers(1, 5),
    classes=st.integers(1, 6),
    scale=st.sampled_from([1.0, 30.0]),
    seed=st.integers(0, 1000),
)
def test_loss_gradients_equal_finite_differences(batch, classes, scale, seed):
    rng = np.random.default_rng(seed)
    outputs = Tensor(scale * rng.normal(size=(batch, classes)), requires_grad=True)
    for loss, targets in [
        (nn.cross_entropy, rng.integers(classes, size=batch)),
        (nn.mean_squared_error, rng.normal(size=(batch, classes))),
    ]:
        outputs.grad = None
        loss(outputs, targets).backward()

        def value(loss=loss, targets=targets):
            return loss(Tensor(outputs.data), targets).data

        numerical = numerical_gradient(value, outputs.data, step=1e-5)
        assert relative_error(outputs.grad, numerical) <= 1e-6


def twins(activation, widths=(12, 7, 5), seed=0):
    """The same network in the engine and in Keras, with the same weights."""
    rng = np.random.default_rng(seed)
    last = len(widths) - 2
    names = [activation if i < last else None for i in range(last + 1)]
    ours = nn.Sequential(
        [nn.Dense(widths[i], widths[i + 1], names[i], rng=rng) for i in range(last + 1)]
    )
    theirs = keras.Sequential(
        [
            keras.Input((widths[0],)),
            *(keras.layers.Dense(widths[i + 1], names[i]) for i in range(last + 1)),
        ]
    )
    theirs.set_weights(ours.get_weights())
    return ours, theirs


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss_name", ["cross_entropy", "mean_squared_error"])
def test_outputs_and_gradients_equal_keras(activation, loss_name):
    ours, theirs = twins(activation)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(9, 12)).astype("float32")
    if loss_name == "cross_entropy":
        loss, reference, targets = (
            nn.cross_entropy,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            rng.integers(5, size=9),
        )
    else:
        loss, reference, targets = (
            nn.mean_squared_error,
            keras.losses.MeanSquaredError(),
            rng.normal(size=(9, 5)).astype("float32"),
        )
    inputs, variable = Tensor(x, requires_grad=True), tf.Variable(x)
    outputs = ours(inputs)
    value = loss(outputs, targets)
    value.backward()
    with tf.GradientTape() as tape:
        expected = theirs(variable)
        expected_value = reference(targets, expected)
    np.testing.assert_allclose(outputs.data, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(value.data, expected_value, rtol=1e-5)
    gradients = tape.gradient(expected_value, [variable, *theirs.trainable_variables])
    for leaf, gradient in zip([inputs, *ours.parameters], gradients, strict=True):
        assert leaf.grad.dtype == np.float32
        np.testing.assert_allclose(leaf.grad, gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (lambda p: optim.SGD(p, 0.1), lambda: keras.optimizers.SGD(0.1)),
        (
            lambda p: optim.SGD(p, 0.1, momentum=0.9),
            lambda: keras.optimizers.SGD(0.1, momentum=0.9),
        ),
        (lambda p: optim.Adam(p, 0.01), lambda: keras.optimizers.Adam(0.01)),
        (
            lambda p: optim.Adam(p, 0.01, beta_1=0.5, beta_2=0.9, epsilon=1e-3),
            lambda: keras.optimizers.Adam(0.01, beta_1=0.5, beta_2=0.9, epsilon=1e-3),
        ),
    ],
    ids=["sgd", "momentum", "adam", "adam with other constants"],
)
def test_twenty_steps_equal_keras(ours, theirs):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3)).astype("float32")
    parameter, variable = Tensor(start.copy(), requires_grad=True), keras.Variable(start)
    optimizer, reference = ours([parameter]), theirs()
    for _ in range(20):
        gradient = rng.normal(size=(4, 3)).astype("float32")
        parameter.grad = gradient.copy()
        optimizer.step()
        reference.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    np.testing.assert_allclose(parameter.data, variable.numpy(), rtol=1e-5, atol=1e-5)
    assert parameter.data.dtype == np.float32


def test_fit_follows_keras_batch_by_batch():
    ours, theirs = twins("tanh", (12, 7, 5))
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(50, 12)).astype("float32"), rng.integers(5, size=50)
    held_out = (x[:13], y[:13])
    history = nn.fit(
        ours,
        x,
        y,
        loss=nn.cross_entropy,
        optimizer=optim.Adam(ours.parameters),
        epochs=4,
        batch_size=16,
        metric=nn.accuracy,
        validation_data=held_out,
    )
    theirs.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    expected = theirs.fit(
        x, y, epochs=4, batch_size=16, shuffle=False, validation_data=held_out, verbose=0
    ).history
    assert set(history) == set(expected)
    for name in history:
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        nn.predict(ours, x, batch_size=7), theirs.predict(x, verbose=0), rtol=1e-4, atol=1e-5
    )


def test_fit_shuffles_with_the_given_generator_and_reports_each_epoch():
    seen, epochs = [], []

    class Spy:
        parameters = [Tensor(np.zeros(1), requires_grad=True)]

        def __call__(self, x):
            seen.append(x[:, 0].copy())
            return Tensor(x) * self.parameters[0]

    x = np.arange(10.0)[:, None]
    nn.fit(
        Spy(),
        x,
        x,
        loss=nn.mean_squared_error,
        optimizer=optim.SGD(Spy.parameters),
        epochs=2,
        batch_size=4,
        rng=np.random.default_rng(0),
        on_epoch_end=lambda epoch, logs: epochs.append((epoch, sorted(logs))),
    )
    assert [len(batch) for batch in seen] == [4, 4, 2] * 2
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    assert sorted(first) == sorted(second) == list(range(10)) and list(first) != list(second)
    assert epochs == [(0, ["loss"]), (1, ["loss"])]


@pytest.mark.parametrize(
    "name, reference", [("glorot_uniform", "GlorotUniform"), ("he_uniform", "HeUniform")]
)
def test_initial_weights_have_the_distribution_of_keras(name, reference):
    shape = (300, 200)
    ours = nn.INITIALIZERS[name](shape, np.random.default_rng(0))
    theirs = np.asarray(getattr(keras.initializers, reference)(seed=0)(shape))
    assert (
        ours.min() >= theirs.min() * 1.001 and ours.max() <= theirs.max() * 1.001
    )  # the same bounds ±limit
    np.testing.assert_allclose(
        ours.std(), theirs.std(), rtol=0.01
    )  # 60,000 draws: the standard error is 0.2 %
    assert abs(ours.mean()) < 4 * ours.std() / np.sqrt(ours.size)


def test_cross_entropy_of_huge_logits_is_finite():
    logits = Tensor(np.array([[1e4, 0.0], [-1e4, 0.0]]), requires_grad=True)
    loss = nn.cross_entropy(logits, np.array([1, 1]))
    loss.backward()
    assert loss.data == pytest.approx(5e3) and np.isfinite(logits.grad).all()


def test_weights_are_copied_both_ways():
    model, _ = twins("relu")
    weights = model.get_weights()
    weights[0][:] = 7
    assert model.parameters[0].data.max() < 7
    model.set_weights(weights)
    weights[0][:] = 8
    assert model.parameters[0].data.max() == 7
    assert model.count_params() == 12 * 7 + 7 + 7 * 5 + 5


LAYER = nn.Dense(4, 3, rng=np.random.default_rng(0))
LOGITS = Tensor(np.zeros((2, 3), "float32"))


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        (
            lambda: LAYER(Tensor(np.ones((2, 5)))),
            ValueError,
            r"Dense\(4, 3\) expects .*got \(2, 5\)",
        ),
        (lambda: LAYER(Tensor(np.ones(4))), ValueError, r"got \(4,\)"),
        (
            lambda: nn.Dense(4, 3, "rleu", rng=np.random.default_rng(0)),
            ValueError,
            "'rleu'; known are relu",
        ),
        (
            lambda: nn.Dense(4, 3, kernel_initializer="xavier", rng=np.random.default_rng(0)),
            ValueError,
            "'xavier'; known are glorot_uniform",
        ),
        (
            lambda: nn.Sequential([LAYER]).set_weights([np.ones((3, 4)), np.ones(3)]),
            ValueError,
            r"\(4, 3\).*got \[\(3, 4\)",
        ),
        (lambda: nn.cross_entropy(LOGITS, np.array([0, 3])), ValueError, r"0\.\.2, got 0\.\.3"),
        (lambda: nn.cross_entropy(LOGITS, np.array([-1, 0])), ValueError, r"got -1\.\.0"),
        (lambda: nn.cross_entropy(LOGITS, np.eye(3)[:2]), ValueError, r"\(2, 3\) and \(2, 3\)"),
        (lambda: nn.cross_entropy(LOGITS, np.array([0.0, 1.0])), TypeError, "float64"),
        (
            lambda: nn.mean_squared_error(LOGITS, np.zeros(2)),
            ValueError,
            r"\(2, 3\), targets \(2,\)",
        ),
        (
            lambda: nn.fit(LAYER, np.ones((3, 4)), np.ones(2), loss=None, optimizer=None, epochs=1),
            ValueError,
            "3 inputs but 2 targets",
        ),
    ],
)
def test_bad_input_is_named(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()

"""The cures for overfitting: against Keras, against what they promise, and what they say to bad input."""

import keras
import numpy as np
import pytest
from dlbook import nn, optim
from dlbook.regularization import Dropout, l2_penalty, shift_images
from dlbook.tensor import Tensor, numerical_gradient, relu
from hypothesis import given
from hypothesis import strategies as st


def two_layers(dtype="float64"):
    rng = np.random.default_rng(0)
    return nn.Sequential(
        [nn.Dense(5, 4, "tanh", rng=rng, dtype=dtype), relu, nn.Dense(4, 3, rng=rng, dtype=dtype)]
    )


def test_l2_penalty_equals_keras():
    model = two_layers("float32")
    expected = sum(float(keras.regularizers.L2(0.03)(w)) for w in model.get_weights()[::2])
    assert float(l2_penalty(model.layers, 0.03).data) == pytest.approx(expected, rel=1e-6)


def test_gradient_of_the_penalty():
    """Twice the strength times the weight for kernels, by finite differences; none for biases."""
    model = two_layers()
    l2_penalty(model.layers, 0.7).backward()
    kernel = model.layers[0].kernel
    numerical = numerical_gradient(lambda: l2_penalty(model.layers, 0.7).data, kernel.data)
    np.testing.assert_allclose(kernel.grad, numerical, rtol=1e-6, atol=1e-8)
    assert model.layers[0].bias.grad is None


@given(rate=st.floats(0, 0.9), seed=st.integers(0, 1000))
def test_dropout_drops_its_share_and_keeps_the_mean(rate, seed):
    x = Tensor(np.ones((200, 100)), requires_grad=True)
    y = Dropout(rate, rng=np.random.default_rng(seed))(x, training=True)
    dropped = (y.data == 0).mean()
    # standard error of a share of 20,000 at most 0.0036; five of them are exceeded once in a million draws
    assert abs(dropped - rate) <= 0.018
    np.testing.assert_allclose(y.data[y.data != 0], 1 / (1 - rate))
    (3.0 * y).sum().backward()
    if y.requires_grad:
        np.testing.assert_allclose(x.grad, 3 * y.data)


def test_dropout_draws_anew_and_only_in_training():
    rng = np.random.default_rng(0)
    model = nn.Sequential([Dropout(0.5, rng=rng), nn.Dense(30, 2, rng=rng)])
    x = Tensor(np.random.default_rng(1).normal(size=(4, 30)).astype("float32"))
    first, second = model(x, training=True).data, model(x, training=True).data
    assert (first != second).any() and first.dtype == np.float32
    np.testing.assert_array_equal(model(x).data, model.layers[1](x).data)
    np.testing.assert_array_equal(nn.predict(model, x.data), model(x).data)


def test_fit_trains_with_dropout():
    """With rate near 1 hardly anything of the inputs arrives, so the training loss stays near that of guessing."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(64, 10)).astype("float32")
    targets = (inputs[:, 0] > 0).astype("int64")
    losses = {}
    for rate in (0.0, 0.99):
        layers = [Dropout(rate, rng=rng), nn.Dense(10, 2, rng=rng)]
        model = nn.Sequential(layers)
        optimizer = optim.Adam(model.parameters, 0.05)
        losses[rate] = nn.fit(
            model, inputs, targets, loss=nn.cross_entropy, optimizer=optimizer, epochs=60
        )["loss"][-1]
    assert losses[0.0] < 0.2 < 0.5 < losses[0.99]


@given(
    largest=st.integers(0, 3),
    height=st.integers(3, 7),
    width=st.integers(3, 7),
    seed=st.integers(0, 1000),
)
def test_shifted_images_are_shifted_images(largest, height, width, seed):
    """Each result is the original, rolled by some shift in range, with background where the roll came round."""
    rng = np.random.default_rng(seed)
    images = rng.integers(1, 256, (6, height, width)).astype("uint8")
    shifted = shift_images(images, largest, rng)
    assert shifted.shape == images.shape and shifted.dtype == images.dtype
    background = images.min()
    for before, after in zip(images, shifted, strict=True):
        candidates = []
        for down in range(-largest, largest + 1):
            for right in range(-largest, largest + 1):
                moved = np.full_like(before, background)
                for row in range(height):
                    for column in range(width):
                        if 0 <= row - down < height and 0 <= column - right < width:
                            moved[row, column] = before[row - down, column - right]
                candidates.append(moved)
        assert any((after == moved).all() for moved in candidates)


def test_all_shifts_occur():
    images = np.zeros((2000, 5, 5))
    images[:, 2, 2] = 1
    where = {
        tuple(np.argwhere(image)[0]) for image in shift_images(images, 2, np.random.default_rng(0))
    }
    assert where == {(row, column) for row in range(5) for column in range(5)}


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda rng: Dropout(1.0, rng=rng), r"rate is 1.0; expected .* from 0 to below 1"),
        (lambda rng: Dropout(-0.1, rng=rng), r"rate is -0.1"),
        (
            lambda rng: l2_penalty(two_layers().layers, -1e-3),
            r"strength is -0.001; .* use 0 or more",
        ),
        (
            lambda rng: l2_penalty([relu], 1e-3),
            r"none of the layers has a kernel; pass model.layers",
        ),
        (lambda rng: shift_images(np.zeros((3, 784)), 2, rng), r"got \(3, 784\); rows of pixels"),
        (lambda rng: shift_images(np.zeros((3, 4, 5)), 9, rng), r"largest is 9; expected 0 to 4"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0))

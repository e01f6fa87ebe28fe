"""The four checks of `dlbook.checkup`, against closed forms, finite differences and units that are dead on purpose."""

import numpy as np
import pytest
from dlbook import checkup, nn, optim
from dlbook.convolution import Conv2D, Flatten


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def batch(rng, examples=12, features=5, classes=3):
    return rng.standard_normal((examples, features)), rng.integers(classes, size=examples)


def network(rng, activation="relu", sizes=(5, 8, 6, 3)):
    pairs = list(zip(sizes, sizes[1:]))
    return nn.Sequential(
        [nn.Dense(*pair, activation, rng=rng, dtype="float64") for pair in pairs[:-1]]
        + [nn.Dense(*pairs[-1], rng=rng, dtype="float64")]
    )


def test_a_network_of_zeros_has_the_loss_of_a_guess(rng):
    inputs, labels = batch(rng)
    model = network(rng)
    model.set_weights([0 * array for array in model.get_weights()])
    loss, guess = checkup.initial_loss(model, inputs, labels)
    assert guess == np.log(3)
    assert loss == pytest.approx(guess, rel=1e-15)


def test_the_initial_loss_is_minus_the_mean_logarithm(rng):
    inputs, labels = batch(rng)
    model = network(rng)
    logits = nn.predict(model, inputs)
    odds = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -np.log(odds[np.arange(len(labels)), labels]).mean()
    assert checkup.initial_loss(model, inputs, labels)[0] == pytest.approx(expected, rel=1e-12)


def test_a_batch_is_learnt_by_heart_unless_the_labels_of_one_input_contradict(rng):
    inputs, labels = batch(rng)
    model = network(rng)
    losses = checkup.overfit_batch(model, inputs, labels, optim.Adam(model.parameters, 0.05), 150)
    assert len(losses) == 151
    assert losses[-1] < 0.01 < losses[0]
    model = network(rng)
    inputs[:] = inputs[0]
    losses = checkup.overfit_batch(model, inputs, labels, optim.Adam(model.parameters, 0.05), 150)
    odds = np.bincount(labels, minlength=3) / len(labels)
    entropy = -(odds[odds > 0] * np.log(odds[odds > 0])).sum()  # nothing can be below it
    assert losses[-1] == pytest.approx(entropy, abs=0.01)


def test_gradient_sizes_equal_finite_differences(rng):
    inputs, labels = batch(rng)
    model = network(rng, "tanh")
    sizes = checkup.gradient_sizes(model, inputs, labels)
    assert len(sizes) == 3
    assert all(parameter.grad is None for parameter in model.parameters)
    for size, layer in zip(sizes, model.layers):
        kernel, squares = layer.kernel.data, []
        for place in np.ndindex(kernel.shape):
            before, both = kernel[place], []
            for step in (1e-5, -1e-5):
                kernel[place] = before + step
                both.append(checkup.initial_loss(model, inputs, labels)[0])
            kernel[place] = before
            squares.append(((both[0] - both[1]) / 2e-5) ** 2)
        assert size == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-6)


def test_no_gradient_comes_through_zeros(rng):
    inputs, labels = batch(rng)
    model = network(rng)
    model.set_weights([0 * array for array in model.get_weights()])
    assert checkup.gradient_sizes(model, inputs, labels) == [0, 0, 0]


def test_units_that_were_killed_are_counted(rng):
    inputs, _ = batch(rng, 200)
    model = network(rng)
    alive = checkup.silent_units(model, inputs)
    assert alive == [0, 0]
    model.layers[0].bias.data[:2] = -100
    assert checkup.silent_units(model, inputs)[0] == 2 / 8


def test_a_feature_map_is_silent_only_as_a_whole(rng):
    images = rng.standard_normal((4, 6, 6, 1))
    layer = Conv2D(1, 4, 3, activation="relu", rng=rng, dtype="float64")
    model = nn.Sequential([layer, Flatten(), nn.Dense(64, 3, rng=rng, dtype="float64")])
    assert checkup.silent_units(model, images) == [0]
    layer.bias.data[1] = -100
    assert checkup.silent_units(model, images) == [0.25]
    assert len(checkup.gradient_sizes(model, images, np.array([0, 1, 2, 0]))) == 2


def test_bad_input_is_refused(rng):
    model = network(rng)
    inputs, labels = batch(rng)
    for check in (checkup.initial_loss, checkup.gradient_sizes):
        with pytest.raises(ValueError, match="12 inputs and 11 labels"):
            check(model, inputs, labels[1:])
    with pytest.raises(ValueError, match="0 inputs"):
        checkup.overfit_batch(model, inputs[:0], labels[:0], optim.SGD(model.parameters))
    with pytest.raises(ValueError, match="at least two examples, got 1"):
        checkup.silent_units(model, inputs[:1])

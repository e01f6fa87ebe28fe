"""Principal components, Gaussian codes, the ring and the engine's adversarial training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from dlbook import load_run, nn, optim
from dlbook.generative import (
    RING_DEVIATION,
    RING_RADIUS,
    discriminator_loss,
    kl_to_standard_normal,
    non_saturating_loss,
    principal_components,
    reparameterize,
    ring,
    ring_modes,
    sample_vae,
    saturating_loss,
    softplus,
    train_gan,
)
from dlbook.tensor import Tensor, numerical_gradient
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import logistic, norm
from sklearn.decomposition import PCA

RNG = np.random.default_rng
seeds = st.integers(0, 9999)


# Principal components


@given(
    examples=st.integers(2, 20), features=st.integers(1, 12), seed=seeds, data=st.data()
)  # more examples than features and fewer, which go two ways
def test_principal_components_equal_those_of_scikit_learn(examples, features, seed, data):
    number = data.draw(st.integers(1, min(examples - 1, features)))
    x = RNG(seed).normal(5, 1, (examples, features)) * (1 + np.arange(features))
    mean, components = principal_components(x, number)
    reference = PCA(number, svd_solver="full").fit(x)
    assert components.shape == (number, features)
    np.testing.assert_allclose(mean, reference.mean_, rtol=1e-12)
    # equal up to sign, unless two variances nearly agree: so what they leave over is compared
    ours = (x - mean) @ components.T @ components
    theirs = reference.inverse_transform(reference.transform(x)) - mean
    variances = np.linalg.svd(x - mean, compute_uv=False) ** 2
    gap = np.append(variances, 0)[number - 1] - np.append(variances, 0)[number]
    tolerance = 1e-9 * variances[0] / gap * np.abs(x).max()
    np.testing.assert_allclose(ours, theirs, atol=tolerance)
    np.testing.assert_allclose(components @ components.T, np.eye(number), atol=1e-10)
    assert ((x - mean - ours) ** 2).sum() == pytest.approx(
        variances[number:].sum(), rel=1e-6, abs=1e-9 * variances.sum()
    )


def test_principal_components_come_in_order_and_with_a_fixed_sign():
    x = RNG(0).normal(size=(500, 3)) * [1, 9, 3] + [4, 5, 6]
    for table in (x, -x):
        _, components = principal_components(table, 3)
        assert np.abs(components).argmax(axis=1).tolist() == [1, 2, 0]
        assert (components[[0, 1, 2], [1, 2, 0]] > 0).all()


# Gaussian codes


def test_kl_equals_its_integral():
    mean, log_variance = np.array([[0.0, 1.0, -2.0, 0.3]]), np.array([[0.0, 0.0, 1.0, -3.0]])

    def integral(m, deviation):
        def integrand(z):
            return norm.pdf(z, m, deviation) * (norm.logpdf(z, m, deviation) - norm.logpdf(z))

        return quad(integrand, m - 12 * deviation, m + 12 * deviation, epsabs=1e-12)[0]

    expected = sum(integral(m, np.exp(0.5 * v)) for m, v in zip(mean[0], log_variance[0]))
    found = kl_to_standard_normal(Tensor(mean), Tensor(log_variance))
    assert found.shape == (1,)
    np.testing.assert_allclose(found.data, expected, rtol=1e-8)
    assert kl_to_standard_normal(Tensor(mean[:, :1]), Tensor(mean[:, :1])).data == 0


@given(seed=seeds)
def test_gradients_through_codes_equal_finite_differences(seed):
    rng = RNG(seed)
    mean, log_variance = (Tensor(rng.normal(size=(3, 2)), requires_grad=True) for _ in range(2))

    def value(mean, log_variance):
        draw = reparameterize(mean, log_variance, RNG(seed))  # the same noise every time
        return (draw**2).sum() + kl_to_standard_normal(mean, log_variance).sum()

    value(mean, log_variance).backward()
    for leaf in (mean, log_variance):
        numerical = numerical_gradient(
            lambda: value(Tensor(mean.data), Tensor(log_variance.data)).data, leaf.data
        )
        np.testing.assert_allclose(leaf.grad, numerical, rtol=1e-6, atol=1e-7)


def test_reparameterized_draws_have_mean_and_variance():
    ones = np.ones((200_000, 1), "float32")
    draw = reparameterize(Tensor(3 * ones), Tensor(np.log(4 * ones)), RNG(0)).data
    assert draw.dtype == np.float32
    # standard errors 2 / √200000 ≈ 0.0045 of the mean and 0.003 of the deviation
    assert draw.mean() == pytest.approx(3, abs=0.02) and draw.std() == pytest.approx(2, abs=0.02)


# The variational autoencoder


def test_vae_images_equal_those_of_a_keras_decoder():
    run = load_run("fashion-vae")
    names = [
        f"{n}/{part}" for n in ("hidden1", "hidden2", "expected") for part in ("kernel", "bias")
    ]
    latent, hidden = run["hidden1/kernel"].shape
    decoder = keras.Sequential(
        [
            keras.Input((latent,)),
            keras.layers.Dense(hidden, "relu"),
            keras.layers.Dense(run["hidden2/kernel"].shape[1], "relu"),
            keras.layers.Dense(784),
        ]
    )
    decoder.set_weights([run[name] for name in names])
    images = sample_vae(40, RNG(3))
    assert images.shape == (40, 28, 28) and images.dtype == np.float32
    codes = RNG(3).standard_normal((40, latent)).astype("float32")
    expected = 255 * decoder(codes).numpy().reshape(40, 28, 28)
    # sums of 256 float32 products, in another order: a few times 1e-6 of 255 greys
    np.testing.assert_allclose(images, np.minimum(np.maximum(expected, 0), 255), atol=0.01)
    assert images.std() > 20  # neither black nor white all over


def test_vae_pixels_have_the_probabilities_of_a_discretised_logistic():
    """A decoder that ignores its code: 784 pixels expect 784 greys, from -60 to 320."""
    centres, spread, number = np.linspace(-60, 320, 784), 12.0, 4000
    zeros = {
        "hidden1/kernel": np.zeros((2, 3)),
        "hidden1/bias": np.zeros(3),
        "hidden2/kernel": np.zeros((3, 3)),
        "hidden2/bias": np.zeros(3),
        "expected/kernel": np.zeros((3, 784)),
        "expected/bias": centres / 255,
        "log_spread": np.log(spread / 255),
    }
    still = sample_vae(1, RNG(0), weights=zeros).reshape(784)
    np.testing.assert_allclose(still, centres.clip(0, 255), atol=1e-4)
    greys = sample_vae(number, RNG(0), weights=zeros, draw_pixels=True).reshape(number, 784)
    assert greys.dtype == np.float32 and (greys == np.rint(greys)).all()
    assert greys.min() == 0 and greys.max() == 255
    for grey in (0, 1, 100, 254):  # at most `grey`, at each of the pixels
        probability = logistic.cdf(grey + 0.5, centres, spread)
        deviation = np.sqrt(probability * (1 - probability) / number)
        difference = np.abs((greys <= grey).mean(axis=0) - probability)
        assert (difference < 5 * deviation + 2 / number).all()  # where it hardly ever happens


# The ring


def test_ring_has_eight_equal_gaussians():
    points, modes = ring(40_000, RNG(0)), ring_modes()
    assert points.shape == (40_000, 2) and points.dtype == np.float32
    np.testing.assert_allclose(np.hypot(*modes.T), RING_RADIUS)
    neighbours = np.linalg.norm(modes - np.roll(modes, 1, axis=0), axis=1)
    np.testing.assert_allclose(neighbours, 2 * RING_RADIUS * np.sin(np.pi / 8))
    nearest = np.linalg.norm(points[:, None] - modes, axis=-1).argmin(axis=1)
    counts = np.bincount(nearest, minlength=8)
    assert np.abs(counts - 5000).max() < 5 * np.sqrt(40_000 / 8 * 7 / 8)  # five deviations
    residuals = points - modes[nearest]
    assert residuals.std(axis=0) == pytest.approx(RING_DEVIATION, rel=0.02)


# The losses


@given(seed=seeds)
def test_losses_equal_those_of_keras(seed):
    rng = RNG(seed)
    real, generated = (rng.normal(0, 3, size=(6, 1)).astype("float32") for _ in range(2))
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    ones, zeros = np.ones((6, 1)), np.zeros((6, 1))
    for found, expected in (
        (
            discriminator_loss(Tensor(real), Tensor(generated)),
            entropy(ones, real) + entropy(zeros, generated),
        ),
        (non_saturating_loss(Tensor(generated)), entropy(ones, generated)),
        (saturating_loss(Tensor(generated)), -entropy(zeros, generated)),
    ):
        assert found.shape == () and found.dtype == np.float32
        np.testing.assert_allclose(found.data, expected, rtol=1e-5)


def test_slopes_of_the_generator_losses_are_those_of_the_formulas():
    logits = np.linspace(-30, 30, 13)[:, None]
    for loss, slope in (
        (saturating_loss, -1 / (1 + np.exp(-logits))),
        (non_saturating_loss, -1 / (1 + np.exp(logits))),
    ):
        leaf = Tensor(logits, requires_grad=True)
        loss(leaf).backward()
        np.testing.assert_allclose(leaf.grad * 13, slope, rtol=1e-9, atol=1e-15)


def test_softplus_neither_overflows_nor_changes_precision():
    large = Tensor(np.array([-1000.0, 0, 1000], "float32"), requires_grad=True)
    value = softplus(large)
    np.testing.assert_allclose(value.data, [0, np.log(2), 1000], rtol=1e-6)
    value.sum().backward()
    assert value.dtype == large.grad.dtype == np.float32
    np.testing.assert_allclose(large.grad, [0, 0.5, 1])


# Training


def networks(pack, rng):
    generator = nn.Sequential([nn.Dense(3, 8, "tanh", rng=rng), nn.Dense(8, 2, rng=rng)])
    discriminator = nn.Sequential([nn.Dense(2 * pack, 8, "tanh", rng=rng), nn.Dense(8, 1, rng=rng)])
    return generator, discriminator


def twin(network):
    layers = [
        keras.layers.Dense(layer.kernel.shape[1], "tanh" if number == 0 else None)
        for number, layer in enumerate(network.layers)
    ]
    model = keras.Sequential([keras.Input((network.layers[0].kernel.shape[0],)), *layers])
    model.set_weights(network.get_weights())
    return model


@pytest.mark.parametrize("pack, noisy", [(1, False), (2, False), (1, True), (4, True)])
@pytest.mark.parametrize("saturating, generator_steps", [(False, 1), (True, 1), (False, 3)])
def test_training_equals_the_algorithm_written_out_with_keras(
    pack, noisy, saturating, generator_steps
):
    """Twelve steps of SGD; all chance is drawn in the same order in both."""
    ours = networks(pack, RNG(0))
    generator, discriminator = (twin(network) for network in ours)

    def deviation_at(step):
        return max(0.0, 0.5 - 0.1 * step)  # is 0 before the end

    history = train_gan(
        *ours,
        ring,
        steps=12,
        batch_size=8,
        noise_size=3,
        generator_optimizer=optim.SGD(ours[0].parameters, 0.2),
        discriminator_optimizer=optim.SGD(ours[1].parameters, 0.3),
        rng=RNG(7),
        generator_loss=saturating_loss if saturating else non_saturating_loss,
        generator_steps=generator_steps,
        pack=pack,
        instance_noise=deviation_at if noisy else None,
    )
    rng, expected = RNG(7), {"discriminator_loss": [], "generator_loss": []}

    def normal(*shape):
        return rng.standard_normal(shape).astype("float32")

    def log_d(examples, deviation):
        """log D and log(1 - D) of packs, with noise."""
        if deviation:
            examples = examples + deviation * normal(8, 2)
        logits = discriminator(tf.reshape(examples, (8 // pack, 2 * pack)))
        return tf.math.log_sigmoid(logits), tf.math.log_sigmoid(-logits)

    def descend(tape, loss, network, rate):
        gradients = tape.gradient(loss, network.trainable_variables)
        for variable, gradient in zip(network.trainable_variables, gradients):
            variable.assign_sub(rate * gradient)

    for step in range(12):
        deviation = deviation_at(step) if noisy else 0
        generated, real = generator(normal(8, 3)), ring(8, rng)
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(log_d(real, deviation)[0])
            loss -= tf.reduce_mean(log_d(generated, deviation)[1])
        descend(tape, loss, discriminator, 0.3)
        expected["discriminator_loss"].append(float(loss))
        for _ in range(generator_steps):
            with tf.GradientTape() as tape:
                log_real, log_generated = log_d(generator(normal(8, 3)), deviation)
                loss = tf.reduce_mean(log_generated if saturating else -log_real)
            descend(tape, loss, generator, 0.2)
            expected["generator_loss"].append(float(loss))
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-4)
    for network, model in zip(ours, (generator, discriminator)):
        for found, weight in zip(network.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(found, weight, rtol=1e-3, atol=1e-5)


def test_each_step_is_told_and_so_is_the_end():
    generator, discriminator = networks(1, RNG(0))
    seen = []
    history = train_gan(
        generator,
        discriminator,
        ring,
        steps=3,
        batch_size=4,
        noise_size=3,
        generator_optimizer=optim.Adam(generator.parameters),
        discriminator_optimizer=optim.Adam(discriminator.parameters),
        rng=RNG(0),
        on_step=seen.append,
    )
    assert seen == [0, 1, 2, 3] and len(history["generator_loss"]) == 3


TABLE = np.ones((9, 2))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: principal_components(TABLE, 3), r"in 1..2 for data of shape \(9, 2\), got 3"),
        (lambda: principal_components(TABLE, 0), "got 0"),
        (lambda: principal_components(TABLE[:1], 1), r"at least 2 .*got shape \(1, 2\)"),
        (lambda: principal_components(np.ones((3, 2, 2)), 1), "images become rows"),
        (lambda: principal_components(TABLE * np.inf, 1), "18 values are not finite"),
        (
            lambda: kl_to_standard_normal(Tensor(TABLE), Tensor(TABLE[:1])),
            r"mean has shape \(9, 2\) and log_variance \(1, 2\)",
        ),
        (lambda: sample_vae(0, RNG(0)), "whole and at least 1, got 0"),
        (lambda: sample_vae(2.5, RNG(0)), "whole and at least 1, got 2.5"),
        (
            lambda: sample_vae(1, RNG(0), weights={"log_spread": 0, "hidden1/kernel": 0}),
            r"weights lack hidden1/bias, .*expected/bias; expected are the arrays of",
        ),
        (
            lambda: train_gan(
                None,
                None,
                ring,
                steps=1,
                batch_size=9,
                noise_size=2,
                generator_optimizer=None,
                discriminator_optimizer=None,
                rng=RNG(0),
                pack=2,
            ),
            "batch_size 9 is not a multiple of pack 2",
        ),
        (
            lambda: train_gan(
                None,
                None,
                ring,
                steps=1,
                batch_size=8,
                noise_size=2,
                generator_optimizer=None,
                discriminator_optimizer=None,
                rng=RNG(0),
                generator_steps=0,
            ),
            "generator_steps is 0, expected at least 1",
        ),
    ],
)
def test_bad_input_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()

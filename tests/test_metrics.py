"""Metrics of generative models: known answers, definitions written out, and exact likelihoods."""

import dlbook
import keras
import numpy as np
import pytest
from dlbook import metrics, nn
from dlbook.generative import RING_DEVIATION, ring, ring_modes
from dlbook.metrics import (
    elbo,
    fashion_features,
    fashion_logits,
    frechet_distance,
    gaussian_frechet_distance,
    importance_weighted_bound,
    mode_coverage,
    precision_recall,
)
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import multivariate_normal, norm

RNG = np.random.default_rng
seeds = st.integers(0, 9999)


def random_covariance(size, rng):
    factor = rng.normal(size=(size, size + 2))
    return factor @ factor.T


# Fréchet distance


@given(size=st.integers(1, 6), seed=seeds)
def test_frechet_distance_of_gaussians_equals_the_formula_with_a_general_root(size, seed):
    """scipy's root of the product C₁C₂ is the form of the paper; it is not symmetric."""
    rng = RNG(seed)
    means = rng.normal(size=(2, size))
    first, second = (random_covariance(size, rng) for _ in range(2))
    cross = np.trace(np.atleast_2d(sqrtm(first @ second))).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(first + second) - 2 * cross
    found = gaussian_frechet_distance(means[0], first, means[1], second)
    # the roots of an ill-conditioned product lose half of the digits
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert found == pytest.approx(
        gaussian_frechet_distance(means[1], second, means[0], first), abs=1e-6
    )


def test_frechet_distance_of_independent_coordinates_is_known():
    """With diagonal covariances it is the sum of squared differences of means and deviations."""
    deviations = np.array([[1.0, 2.0, 0.0], [3.0, 0.5, 4.0]])
    found = gaussian_frechet_distance(
        [0, 1, 2], np.diag(deviations[0] ** 2), [3, 1, 0], np.diag(deviations[1] ** 2)
    )
    assert found == pytest.approx(9 + 0 + 4 + 4 + 2.25 + 16, rel=1e-12)


def test_frechet_distance_of_samples_that_are_shifted_or_stretched():
    x = RNG(0).normal(size=(200, 5)) @ RNG(1).normal(size=(5, 5)) + 3
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + [1, 2, 0, 0, 2]) == pytest.approx(9, rel=1e-9)
    stretched = ((x.mean(axis=0) * 0.5) ** 2).sum() + 0.25 * np.trace(np.cov(x.T))
    assert frechet_distance(x, 1.5 * x) == pytest.approx(stretched, rel=1e-9)


def test_frechet_distance_survives_features_that_never_vary_and_few_samples():
    """Singular covariances: eigenvalues that rounding makes negative must not become NaN."""
    x = RNG(0).normal(size=(8, 20))
    x[:, 3] = 1
    assert frechet_distance(x, x[::-1]) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(frechet_distance(x, x + 1))


def test_frechet_distance_is_too_large_with_few_samples():
    def mean_distance(number):
        draws = [RNG(seed).normal(size=(2, number, 10)) for seed in range(10)]
        return np.mean([frechet_distance(*draw) for draw in draws])

    # of order 1 / number, here about 10 · 10 / (2 · number): far apart
    assert mean_distance(50) > 5 * mean_distance(500) > 0


# Precision and recall


def precision_by_definition(real, generated, k):
    def distance(a, b):
        return sum((x - y) ** 2 for x, y in zip(a, b)) ** 0.5

    inside = 0
    for sample in generated:
        for number, centre in enumerate(real):
            others = [distance(centre, x) for i, x in enumerate(real) if i != number]
            if distance(sample, centre) <= sorted(others)[k - 1]:
                inside += 1
                break
    return inside / len(generated)


@given(
    real=st.integers(5, 14),
    generated=st.integers(5, 14),
    features=st.integers(1, 4),
    k=st.integers(1, 4),
    batch_size=st.sampled_from([1, 3, 1000]),
    seed=seeds,
)
def test_precision_and_recall_equal_their_definition(
    real, generated, features, k, batch_size, seed
):
    rng = RNG(seed)
    a, b = rng.normal(size=(real, features)), rng.normal(0.5, 1, size=(generated, features))
    expected = precision_by_definition(a, b, k), precision_by_definition(b, a, k)
    # two numbers of draws without ties: the shares are equal, not only close
    assert precision_recall(a, b, k, batch_size) == expected


def test_precision_and_recall_of_known_cases():
    rng = RNG(0)
    two = np.concatenate([rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) + 100])
    assert precision_recall(two, two) == (1, 1)
    assert precision_recall(two, two + 1000) == (0, 0)
    precision, recall = precision_recall(two, two[:300])
    assert precision == 1 and recall == 0.5  # one of two modes, perfectly
    everywhere = rng.uniform(-500, 600, size=(3000, 2))
    precision, recall = precision_recall(two, everywhere)
    assert precision < 0.05 and recall == 1  # everything, mostly wrong


# Modes


def test_mode_coverage_counts_by_hand():
    modes = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    samples = [[0, 0.5], [0, 2.9], [10, 3.1], [9, 9], [5, 5]]  # two, none, none, one; one astray
    assert mode_coverage(samples, modes, 1) == (2, 0.6)
    assert mode_coverage(samples, modes, 1, least=2) == (1, 0.6)
    assert mode_coverage(samples, modes, 1.1) == (3, 0.8)


def test_the_ring_covers_its_own_modes():
    covered, quality = mode_coverage(ring(20000, RNG(0)), ring_modes(), RING_DEVIATION, least=2000)
    # 2,500 a mode; the deviation of the share is 0.0007
    assert covered == 8 and quality == pytest.approx(1 - np.exp(-4.5), abs=0.003)


# Bounds on the log-likelihood, for a model whose likelihood is known


def linear_gaussian_log_weights(samples, seed, wrong=0.0):
    """z ~ N(0, 1), x|z ~ N(a z, s² I): log-weights of codes from the posterior, its mean moved.

    Returns the log-weights, log p(x) and the divergence KL(q || posterior).
    """
    rng, a, s = RNG(seed), np.array([1.0, -2.0, 0.5]), 0.7
    x = rng.normal(size=(40, 1)) * a + s * rng.normal(size=(40, 3))
    variance = 1 / (1 + a @ a / s**2)
    mean = variance * x @ a / s**2 + wrong
    z = mean + np.sqrt(variance) * rng.normal(size=(samples, 40))
    log_joint = norm.logpdf(z) + norm.logpdf(x, z[..., None] * a, s).sum(axis=-1)
    log_weights = log_joint - norm.logpdf(z, mean, np.sqrt(variance))
    exact = multivariate_normal.logpdf(x, cov=np.outer(a, a) + s**2 * np.eye(3))
    return log_weights, exact, wrong**2 / (2 * variance)


def test_bounds_are_exact_with_the_true_posterior():
    log_weights, exact, _ = linear_gaussian_log_weights(5, 0)
    np.testing.assert_allclose(elbo(log_weights), exact, rtol=1e-10)
    np.testing.assert_allclose(importance_weighted_bound(log_weights), exact, rtol=1e-10)


def test_elbo_falls_short_by_the_divergence_and_the_other_bound_by_less():
    log_weights, exact, divergence = linear_gaussian_log_weights(4000, 0, wrong=0.3)
    assert divergence > 0.3
    # the log-weights have deviation √(2 · divergence) ≈ 1; a mean of 4000 · 40 is within 0.01
    assert np.mean(elbo(log_weights) - exact) == pytest.approx(-divergence, abs=0.01)
    bound = importance_weighted_bound(log_weights)
    assert np.mean(bound - exact) == pytest.approx(0, abs=0.01)  # 4000 samples close the gap
    few = importance_weighted_bound(log_weights[:5]).mean()
    assert elbo(log_weights).mean() < few < bound.mean()


@given(seed=seeds, samples=st.integers(1, 6), scale=st.sampled_from([1.0, 1000.0]))
def test_importance_weighted_bound_is_at_least_the_elbo(seed, samples, scale):
    log_weights = scale * RNG(seed).normal(size=(samples, 4))
    gap = importance_weighted_bound(log_weights) - elbo(log_weights)
    assert np.isfinite(gap).all() and gap.min() >= -1e-9
    if samples == 1:
        np.testing.assert_allclose(gap, 0, atol=1e-9)


# The classifier of chapter 4


def classifier_and_weights():
    """A Keras network as in chapter 4, with random weights, and these in the format of the run."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    blocks = []
    for filters, size in ((16, 4), (64, 3), (64, 3)):
        blocks.append(layers.Conv2D(filters, size, 2, "same", use_bias=False))
        blocks.append(layers.BatchNormalization())
        blocks.append(layers.ReLU())
    scaling = layers.Rescaling(1 / 90, -73 / 90)
    network = keras.Sequential(
        [keras.Input((28, 28, 1)), scaling, *blocks, layers.Flatten(), layers.Dense(10)]
    )
    rng, weights = RNG(0), {"grey_mean": np.float64(73.0), "grey_deviation": np.float64(90.0)}
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    for number in range(3):
        shape = (4, blocks[3 * number].filters)
        blocks[3 * number + 1].set_weights(list(rng.uniform(0.3, 1.5, shape)))
        weights[f"conv{number + 1}/kernel"] = blocks[3 * number].get_weights()[0]
        for name, value in zip(names, blocks[3 * number + 1].get_weights(), strict=True):
            weights[f"norm{number + 1}/{name}"] = value
    weights["dense/kernel"], weights["dense/bias"] = network.layers[-1].get_weights()
    return network, weights


def test_classifier_equals_its_twin_in_keras(monkeypatch):
    network, weights = classifier_and_weights()
    monkeypatch.setattr(metrics, "load_run", {"fashion-cnn": weights}.__getitem__)
    images = RNG(1).integers(256, size=(7, 28, 28), dtype="uint8")
    floats = images[..., None].astype("float32")
    logits = fashion_logits(images)
    assert logits.shape == (7, 10) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, network(floats), rtol=1e-4, atol=1e-4)
    maps = keras.Model(network.inputs[0], network.layers[-3].output)(floats)
    features = fashion_features(images)
    assert features.shape == (7, 64) and features.dtype == np.float32
    np.testing.assert_allclose(features, np.mean(maps, axis=(1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fashion_features(floats, weights, batch_size=2), features, rtol=1e-5)


def test_the_bundled_classifier_knows_garments():
    """Chapter 4 records an accuracy above 90 %; of 1,000 images its deviation is a point."""
    fashion = dlbook.load("fashion-mnist")
    logits = fashion_logits(fashion.test_images[:1000])
    assert nn.accuracy(logits, fashion.test_labels[:1000]) > 0.87


TABLE = np.ones((9, 2))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: frechet_distance(TABLE, np.ones((9, 3))), "2 and 3 features"),
        (lambda: frechet_distance(TABLE, np.ones(9)), r"frechet_distance .*got shape \(9,\)"),
        (lambda: frechet_distance(TABLE, TABLE[:1]), r"at least 2 .*got shape \(1, 2\)"),
        (lambda: frechet_distance(TABLE, TABLE * np.nan), "18 values are not finite"),
        (
            lambda: gaussian_frechet_distance([0, 1], np.eye(2), [0, 1], np.eye(3)),
            r"got \[\(2,\), \(2, 2\), \(2,\), \(3, 3\)\]",
        ),
        (lambda: precision_recall(TABLE, TABLE[:3]), r"at least 4 .*got shape \(3, 2\)"),
        (lambda: precision_recall(TABLE, TABLE, k=0), "k must be at least 1, got 0"),
        (lambda: mode_coverage(TABLE, TABLE, 0), "must be positive, got 0"),
        (lambda: mode_coverage(TABLE, np.ones((8, 3)), 1), "2 and 3 features"),
        (lambda: elbo(np.ones(5)), r"elbo expects .*got shape \(5,\)"),
        (lambda: importance_weighted_bound(np.ones((0, 5))), r"got shape \(0, 5\)"),
        (lambda: fashion_features(np.zeros((4, 784))), r"got \(4, 784\)"),
        (lambda: fashion_features(np.full((1, 28, 28), 0.5)), "multiply them by 255"),
        (lambda: fashion_logits(np.full((1, 28, 28), 256)), "from 256 to 256"),
        (lambda: fashion_logits(np.full((1, 28, 28), np.nan)), "from nan to nan"),
    ],
)
def test_bad_input_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()

"""Diffusion: against closed forms, and a Gaussian target, for which the best noise predictor and all results are known."""

import numpy as np
import pytest
from dlbook import diffusion as D
from dlbook import nn, optim
from dlbook.tensor import numerical_gradient
from scipy.stats import norm

RNG = np.random.default_rng
STEPS = 50
ALPHA_BARS = D.linear_schedule(STEPS)
MEAN, DEVIATION = 0.7, 0.4  # of the Gaussian target, in one dimension


def test_the_schedule_is_that_of_the_paper():
    betas = np.linspace(0.0001, 0.02, 1000)
    np.testing.assert_allclose(D.linear_schedule(1000)[1:], np.cumprod(1 - betas))
    assert ALPHA_BARS[0] == 1 and (np.diff(ALPHA_BARS) < 0).all() and 0 < ALPHA_BARS[-1] < 1e-4


def test_noise_in_one_go_is_noise_step_by_step():
    """Variances and means of the chain of single steps, followed exactly."""
    mean, variance = MEAN, 0.0
    for t in range(1, STEPS + 1):
        beta = 1 - ALPHA_BARS[t] / ALPHA_BARS[t - 1]
        mean, variance = np.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        times = np.full(1, t)
        at_zero = D.add_noise(np.array([[MEAN]]), times, np.zeros((1, 1)), ALPHA_BARS)
        slope = D.add_noise(np.zeros((1, 1)), times, np.ones((1, 1)), ALPHA_BARS)
        np.testing.assert_allclose([at_zero[0, 0], slope[0, 0] ** 2], [mean, variance])


@pytest.mark.parametrize("t", [1, 2, 25, STEPS])
def test_the_posterior_is_bayes_rule(t):
    """Product of two normal densities on a fine axis, normalised numerically."""
    x0, x, axis = 0.8, -0.3, np.linspace(-8, 8, 200_001)
    mean, variance = D.posterior(x0, x, t, ALPHA_BARS)
    if t == 1:  # the point at time 0 is given
        np.testing.assert_allclose([mean, variance], [x0, 0], atol=1e-12)
        return
    now, before = ALPHA_BARS[t], ALPHA_BARS[t - 1]
    keep = now / before
    density = norm.pdf(axis, np.sqrt(before) * x0, np.sqrt(1 - before))
    density *= norm.pdf(x, np.sqrt(keep) * axis, np.sqrt(1 - keep))
    density /= density.sum()
    expected = (density * axis).sum()
    np.testing.assert_allclose(mean, expected, atol=1e-6)
    np.testing.assert_allclose(variance, (density * (axis - expected) ** 2).sum(), rtol=1e-5)


@pytest.mark.parametrize("t", [2, 25, STEPS])
def test_a_full_step_back_draws_from_the_posterior(t):
    x0, noise = np.full((200_000, 1), 0.8), np.full((200_000, 1), -1.1)
    x = D.add_noise(x0, np.full(len(x0), t), noise, ALPHA_BARS)
    mean, variance = D.posterior(0.8, x[0, 0], t, ALPHA_BARS)
    drawn = D.step_back(x, noise, t, t - 1, ALPHA_BARS, 1.0, RNG(0))
    error = 5 * np.sqrt(variance / len(drawn))  # five standard errors
    assert abs(drawn.mean() - mean) < error
    np.testing.assert_allclose(drawn.var(), variance, rtol=0.02)
    fixed = D.step_back(x[:1], noise[:1], t, t - 1, ALPHA_BARS, 0.0, RNG(0))
    expected = D.add_noise(x0[:1], np.array([t - 1]), noise[:1], ALPHA_BARS)
    np.testing.assert_allclose(fixed, expected)


def test_the_best_predictor_of_a_gaussian():
    """A regression of noise on noised data, which is linear for a Gaussian target, finds it."""
    rng, predict = RNG(1), D.mixture_denoiser([[MEAN]], DEVIATION, ALPHA_BARS)
    for t in (1, 10, 40):
        x0 = MEAN + DEVIATION * rng.standard_normal((400_000, 1))
        noise, times = rng.standard_normal(x0.shape), np.full(len(x0), t)
        x = D.add_noise(x0, times, noise, ALPHA_BARS)
        slope, offset = np.polyfit(x[:, 0], noise[:, 0], 1)
        places = np.array([[-1.0], [0.5], [2.0]])
        found = predict(places, np.full(3, t))
        np.testing.assert_allclose(found, slope * places + offset, atol=0.03)  # chance


def test_the_best_predictor_of_a_mixture_is_a_score():
    """The expected noise is -√(1 - ᾱ) times the gradient of the log-density."""
    centres, t = np.array([[1.0, 0.5], [-1.0, 0.2], [0.3, -1.5]]), 20
    left = ALPHA_BARS[t]
    deviation = np.sqrt(left * 0.3**2 + 1 - left)
    point = np.array([0.2, -0.4])

    def log_density():
        return np.log(norm.pdf(point, np.sqrt(left) * centres, deviation).prod(axis=1).mean())

    expected = -np.sqrt(1 - left) * numerical_gradient(log_density, point)
    found = D.mixture_denoiser(centres, 0.3, ALPHA_BARS)(point[None], np.array([t]))[0]
    np.testing.assert_allclose(found, expected, atol=1e-7)


def followed(alpha_bars, eta):
    """Mean and deviation of what is generated for the Gaussian target, without drawing.

    With its best predictor every step back is linear: x becomes slope · x + offset, plus
    fresh noise of eta² times the posterior's variance.
    """
    predict, pair = D.mixture_denoiser([[MEAN]], DEVIATION, alpha_bars), np.array([[0.0], [1.0]])
    mean, variance = 0.0, 1.0
    for t in range(len(alpha_bars) - 1, 0, -1):
        now, then = alpha_bars[t], alpha_bars[t - 1]
        fresh = eta**2 * D.posterior(0.0, 0.0, t, alpha_bars)[1]
        noise = predict(pair, np.full(2, t))
        guess = (pair - np.sqrt(1 - now) * noise) / np.sqrt(now)
        offset, end = (np.sqrt(then) * guess + np.sqrt(1 - then - fresh) * noise)[:, 0]
        slope = end - offset
        mean, variance = offset + slope * mean, slope**2 * variance + fresh
    return mean, np.sqrt(variance)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_generated_gaussian_numbers(eta):
    predict = D.mixture_denoiser([[MEAN]], DEVIATION, ALPHA_BARS)
    stages = D.generate(predict, (100_000, 1), ALPHA_BARS, RNG(2), eta=eta)
    assert stages.shape == (STEPS + 1, 100_000, 1)
    mean, deviation = followed(ALPHA_BARS, eta)
    np.testing.assert_allclose(stages[-1].mean(), mean, atol=0.01)  # five standard errors
    np.testing.assert_allclose(stages[-1].std(), deviation, rtol=0.015)
    # what is missing of the target comes from the finite number of steps, and dies with it
    errors = [abs(followed(D.linear_schedule(t), eta)[1] - DEVIATION) for t in (50, 100, 800)]
    assert errors[0] > 1.6 * errors[1] > 8 * errors[2] and errors[2] < 0.02 * DEVIATION


def test_fewer_passes_ask_the_predictor_less_often():
    asked = []

    def predict(x, times):
        asked.append(times[0])
        return np.zeros(x.shape)

    D.generate(predict, (3, 2), ALPHA_BARS, RNG(0), passes=5, eta=0.0)
    assert asked == [50, 40, 30, 20, 10]


def test_training_finds_the_best_predictor_of_a_gaussian():
    rng = RNG(3)
    denoiser = D.Denoiser(1, 32, STEPS, rng=rng)
    target = lambda number, rng: MEAN + DEVIATION * rng.standard_normal((number, 1))
    adam = optim.Adam(denoiser.parameters, 0.005)
    options = {"steps": 800, "batch_size": 256, "optimizer": adam, "rng": rng}
    losses = D.train_denoiser(denoiser, target, ALPHA_BARS, **options)
    assert len(losses) == 800 and adam.learning_rate == 0.005
    x, times = rng.standard_normal((5000, 1)), rng.integers(1, STEPS + 1, 5000)
    exact = D.mixture_denoiser([[MEAN]], DEVIATION, ALPHA_BARS)(x, times)
    assert ((denoiser(x, times) - exact) ** 2).mean() < 0.02  # noise itself has variance 1
    assert np.mean(losses[-100:]) < 0.6 * np.mean(losses[:5])


def test_the_loss_is_the_noise_s_mean_square():
    """The first loss of an untrained network, computed again from the same random numbers."""
    denoiser, sample = D.Denoiser(2, 8, STEPS, rng=RNG(4)), lambda n, rng: rng.random((n, 2))
    weights = [parameter.data.copy() for parameter in denoiser.parameters]
    options = {"steps": 1, "batch_size": 16, "optimizer": optim.SGD(denoiser.parameters)}
    (loss,) = D.train_denoiser(denoiser, sample, ALPHA_BARS, rng=RNG(5), **options)
    for parameter, array in zip(denoiser.parameters, weights):
        parameter.data = array
    rng = RNG(5)
    x, times = rng.random((16, 2)), rng.integers(1, STEPS + 1, 16)
    noise = rng.standard_normal((16, 2)).astype("float32")
    noised = np.sqrt(ALPHA_BARS[times, None]) * x + np.sqrt(1 - ALPHA_BARS[times, None]) * noise
    inputs = np.concatenate([noised.astype("float32"), denoiser.table[times]], axis=1)
    predicted = nn.predict(denoiser.network, inputs)
    assert loss == pytest.approx(((predicted - noise) ** 2).mean(), rel=1e-5)  # float32


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: D.linear_schedule(20), "more than 20, got 20"),
        (lambda: D.generate(None, (1, 1), ALPHA_BARS, None, passes=51), "1..50, got 51"),
        (lambda: D.generate(None, (1, 1), ALPHA_BARS, None, eta=2), "0 to 1, got 2"),
    ],
)
def test_wrong_input_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()

"""Diffusion models: noise is added in many small steps, and a network learns to take it away.

Points are arrays ``(batch, features)``, best scaled to variance 1. Times are whole numbers
from 0, the data, to T, noise alone. A *noise predictor* is any function ``(x, times) ->
array`` of the shape of x, with times (batch,): the noise that it believes to be in x.

References: J. Ho, A. Jain and P. Abbeel, *Denoising diffusion probabilistic models*
(NeurIPS 2020), cited as DDPM; J. Song, C. Meng and S. Ermon, *Denoising diffusion implicit
models* (ICLR 2021), cited as DDIM; the book's chapter "Future and challenges".
"""

import numpy as np
from dlbook.attention import sinusoidal_positions
from dlbook.nn import Dense, Sequential, mean_squared_error
from dlbook.recurrent import positive
from dlbook.tensor import no_grad
from scipy.special import softmax


def linear_schedule(steps):
    """How much of the data is left at each time.

    The variances β of the noise that single steps add rise evenly, from 0.1 / T to
    20 / T: for T = 1000 these are the 0.0001 to 0.02 of DDPM, section 4.

    Parameters
    ----------
    steps : int
        T, more than 20.

    Returns
    -------
    numpy.ndarray of float64, shape (T + 1,)
        ᾱ_t, the product of the 1 - β up to time t; ᾱ_0 is 1, ᾱ_T nearly 0.
    """
    if positive(steps, "steps") <= 20:
        raise ValueError(f"linear_schedule: steps must be more than 20, got {steps}")
    betas = np.linspace(0.1 / steps, 20 / steps, steps)
    return np.concatenate([[1.0], np.cumprod(1 - betas)])


def add_noise(x, times, noise, alpha_bars):
    """From time 0 to the times t in one go: √ᾱ_t x + √(1 - ᾱ_t) noise; DDPM, equation 4.

    Parameters
    ----------
    x, noise : array, shape (batch, features)
    times : array of int, shape (batch,)
    alpha_bars : array, shape (T + 1,)
    """
    left = alpha_bars[times][:, None]
    return np.sqrt(left) * x + np.sqrt(1 - left) * noise


def posterior(x0, x, t, alpha_bars):
    """Mean and variance of the point at time t - 1, given those at times 0 and t.

    DDPM, equations 6 and 7. The mean has the shape of `x0` and `x`; the variance is one
    number, that of each feature.
    """
    now, before = alpha_bars[t], alpha_bars[t - 1]
    beta = 1 - now / before
    mean = np.sqrt(before) * beta * x0 + np.sqrt(1 - beta) * (1 - before) * x
    return mean / (1 - now), beta * (1 - before) / (1 - now)


class Denoiser:
    """A noise predictor that learns: dense layers, told the time by sines and cosines.

    Parameters
    ----------
    features, units, steps : int
        Size of a point, of each of the three hidden layers, and T.
    rng : numpy.random.Generator
    """

    def __init__(self, features, units, steps, *, rng, time_features=32):
        self.table = sinusoidal_positions(steps + 1, time_features).astype("float32")
        sizes = [features + time_features, units, units, units]
        options = {"kernel_initializer": "he_uniform", "rng": rng}
        hidden = [Dense(a, b, "relu", **options) for a, b in zip(sizes[:-1], sizes[1:])]
        self.network = Sequential([*hidden, Dense(units, features, rng=rng)])
        self.parameters = self.network.parameters

    def tensor(self, x, times):
        """The predicted noise as a Tensor, for training."""
        x = np.asarray(x, "float32")
        return self.network(np.concatenate([x, self.table[times]], axis=1))

    def __call__(self, x, times):
        with no_grad():
            return self.tensor(x, times).data


def train_denoiser(denoiser, sample, alpha_bars, *, steps, batch_size, optimizer, rng):
    """Show noised points, ask for the noise, make the mean squared error small.

    DDPM, algorithm 1. Adam's rate falls along half a cosine to zero.

    Parameters
    ----------
    denoiser : Denoiser
    sample : callable
        ``(number, rng) -> array (number, features)`` of data.
    alpha_bars : array, shape (T + 1,)
    steps, batch_size : int
    optimizer : dlbook.optim.Adam
        Made with the denoiser's parameters.
    rng : numpy.random.Generator

    Returns
    -------
    list of float, the loss of each step; 1 for a network that answers 0.
    """
    losses, rate = [], optimizer.learning_rate
    for step in range(steps):
        optimizer.learning_rate = rate * 0.5 * (1 + np.cos(np.pi * step / steps))
        x = sample(batch_size, rng)
        times = rng.integers(1, len(alpha_bars), batch_size)
        noise = rng.standard_normal(x.shape).astype("float32")
        predicted = denoiser.tensor(add_noise(x, times, noise, alpha_bars), times)
        loss = mean_squared_error(predicted, noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.data))
    optimizer.learning_rate = rate
    return losses


def step_back(x, predicted_noise, t, s, alpha_bars, eta, rng):
    """From time t to an earlier time s; DDIM, equations 12 and 16.

    The noise is taken out, which leaves a guess of the data; then the guess is noised
    again, to time s, in part with the predicted noise and in part with fresh noise. With
    eta = 1 and s = t - 1 this draws from `posterior` of the guess: DDPM, algorithm 2.
    With eta = 0 nothing is drawn.
    """
    now, then = alpha_bars[t], alpha_bars[s]
    guess = (x - np.sqrt(1 - now) * predicted_noise) / np.sqrt(now)
    variance = eta**2 * (1 - then) / (1 - now) * (1 - now / then)
    fresh = np.sqrt(variance) * rng.standard_normal(x.shape) if eta and s else 0.0
    return np.sqrt(then) * guess + np.sqrt(1 - then - variance) * predicted_noise + fresh


def generate(predict_noise, shape, alpha_bars, rng, *, passes=None, eta=1.0):
    """Make data from noise.

    Parameters
    ----------
    predict_noise : callable
        ``(x, times) -> noise``.
    shape : (int, int)
        Points and features.
    alpha_bars : array, shape (T + 1,)
    rng : numpy.random.Generator
    passes : int or None
        How many times the predictor is asked, at most T, at times evenly spread; None
        for T.
    eta : float
        From 0, no fresh noise, to 1, as in DDPM.

    Returns
    -------
    numpy.ndarray, shape (passes + 1, points, features)
        All stages, from noise to data.
    """
    steps = len(alpha_bars) - 1
    passes = steps if passes is None else passes
    if not 1 <= passes <= steps:
        raise ValueError(f"generate: passes must be in 1..{steps}, got {passes!r}")
    if not 0 <= eta <= 1:
        raise ValueError(f"generate: eta must be from 0 to 1, got {eta!r}")
    times = np.rint(np.linspace(steps, 0, passes + 1)).astype(int)
    stages = [rng.standard_normal(shape)]
    for t, s in zip(times[:-1], times[1:]):
        predicted = predict_noise(stages[-1], np.full(shape[0], t))
        stages.append(step_back(stages[-1], predicted, t, s, alpha_bars, eta, rng))
    return np.array(stages)


def mixture_denoiser(centres, deviation, alpha_bars):
    """The best possible noise predictor for equally likely round Gaussians.

    Noised, each stays a Gaussian, with centre √ᾱ c and variance ᾱ deviation² + 1 - ᾱ; the
    expected noise given x is √(1 - ᾱ) (x - √ᾱ c) / variance, averaged over the centres by
    how likely x comes from each (Bayes' rule).

    Parameters
    ----------
    centres : array, shape (components, features)
        One row for a single Gaussian.
    deviation : float
        Of each component along each axis.
    alpha_bars : array, shape (T + 1,)

    Returns
    -------
    callable, ``(x, times) -> array`` of the shape of x
    """
    centres = np.asarray(centres, "float64")

    def predict_noise(x, times):
        left = alpha_bars[times][:, None]
        variance = left * deviation**2 + 1 - left
        away = x[:, None] - np.sqrt(left)[..., None] * centres
        likely = softmax(-0.5 * (away**2).sum(axis=-1) / variance, axis=1)
        return np.sqrt(1 - left) / variance * (likely[..., None] * away).sum(axis=1)

    return predict_noise

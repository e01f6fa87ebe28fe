"""Models that make data: principal components, Gaussian codes, adversarial networks.

Arrays are ``(batch, features)`` as in `dlbook.nn`. What takes a Tensor can be
differentiated, and so trains with the engine; what takes only arrays is plain NumPy.

References: the book's chapters "Autoencoders" and "Generative adversarial networks".
"""

import numpy as np
from dlbook.data import load_run
from dlbook.nn import call
from dlbook.tensor import Tensor, exp, no_grad, operation

# Principal components


def principal_components(data, number):
    """Find the directions in which `data` varies most.

    ``mean + (data - mean) @ components.T @ components`` is, of all reconstructions from
    `number` linear coordinates, the one with the smallest sum of squared errors.

    Parameters
    ----------
    data : numpy.ndarray, shape (examples, features)
        At least two examples.
    number : int
        How many components, from 1 to the smaller of examples and features.

    Returns
    -------
    mean : numpy.ndarray of float64, shape (features,)
    components : numpy.ndarray of float64, shape (number, features)
        Orthonormal rows, the direction of the largest variance first. The sign of each
        is arbitrary; here the element of largest size is positive.

    Raises
    ------
    ValueError
        If the data are not a table of at least two rows, or `number` is out of range.

    References
    ----------
    K. Pearson, *On lines and planes of closest fit to systems of points in space*
    (Philosophical Magazine 2, 1901); H. Hotelling, *Analysis of a complex of
    statistical variables into principal components* (Journal of Educational Psychology
    24, 1933).
    """
    data = _table(data, "principal_components", least=2)
    if not 1 <= number <= min(data.shape):
        raise ValueError(
            f"principal_components: number must be in 1..{min(data.shape)} for data of "
            f"shape {data.shape}, got {number}"
        )
    mean = data.mean(axis=0)
    centred = data - mean
    if data.shape[0] >= data.shape[1]:  # the eigenvectors of the covariance: cheaper
        _, vectors = np.linalg.eigh(centred.T @ centred)
        components = vectors.T[::-1][:number]
    else:
        components = np.linalg.svd(centred, full_matrices=False)[2][:number]
    largest = components[np.arange(number), np.abs(components).argmax(axis=1)]
    return mean, components * np.sign(largest)[:, None]


# Gaussian codes


def reparameterize(mean, log_variance, rng):
    """Draw from a Gaussian so that gradients pass: mean + deviation · noise.

    The chance is in the noise, which depends on no parameter, so that the draw is a
    differentiable function of mean and variance.

    Parameters
    ----------
    mean, log_variance : Tensor, shape (batch, features)
        The logarithm is natural; each feature is independent of the others.
    rng : numpy.random.Generator

    Returns
    -------
    Tensor, shape (batch, features)

    References
    ----------
    D. P. Kingma and M. Welling, *Auto-encoding variational Bayes* (ICLR 2014),
    section 2.4.
    """
    _same_shape(mean, log_variance, "reparameterize")
    noise = rng.standard_normal(mean.shape).astype(mean.dtype)
    return mean + exp(0.5 * log_variance) * noise


def kl_to_standard_normal(mean, log_variance):
    """Kullback-Leibler divergence of a Gaussian from the standard normal, in nats.

    Parameters
    ----------
    mean, log_variance : Tensor, shape (batch, features)
        The logarithm is natural; each feature is independent of the others.

    Returns
    -------
    Tensor, shape (batch,), at least 0.

    References
    ----------
    D. P. Kingma and M. Welling, *Auto-encoding variational Bayes* (ICLR 2014),
    appendix B.
    """
    _same_shape(mean, log_variance, "kl_to_standard_normal")
    return 0.5 * (mean**2 + exp(log_variance) - log_variance - 1.0).sum(axis=-1)


# The variational autoencoder of garments

VAE_LAYERS = ("hidden1", "hidden2", "expected")


def sample_vae(number, rng, *, weights=None, draw_pixels=False):
    """Draw images of garments from the variational autoencoder of chapter 6.

    A code is drawn from the standard normal and decoded to a grey that is expected at
    each pixel, cut off at black and white. That is an image without the model's grain.
    A sample of the model has pixels that are drawn, too, from a logistic distribution
    around the expected grey, rounded; what lies beyond an end of the scale is put there.

    Parameters
    ----------
    number : int
        How many images.
    rng : numpy.random.Generator
        Draws the codes first, then the pixels.
    weights : dict of str to numpy.ndarray or None
        A decoder of three dense layers and "log_spread", the logarithm of the pixels'
        spread in units of 255 greys, as in the run "fashion-vae", which is the default.
    draw_pixels : bool
        Whether the pixels are drawn.

    Returns
    -------
    numpy.ndarray of float32, shape (number, 28, 28)
        Greys from 0 to 255, whole numbers if the pixels are drawn.

    Raises
    ------
    ValueError
        If `number` is not a positive whole number, or the decoder lacks an array.

    References
    ----------
    D. P. Kingma and M. Welling, *Auto-encoding variational Bayes* (ICLR 2014); for the
    pixels T. Salimans et al., *PixelCNN++* (ICLR 2017), section 2.1.
    """
    if not isinstance(number, (int, np.integer)) or number < 1:
        raise ValueError(f"sample_vae: number must be whole and at least 1, got {number!r}")
    weights = load_run("fashion-vae") if weights is None else weights
    parts = [f"{layer}/{part}" for layer in VAE_LAYERS for part in ("kernel", "bias")]
    missing = [name for name in (*parts, "log_spread") if name not in weights]
    if missing:
        raise ValueError(
            f"sample_vae: weights lack {', '.join(missing)}; "
            'expected are the arrays of dlbook.load_run("fashion-vae")'
        )
    x = rng.standard_normal((number, len(weights["hidden1/kernel"]))).astype("float32")
    for layer in VAE_LAYERS:
        x = x @ weights[f"{layer}/kernel"] + weights[f"{layer}/bias"]
        if layer != "expected":
            x = np.maximum(x, 0)
    greys = 255 * x
    if draw_pixels:
        greys = np.rint(rng.logistic(greys, 255 * np.exp(weights["log_spread"])))
    return greys.clip(0, 255).astype("float32").reshape(number, 28, 28)


# Eight Gaussians on a ring

RING_RADIUS = 2.0
RING_DEVIATION = 0.1


def ring_modes():
    """Return the centres of the eight Gaussians of `ring`, shape (8, 2)."""
    angles = 2 * np.pi * np.arange(8) / 8
    return RING_RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def ring(number, rng):
    """Draw points of eight equally likely Gaussians whose centres lie on a circle.

    The radius is 2, and each Gaussian has the same standard deviation along both axes,
    `RING_DEVIATION`.

    Parameters
    ----------
    number : int
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray of float32, shape (number, 2)

    References
    ----------
    L. Metz, B. Poole, D. Pfau and J. Sohl-Dickstein, *Unrolled generative adversarial
    networks* (ICLR 2017), section 3.1, with a larger standard deviation.
    """
    centres = ring_modes()[rng.integers(8, size=number)]
    return (centres + RING_DEVIATION * rng.standard_normal((number, 2))).astype("float32")


# Generative adversarial networks


def softplus(a):
    """log(1 + exp(a)), element by element, without overflow.

    The derivative is the sigmoid. For a logit a, -log sigmoid(a) is softplus(-a), and
    -log(1 - sigmoid(a)) is softplus(a).
    """
    slope = 0.5 * (1 + np.tanh(0.5 * a.data))
    return operation(np.logaddexp(0, a.data).astype(a.dtype), (a, lambda g: g * slope))


def discriminator_loss(real_logits, generated_logits):
    """Cross-entropy of the discriminator: -mean log D(x) - mean log(1 - D(G(z))).

    Parameters
    ----------
    real_logits, generated_logits : Tensor
        Logits of being real, one for each example; D is their sigmoid.

    Returns
    -------
    Tensor, a scalar; 2 log 2 for a discriminator that only guesses.

    References
    ----------
    I. Goodfellow et al., *Generative adversarial nets* (NeurIPS 2014), equation 1.
    """
    return softplus(-real_logits).mean() + softplus(generated_logits).mean()


def saturating_loss(generated_logits):
    """The generator's side of the game: mean log(1 - D(G(z))), to be made small.

    Where the discriminator is sure, its slope with respect to the logit is nearly 0.
    """
    return -softplus(generated_logits).mean()


def non_saturating_loss(generated_logits):
    """What generators are trained with instead: -mean log D(G(z)), to be made small.

    Where the discriminator is sure, its slope with respect to the logit is nearly -1.
    """
    return softplus(-generated_logits).mean()


def train_gan(
    generator,
    discriminator,
    sample,
    *,
    steps,
    batch_size,
    noise_size,
    generator_optimizer,
    discriminator_optimizer,
    rng,
    generator_loss=non_saturating_loss,
    generator_steps=1,
    pack=1,
    instance_noise=None,
    on_step=None,
):
    """Let a generator and a discriminator learn in turns.

    A step is one update of the discriminator and `generator_steps` of the generator.

    Parameters
    ----------
    generator : callable with `parameters`
        Maps noise (batch, noise_size) to examples (batch, features).
    discriminator : callable with `parameters`
        Maps ``pack`` examples side by side, (batch / pack, pack · features), to logits
        of being real (batch / pack, 1).
    sample : callable
        ``(number, rng) -> array (number, features)`` of real examples.
    steps, batch_size, noise_size : int
    generator_optimizer, discriminator_optimizer : dlbook.optim.Adam or SGD
        Each made with the parameters of its own network only.
    rng : numpy.random.Generator
        Draws the real examples and all noise.
    generator_loss : callable
        `non_saturating_loss` or `saturating_loss`.
    generator_steps : int
        Updates of the generator in a step, at least 1; with many of them it collapses.
    pack : int
        How many examples the discriminator judges together.
    instance_noise : callable or None
        ``step -> deviation`` of Gaussian noise that is added to all examples, real and
        generated, before the discriminator sees them; steps count from 0.
    on_step : callable or None
        Called as ``on_step(step)`` before each step, and once after the last.

    Returns
    -------
    dict of lists, one value an update: "discriminator_loss" and "generator_loss".

    Raises
    ------
    ValueError
        If `batch_size` is not a multiple of `pack`, or `generator_steps` is less than 1.

    References
    ----------
    I. Goodfellow et al., *Generative adversarial nets* (NeurIPS 2014), algorithm 1;
    Z. Lin et al., *PacGAN* (NeurIPS 2018) for `pack`; C. K. Sønderby et al., *Amortised
    MAP inference for image super-resolution* (ICLR 2017) for `instance_noise`.
    """
    if pack < 1 or batch_size % pack:
        raise ValueError(
            f"train_gan: batch_size {batch_size} is not a multiple of pack {pack}; "
            "change one of them"
        )
    if generator_steps < 1:
        raise ValueError(
            f"train_gan: generator_steps is {generator_steps}, expected at least 1; to "
            "train the discriminator alone, write its loop out"
        )

    def generate():
        noise = rng.standard_normal((batch_size, noise_size)).astype("float32")
        return call(generator, Tensor(noise), training=True)

    def judge(examples, deviation):
        if deviation:
            noise = rng.standard_normal(examples.shape).astype(examples.dtype)
            examples = examples + float(deviation) * noise
        packs = examples.reshape(batch_size // pack, -1)
        return call(discriminator, packs, training=True)

    history = {"discriminator_loss": [], "generator_loss": []}
    for step in range(steps):
        if on_step is not None:
            on_step(step)
        deviation = 0.0 if instance_noise is None else instance_noise(step)

        with no_grad():  # the discriminator's update does not reach the generator
            generated = generate()
        real = Tensor(sample(batch_size, rng))
        loss = discriminator_loss(judge(real, deviation), judge(generated, deviation))
        discriminator_optimizer.zero_grad()
        loss.backward()
        discriminator_optimizer.step()
        history["discriminator_loss"].append(float(loss.data))

        for _ in range(generator_steps):
            loss = generator_loss(judge(generate(), deviation))
            generator_optimizer.zero_grad()
            loss.backward()  # through the discriminator, whose own gradients are not used
            generator_optimizer.step()
            history["generator_loss"].append(float(loss.data))
    if on_step is not None:
        on_step(steps)
    return history


def _table(array, name, least=1):
    """Return `array` in float64, checked: (examples, features) of finite numbers."""
    array = np.asarray(array, dtype="float64")
    if array.ndim != 2 or len(array) < least or not array.shape[1]:
        raise ValueError(
            f"{name} expects an array (examples, features) of at least {least} examples, "
            f"got shape {array.shape}; images become rows with .reshape(len(images), -1)"
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name}: {np.count_nonzero(~np.isfinite(array))} values are not finite; "
            "find out where they come from before measuring anything"
        )
    return array


def _same_shape(mean, log_variance, name):
    if mean.shape != log_variance.shape:
        raise ValueError(
            f"{name}: mean has shape {mean.shape} and log_variance "
            f"{log_variance.shape}; they must be equal"
        )

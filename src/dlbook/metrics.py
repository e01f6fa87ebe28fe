"""How good is a model that makes data? Distances between samples, bounds on likelihoods.

Samples are arrays ``(examples, features)``. For images the features are those of the
classifier of chapter 4, `fashion_features`, because distances between pixels say little
about what an image shows. (The area under the ROC curve is in scikit-learn,
`roc_auc_score`.)

References: the book's chapters "Autoencoders" and "Generative adversarial networks".
"""

import numpy as np
from dlbook.convolution import conv2d
from dlbook.data import load_run
from dlbook.generative import _table
from dlbook.tensor import Tensor, no_grad
from scipy.special import logsumexp

# Distances between two sets of samples


def gaussian_frechet_distance(first_mean, first_covariance, second_mean, second_covariance):
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians.

    |m₁ - m₂|² + tr(C₁ + C₂ - 2 (C₁^½ C₂ C₁^½)^½). The matrix under the last root is
    symmetric, so its root needs only eigenvalues; those that rounding has made negative
    count as 0.

    Parameters
    ----------
    first_mean, second_mean : array_like, shape (features,)
    first_covariance, second_covariance : array_like, shape (features, features)

    Returns
    -------
    float, at least 0 but for rounding, in the square of the features' unit.

    References
    ----------
    D. C. Dowson and B. V. Landau, *The Fréchet distance between multivariate normal
    distributions* (Journal of Multivariate Analysis 12, 1982), equation 4.
    """
    first_mean, second_mean = np.asarray(first_mean), np.asarray(second_mean)
    first, second = np.asarray(first_covariance), np.asarray(second_covariance)
    size = first_mean.size
    shapes = [first_mean.shape, first.shape, second_mean.shape, second.shape]
    if shapes != [(size,), (size, size)] * 2:
        raise ValueError(
            "gaussian_frechet_distance expects mean, covariance, mean, covariance of shapes "
            f"(features,), (features, features) twice, got {shapes}"
        )
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    middle = np.linalg.eigvalsh(root @ second @ root).clip(min=0)
    shift = ((first_mean - second_mean) ** 2).sum()
    return float(shift + np.trace(first) + np.trace(second) - 2 * np.sqrt(middle).sum())


def frechet_distance(real, generated):
    """Squared Fréchet distance of two sets of samples, each taken as a Gaussian.

    With the features of an Inception network this is the FID of the literature. With
    few samples it comes out too large: compare only values from equally many.

    Parameters
    ----------
    real, generated : array_like, shapes (examples, features), (others, features)
        At least two examples each. The order of the two does not matter.

    Returns
    -------
    float, in the square of the features' unit; 0 for equal means and covariances.

    Raises
    ------
    ValueError
        If the numbers of features differ, or the arrays are not tables of finite numbers.

    References
    ----------
    M. Heusel et al., *GANs trained by a two time-scale update rule converge to a local
    Nash equilibrium* (NeurIPS 2017), equation 6.
    """
    real, generated = _two_tables(real, generated, "frechet_distance", least=2)
    moments = [
        (samples.mean(axis=0), np.atleast_2d(np.cov(samples, rowvar=False)))
        for samples in (real, generated)
    ]
    return gaussian_frechet_distance(*moments[0], *moments[1])


def precision_recall(real, generated, k=3, batch_size=1000):
    """How many generated samples look real, and how much of the real is generated.

    Around each real sample lies a ball that reaches to its k-th nearest neighbour among
    the real samples; together the balls stand for what is real. Precision is the share
    of the generated samples that lie in at least one ball. Recall is the same with the
    roles exchanged.

    Parameters
    ----------
    real, generated : array_like, shapes (examples, features), (others, features)
        More than k examples each; equally many if values are to be compared.
    k : int
    batch_size : int
        Rows of the table of distances that are held at once.

    Returns
    -------
    precision, recall : float, from 0 to 1

    Raises
    ------
    ValueError
        If the numbers of features differ, or there are not more than k examples.

    References
    ----------
    T. Kynkäänniemi et al., *Improved precision and recall metric for assessing
    generative models* (NeurIPS 2019), algorithm 1, with its k = 3.
    """
    if k < 1:
        raise ValueError(f"precision_recall: k must be at least 1, got {k}")
    real, generated = _two_tables(real, generated, "precision_recall", least=k + 1)
    return (
        _share_inside(generated, real, k, batch_size),
        _share_inside(real, generated, k, batch_size),
    )


def _share_inside(points, centres, k, batch_size):
    """Share of `points` in the ball of one of `centres`, up to its k-th neighbour."""
    radii = np.concatenate(
        [
            # in a centre's row of distances the smallest is its own, 0
            np.partition(squares, k, axis=1)[:, k]
            for squares in _squared_distances(centres, centres, batch_size)
        ]
    )
    inside = [
        (squares <= radii).any(axis=1)
        for squares in _squared_distances(points, centres, batch_size)
    ]
    return float(np.concatenate(inside).mean())


def _squared_distances(rows, columns, batch_size):
    """Yield the table of squared distances, `batch_size` rows at a time."""
    centre = columns.mean(axis=0)  # near 0, differences of squares lose fewer digits
    rows, columns = rows - centre, columns - centre
    lengths = (columns**2).sum(axis=1)
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        yield (part**2).sum(axis=1)[:, None] + lengths - 2 * part @ columns.T


def mode_coverage(samples, modes, deviation, least=1):
    """Count the modes of a mixture of Gaussians that samples reach.

    A sample belongs to a mode if it lies within three standard deviations of its
    centre.

    Parameters
    ----------
    samples : array_like, shape (examples, features)
    modes : array_like, shape (modes, features)
        The centres, more than six standard deviations apart.
    deviation : float
        The standard deviation of each Gaussian along each axis.
    least : int
        How many samples a mode needs to count as covered.

    Returns
    -------
    covered : int
        How many of the modes are covered.
    quality : float
        Share of the samples that belong to any mode. For the mixture itself it is
        1 - exp(-9 / 2), about 0.989, in two dimensions.

    References
    ----------
    A. Srivastava et al., *VEEGAN: reducing mode collapse in GANs using implicit
    variational learning* (NeurIPS 2017), section 4.1.
    """
    samples, modes = _two_tables(samples, modes, "mode_coverage", least=1)
    if not deviation > 0:
        raise ValueError(f"mode_coverage: the deviation must be positive, got {deviation}")
    distances = np.linalg.norm(samples[:, None] - modes, axis=-1)
    near = distances <= 3 * deviation
    return int((near.sum(axis=0) >= least).sum()), float(near.any(axis=1).mean())


# Bounds on the log-likelihood


def elbo(log_weights):
    """The evidence lower bound of each example, from sampled log-weights.

    Parameters
    ----------
    log_weights : array_like, shape (samples, examples)
        log p(x, z) - log q(z|x) in nats, for codes z drawn from q(z|x).

    Returns
    -------
    numpy.ndarray, shape (examples,)
        The mean over the samples; its expectation is at most log p(x).

    References
    ----------
    D. P. Kingma and M. Welling, *Auto-encoding variational Bayes* (ICLR 2014),
    equation 2.
    """
    return _log_weights(log_weights, "elbo").mean(axis=0)


def importance_weighted_bound(log_weights):
    """A tighter lower bound on log p(x) of each example: the log of the mean weight.

    For the same log-weights it is at least the `elbo`, since the logarithm is concave;
    with more samples its expectation does not fall, and tends to log p(x).

    Parameters
    ----------
    log_weights : array_like, shape (samples, examples)
        log p(x, z) - log q(z|x) in nats, for codes z drawn from q(z|x).

    Returns
    -------
    numpy.ndarray, shape (examples,)

    References
    ----------
    Y. Burda, R. Grosse and R. Salakhutdinov, *Importance weighted autoencoders* (ICLR
    2016), equation 8 and theorem 1.
    """
    log_weights = _log_weights(log_weights, "importance_weighted_bound")
    return logsumexp(log_weights, axis=0) - np.log(len(log_weights))


def _log_weights(array, name):
    array = np.asarray(array, dtype="float64")
    if array.ndim != 2 or not len(array):
        raise ValueError(
            f"{name} expects log-weights (samples, examples) with at least one sample, got "
            f"shape {array.shape}"
        )
    return array


# The classifier of chapter 4


def fashion_features(images, weights=None, batch_size=500):
    """Describe images of garments by 64 numbers, the strength of each feature map.

    They are the means over places of the last feature maps of chapter 4's classifier.

    Parameters
    ----------
    images : array_like, shape (examples, 28, 28) or (examples, 28, 28, 1)
        Grey values from 0 to 255, bright garments on black, whole numbers or not.
    weights : dict of str to numpy.ndarray or None
        The classifier's, as in the run "fashion-cnn", which is the default.
    batch_size : int
        How many images go through the network at once.

    Returns
    -------
    numpy.ndarray of float32, shape (examples, 64)

    Raises
    ------
    ValueError
        If the images have another shape or scale.
    """
    return _classify(images, weights, batch_size)[0]


def fashion_logits(images, weights=None, batch_size=500):
    """The logits of chapter 4's classifier; arguments as for `fashion_features`.

    Returns
    -------
    numpy.ndarray of float32, shape (examples, 10)
        The largest belongs to the class that the classifier answers.
    """
    return _classify(images, weights, batch_size)[1]


def _classify(images, weights, batch_size):
    """Features and logits; the network of chapter 4 in the engine, as it is when used."""
    images = _grey_values(images)
    weights = load_run("fashion-cnn") if weights is None else weights
    features, logits = [], []
    with no_grad():
        for start in range(0, len(images), batch_size):
            x = images[start : start + batch_size]
            x = (x - weights["grey_mean"]) / weights["grey_deviation"]
            x = x.astype("float32")
            for number in (1, 2, 3):
                kernel = Tensor(weights[f"conv{number}/kernel"])
                x = conv2d(Tensor(x), kernel, strides=2, padding="same").data
                gamma, beta, mean, variance = (
                    weights[f"norm{number}/{name}"]
                    for name in ("gamma", "beta", "moving_mean", "moving_variance")
                )
                scale = gamma / np.sqrt(variance + 0.001)
                x = np.maximum((x - mean) * scale + beta, 0)
            features.append(x.mean(axis=(1, 2)))
            rows = x.reshape(len(x), -1)
            logits.append(rows @ weights["dense/kernel"] + weights["dense/bias"])
    return np.concatenate(features), np.concatenate(logits)


def _grey_values(images):
    """Return images (examples, 28, 28, 1) after checking shape and scale."""
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[1:] != (28, 28, 1) or not len(images):
        raise ValueError(
            "expected images of shape (examples, 28, 28) or (examples, 28, 28, 1), got "
            f"{images.shape}"
        )
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 255):  # also where a value is not a number
        raise ValueError(f"expected grey values from 0 to 255, got values from {low} to {high}")
    if np.issubdtype(images.dtype, np.floating) and high <= 1:
        raise ValueError(
            f"expected grey values from 0 to 255, got at most {high}; if the images are "
            "scaled from 0 to 1, multiply them by 255"
        )
    return images


def _two_tables(first, second, name, least):
    first, second = _table(first, name, least), _table(second, name, least)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{name}: samples have {first.shape[1]} and {second.shape[1]} features; both "
            "need the same"
        )
    return first, second

"""Can a classifier be trusted? Attacks on its answers and on its training data, and two defences.

Robustness: images changed by little so that the classifier errs (`fgsm`, `pgd`; Keras models on TensorFlow's
backend). Calibration: does it say how sure it is (`expected_calibration_error`, `fit_temperature`). Privacy: who was
in the training data (`membership_auroc`), and training that hides it (`private_gradients`, in NumPy, for networks of
dense layers). Logits are ``(batch, classes)``, labels are class numbers ``(batch,)``.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score, roc_curve

# Robustness


def _loss_gradient(model, images, labels):
    """Gradient of each image's own cross-entropy with respect to its pixels."""
    import tensorflow as tf

    x = tf.convert_to_tensor(images, "float32")
    with tf.GradientTape() as tape:
        tape.watch(x)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(x))
    return tape.gradient(losses, x).numpy()


def _check_attack(name, images, labels, epsilon, low, high):
    if not epsilon >= 0:
        raise ValueError(f"{name}: epsilon must be at least 0, got {epsilon}")
    if len(images) != len(labels):
        raise ValueError(f"{name}: {len(images)} images but {len(labels)} labels")
    if images.min() < low or images.max() > high:
        raise ValueError(
            f"{name}: pixels must lie from {low} to {high}, got {images.min()} to "
            f"{images.max()}; pass the range of your images as low and high"
        )


def fgsm(model, images, labels, epsilon, low=0, high=255):
    """Change each pixel by `epsilon`, up or down, in the direction that raises the loss.

    Parameters
    ----------
    model : keras.Model
        Maps images to logits.
    images : numpy.ndarray, shape (batch, height, width, channels)
    labels : array of int, shape (batch,)
        The true classes.
    epsilon : float
        In the unit of the pixels, such as grey levels.
    low, high : float
        The range of the pixels; what leaves it is cut off.

    Returns
    -------
    numpy.ndarray of float32, the shape of `images`

    Raises
    ------
    ValueError
        If epsilon is negative, pixels lie outside the range, or the lengths differ.

    References
    ----------
    I. J. Goodfellow, J. Shlens and C. Szegedy, *Explaining and harnessing adversarial
    examples* (ICLR 2015), section 4.
    """
    _check_attack("fgsm", images, labels, epsilon, low, high)
    step = epsilon * np.sign(_loss_gradient(model, images, labels))
    return np.clip(images + step, low, high).astype("float32")


def pgd(model, images, labels, epsilon, *, steps=20, step_size=None, low=0, high=255, rng):
    """Repeat small steps of `fgsm`, and return after each to within `epsilon` of the image.

    Parameters
    ----------
    model, images, labels, epsilon, low, high
        As for `fgsm`.
    steps : int
    step_size : float or None
        By default 2.5 epsilon / steps, so that every point can be reached from any start.
    rng : numpy.random.Generator
        Draws the start, uniform within `epsilon` of the image.

    Returns
    -------
    numpy.ndarray of float32, the shape of `images`

    References
    ----------
    A. Mądry et al., *Towards deep learning models resistant to adversarial attacks* (ICLR
    2018), section 2.1.
    """
    _check_attack("pgd", images, labels, epsilon, low, high)
    if steps < 1:
        raise ValueError(f"pgd: steps must be at least 1, got {steps}")
    step_size = 2.5 * epsilon / steps if step_size is None else step_size
    # what is allowed: a box around each image, cut off at the range of the pixels
    least = np.maximum(images - np.float32(epsilon), low).astype("float32")
    most = np.minimum(images + np.float32(epsilon), high).astype("float32")
    changed = rng.uniform(least, most).astype("float32")
    for _ in range(steps):
        step = step_size * np.sign(_loss_gradient(model, changed, labels))
        changed = np.clip(changed + step, least, most).astype("float32")
    return changed


# Calibration


def reliability(probabilities, labels, bins=15):
    """Sort answers by how sure the classifier was, and compare with how often it was right.

    Parameters
    ----------
    probabilities : array_like, shape (examples, classes)
        Rows sum to 1. The confidence of an answer is the largest in its row.
    labels : array of int, shape (examples,)
    bins : int
        Bins of equal width from 0 to 1; each contains its upper end.

    Returns
    -------
    counts : numpy.ndarray of int, shape (bins,)
    confidence, accuracy : numpy.ndarray, shape (bins,)
        Means over the answers in each bin, NaN where there are none.

    Raises
    ------
    ValueError
        If rows do not sum to 1, or shapes do not fit.
    """
    probabilities, labels = np.asarray(probabilities, "float64"), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            "reliability expects probabilities (examples, classes) and labels (examples,), "
            f"got shapes {probabilities.shape} and {labels.shape}"
        )
    sums = probabilities.sum(axis=1)
    if not np.allclose(sums, 1, atol=1e-3) or probabilities.min() < 0:
        raise ValueError(
            f"reliability: rows must be probabilities that sum to 1, got sums from {sums.min():.3g} "
            f"to {sums.max():.3g}; apply softmax to logits first"
        )
    if bins < 1:
        raise ValueError(f"reliability: bins must be at least 1, got {bins}")
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    chosen = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(chosen, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 in empty bins
        confidence = np.bincount(chosen, sure, bins) / counts
        accuracy = np.bincount(chosen, right, bins) / counts
    return counts, confidence, accuracy


def expected_calibration_error(probabilities, labels, bins=15):
    """Mean distance between confidence and accuracy, over bins weighted by their answers.

    With finitely many examples it is above 0 even for a perfect classifier: compare with
    that of labels drawn from the probabilities.

    Parameters
    ----------
    probabilities, labels, bins
        As for `reliability`.

    Returns
    -------
    float, from 0 to 1

    References
    ----------
    C. Guo et al., *On calibration of modern neural networks* (ICML 2017), equation 3, with
    their 15 bins.
    """
    counts, confidence, accuracy = reliability(probabilities, labels, bins)
    filled = counts > 0
    gaps = np.abs(confidence - accuracy)[filled]
    return float((counts[filled] * gaps).sum() / counts.sum())


def fit_temperature(logits, labels):
    """The number by which to divide logits so that the cross-entropy is least.

    Parameters
    ----------
    logits : array_like, shape (examples, classes)
        Of examples that the model was not trained on, nor is tested on.
    labels : array of int, shape (examples,)

    Returns
    -------
    float, the temperature, from 0.05 to 20; above 1 the model was too sure

    References
    ----------
    C. Guo et al. (2017), section 4.2.
    """
    logits, labels = np.asarray(logits, "float64"), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            "fit_temperature expects logits (examples, classes) and labels (examples,), got "
            f"shapes {logits.shape} and {labels.shape}"
        )
    rows = np.arange(len(labels))

    def loss(log_temperature):
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean()

    best = minimize_scalar(loss, bounds=np.log([0.05, 20]), method="bounded")
    return float(np.exp(best.x))


# Privacy: the attack


def example_losses(logits, labels):
    """Cross-entropy of each example, shape (batch,), in nats."""
    return -log_softmax(np.asarray(logits, "float64"), axis=1)[np.arange(len(labels)), labels]


def membership_auroc(member_losses, other_losses):
    """How well small losses give away who was in the training data.

    The attack says "was trained on" where the loss is below a threshold; this is the area
    under its ROC curve over all thresholds.

    Parameters
    ----------
    member_losses, other_losses : array_like, shapes (members,), (others,)
        The model's loss on examples of its training, and on others of the same kind.

    Returns
    -------
    float
        The probability that a member's loss is the smaller one, ties counting half; 0.5 is
        guessing.

    References
    ----------
    S. Yeom et al., *Privacy risk in machine learning: analyzing the connection to
    overfitting* (CSF 2018), adversary 2, which fixes one threshold.
    """
    return float(roc_auc_score(*_scores(member_losses, other_losses)))


def membership_hits(member_losses, other_losses, false_alarms=0.01):
    """Share of the members that the attack finds when it accuses few others wrongly.

    Parameters
    ----------
    member_losses, other_losses
        As for `membership_auroc`.
    false_alarms : float
        The largest share of the others that may be called members.

    Returns
    -------
    float, the largest share at any such threshold; guessing finds `false_alarms`

    References
    ----------
    N. Carlini et al., *Membership inference attacks from first principles* (IEEE Symposium
    on Security and Privacy 2022), section III.
    """
    if not 0 <= false_alarms <= 1:
        raise ValueError(f"membership_hits: false_alarms is a share, got {false_alarms}")
    alarms, hits, _ = roc_curve(*_scores(member_losses, other_losses), drop_intermediate=False)
    return float(hits[alarms <= false_alarms].max())


def _scores(member_losses, other_losses):
    """Truth (1 for members) and score (larger is likelier a member) for scikit-learn."""
    losses = np.concatenate([member_losses, other_losses])
    if not len(member_losses) or not len(other_losses) or not np.isfinite(losses).all():
        raise ValueError(
            f"expected finite losses of members and others, got {len(member_losses)} and "
            f"{len(other_losses)}, {(~np.isfinite(losses)).sum()} of them not finite"
        )
    return np.repeat([1, 0], [len(member_losses), len(other_losses)]), -losses


# Privacy: the defence


def poisson_batch(examples, rate, rng):
    """Indices of a batch in which each example is with probability `rate`, independently.

    The size varies around ``rate * examples``; the accountant's theorem wants it so.
    """
    if not 0 < rate <= 1:
        raise ValueError(f"poisson_batch: the rate is a probability above 0, got {rate}")
    return np.flatnonzero(rng.random(examples) < rate)


def dense_forward(weights, x):
    """Inputs of all layers of a dense ReLU network, and its logits.

    Parameters
    ----------
    weights : list of (kernel, bias)
        Shapes (inputs, outputs) and (outputs,); ReLU after each layer but the last.
    x : numpy.ndarray, shape (batch, features)

    Returns
    -------
    list of numpy.ndarray
        What layer 1, 2, ... sees, (batch, inputs); the last one is the logits.
    """
    outputs = [x]
    for layer, (kernel, bias) in enumerate(weights, start=1):
        z = outputs[-1] @ kernel + bias
        outputs.append(z if layer == len(weights) else np.maximum(z, 0))
    return outputs


def dense_deltas(weights, outputs, labels):
    """Derivative of *each example's own* cross-entropy with respect to each pre-activation.

    Parameters
    ----------
    weights : list of (kernel, bias)
    outputs : list of numpy.ndarray
        As `dense_forward` returns it.
    labels : array of int, shape (batch,)

    Returns
    -------
    list of numpy.ndarray, one a layer, shape (batch, outputs)
    """
    logits = outputs[-1]
    delta = np.exp(log_softmax(logits, axis=1))
    delta[np.arange(len(labels)), labels] -= 1
    deltas = [delta]
    for (kernel, _), hidden in zip(weights[:0:-1], outputs[-2:0:-1]):
        delta = (delta @ kernel.T) * (hidden > 0)
        deltas.append(delta)
    return deltas[::-1]


def gradient_norms(inputs, deltas):
    """Length of each example's gradient, all layers together, without computing the gradients.

    An example's gradient for a dense layer is the outer product of input and delta, and
    the length of an outer product is the product of the lengths; the bias adds a 1.

    Parameters
    ----------
    inputs, deltas : list of numpy.ndarray
        One a layer: (batch, inputs) and (batch, outputs).

    Returns
    -------
    numpy.ndarray, shape (batch,)

    References
    ----------
    I. Goodfellow, *Efficient per-example gradient computations* (2015), arXiv:1510.01799.
    """
    squares = sum(
        ((x**2).sum(axis=1) + 1) * (delta**2).sum(axis=1) for x, delta in zip(inputs, deltas)
    )
    return np.sqrt(squares)


def private_gradients(inputs, deltas, *, clip, noise_multiplier, expected_batch, rng):
    """Sum the examples' gradients, each shortened to length `clip`, and add noise.

    Parameters
    ----------
    inputs, deltas : list of numpy.ndarray
        One a layer: (batch, inputs) and (batch, outputs), from `dense_forward` and
        `dense_deltas`. An empty batch is allowed.
    clip : float
        The largest length of one example's gradient; infinite for no clipping.
    noise_multiplier : float
        Standard deviation of the noise in each coordinate, in units of `clip`; 0 for none.
    expected_batch : float
        What the sum is divided by: the mean batch size, not the size of this one, which
        would give something away.
    rng : numpy.random.Generator

    Returns
    -------
    list of (kernel, bias)

    Raises
    ------
    ValueError
        If clip is not positive, the multiplier negative, or noise asked for without clip.

    References
    ----------
    M. Abadi et al., *Deep learning with differential privacy* (CCS 2016), algorithm 1.
    """
    if not clip > 0 or not noise_multiplier >= 0:
        raise ValueError(
            "private_gradients: expected clip > 0 and noise_multiplier >= 0, got "
            f"{clip} and {noise_multiplier}"
        )
    if noise_multiplier and np.isinf(clip):
        raise ValueError("private_gradients: noise is measured in clips; give a finite clip")
    norms = gradient_norms(inputs, deltas)
    factors = np.minimum(1, clip / np.maximum(norms, 1e-12))[:, None]
    deviation = noise_multiplier * clip if noise_multiplier else 0.0

    def noisy(total):
        noise = rng.standard_normal(total.shape, total.dtype)
        return (total + total.dtype.type(deviation) * noise) / expected_batch

    return [
        (noisy(x.T @ (factors * delta)), noisy((factors * delta).sum(axis=0)))
        for x, delta in zip(inputs, deltas)
    ]


def auroc_bound(epsilon):
    """The largest AUROC that any membership attack can have against (epsilon, 0)-privacy.

    Such privacy allows at most ``hits <= e^epsilon * alarms`` and the same with the errors
    exchanged; the area under these two lines is ``e^epsilon / (1 + e^epsilon)``.

    References
    ----------
    P. Kairouz, S. Oh and P. Viswanath, *The composition theorem for differential privacy*
    (ICML 2015), theorem 2.1, for the region of errors.
    """
    if not epsilon >= 0:
        raise ValueError(f"auroc_bound: epsilon must be at least 0, got {epsilon}")
    return float(1 / (1 + np.exp(-epsilon)))

"""Where in an image does a Keras classifier see the evidence for a class?

Answers from the network's inside (saliency, integrated gradients, guided backpropagation,
Grad-CAM) and from its outside (occlusion), and what a test of the answers needs: a copy of
the network that has learnt nothing, and the likeness of two maps. All take models that
return logits, on Keras's TensorFlow backend.
"""

import numpy as np
from scipy.stats import rankdata


def _classes(logits, classes):
    """The class to explain for each image: the one the model answers, unless given."""
    return logits.argmax(axis=1) if classes is None else np.asarray(classes)


def grad_cam(model, images, layer, classes=None):
    """Map of class evidence from the feature maps of a convolutional layer.

    Each feature map is weighted by the mean gradient of the class's logit with respect to
    it; the weighted maps are added, and what speaks against the class is cut off.

    Parameters
    ----------
    model : keras.Model
        Maps images to logits (batch, classes).
    images : numpy.ndarray, shape (batch, height, width, channels)
    layer : str
        Name of a layer with output (batch, rows, columns, filters).
    classes : array of int, shape (batch,), or None
        The class to explain; by default the one with the largest logit.

    Returns
    -------
    numpy.ndarray, shape (batch, height, width)
        Scaled to a largest value of 1 per image (all 0 where nothing speaks for the class)
        and enlarged to the size of the image.

    Raises
    ------
    ValueError
        If the layer's output is not a stack of feature maps.

    References
    ----------
    R. R. Selvaraju et al., *Grad-CAM* (ICCV 2017), equations 1 and 2.
    """
    import keras
    import tensorflow as tf

    features = model.get_layer(layer).output
    if len(features.shape) != 4:
        raise ValueError(
            f"grad_cam: layer {layer!r} has output shape {features.shape}, expected feature "
            "maps (batch, rows, columns, filters); name a convolutional layer"
        )
    both = keras.Model(model.inputs[0], [features, model.outputs[0]])
    with tf.GradientTape() as tape:
        maps, logits = both(images)
        chosen = _classes(np.asarray(logits), classes)
        score = tf.reduce_sum(tf.gather(logits, chosen, axis=1, batch_dims=1))
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    evidence = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True))
    evidence = tf.image.resize(evidence, images.shape[1:3])[..., 0].numpy()
    largest = evidence.max(axis=(1, 2), keepdims=True)
    return evidence / np.where(largest > 0, largest, 1)


def occlusion(model, images, size=7, step=2, fill=None, classes=None):
    """Map of class evidence from covering part of the image: how much the logit falls.

    A square is moved over the image; each pixel gets the mean fall of the class's logit
    over all squares that covered it. Negative values: covering helped.

    Parameters
    ----------
    model, images, classes
        As for `grad_cam`.
    size, step : int
        Side of the square and distance of its positions, in pixels.
    fill : float or None
        What to put in the square; by default the smallest value of the images.

    Returns
    -------
    numpy.ndarray, shape (batch, height, width), in units of the logit

    Raises
    ------
    ValueError
        If the square is larger than the images or the step larger than the square.

    References
    ----------
    M. D. Zeiler and R. Fergus, *Visualizing and understanding convolutional networks*
    (ECCV 2014), section 4.2.
    """
    batch, height, width = images.shape[:3]
    if not 0 < step <= size <= min(height, width):
        raise ValueError(
            f"occlusion: expected 0 < step <= size <= {min(height, width)}, got step {step}, "
            f"size {size}"
        )
    fill = images.min() if fill is None else fill
    logits = np.asarray(model(images))
    rows, chosen = np.arange(batch), _classes(logits, classes)
    fall, times = np.zeros((batch, height, width)), np.zeros((height, width))
    for top in {*range(0, height - size, step), height - size}:
        for left in {*range(0, width - size, step), width - size}:
            square = slice(top, top + size), slice(left, left + size)
            covered = images.copy()
            covered[:, *square] = fill
            change = logits[rows, chosen] - np.asarray(model(covered))[rows, chosen]
            fall[:, *square] += change[:, None, None]
            times[square] += 1
    return fall / times


def image_gradient(model, images, classes=None):
    """Gradient of the class's logit with respect to each pixel.

    Parameters
    ----------
    model, images, classes
        As for `grad_cam`.

    Returns
    -------
    numpy.ndarray, the shape of `images`, in units of the logit per unit of the pixels
    """
    import tensorflow as tf

    x = tf.convert_to_tensor(images, "float32")
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = model(x)
        chosen = _classes(np.asarray(logits), classes)
        score = tf.reduce_sum(tf.gather(logits, chosen, axis=1, batch_dims=1))
    return tape.gradient(score, x).numpy()


def saliency(model, images, classes=None):
    """Map of how much a small change of each pixel would change the class's logit.

    Parameters
    ----------
    model, images, classes
        As for `grad_cam`.

    Returns
    -------
    numpy.ndarray, shape (batch, height, width)
        The absolute gradient, of the channel where it is largest.

    References
    ----------
    K. Simonyan, A. Vedaldi and A. Zisserman, *Deep inside convolutional networks* (2013),
    arXiv:1312.6034, section 3.1.
    """
    return np.abs(image_gradient(model, images, classes)).max(axis=-1)


def integrated_gradients(model, images, baseline=0, steps=50, classes=None):
    """Share out among the pixels by how much the class's logit exceeds that of a baseline.

    Gradients are averaged along the straight line from the baseline to the image (midpoint
    rule) and multiplied by the difference of the two.

    Parameters
    ----------
    model, images, classes
        As for `grad_cam`.
    baseline : float or numpy.ndarray that broadcasts to `images`
        An image that shows nothing; 0 is black if pixels are grey values.
    steps : int

    Returns
    -------
    numpy.ndarray, shape (batch, height, width), in units of the logit
        Summed over channels. Each map sums, but for the error of the midpoint rule, to the
        logit of the image minus that of the baseline: completeness.

    Raises
    ------
    ValueError
        If there is not at least one step.

    References
    ----------
    M. Sundararajan, A. Taly and Q. Yan, *Axiomatic attribution for deep networks* (ICML
    2017), equations 1 and 3.
    """
    if steps < 1:
        raise ValueError(f"integrated_gradients: steps must be at least 1, got {steps}")
    images = np.asarray(images, "float32")
    chosen = _classes(np.asarray(model(images)), classes)
    difference = images - np.float32(baseline)
    mean = np.zeros_like(images)
    for step in range(steps):
        point = images - difference * np.float32(1 - (step + 0.5) / steps)
        mean += image_gradient(model, point, chosen) / steps
    return (mean * difference).sum(axis=-1)


def completeness_error(model, images, maps, baseline=0, classes=None):
    """How far the sums of maps are from what they share out, relative to it.

    Parameters
    ----------
    model, images, baseline, classes
        As for `integrated_gradients`.
    maps : numpy.ndarray, shape (batch, height, width)

    Returns
    -------
    float
        Sum of the absolute errors divided by the sum of the absolute differences of logits,
        over the images; 0 is complete.
    """
    logits = np.asarray(model(images))
    rows, chosen = np.arange(len(images)), _classes(logits, classes)
    empty = np.broadcast_to(np.float32(baseline), images.shape)
    differences = logits[rows, chosen] - np.asarray(model(empty))[rows, chosen]
    errors = maps.sum(axis=(1, 2)) - differences
    return float(np.abs(errors).sum() / np.abs(differences).sum())


def _with_relu(model, relu):
    """A copy of the model, with its weights, that applies `relu` in place of each ReLU."""
    import keras

    def copy(layer):
        clone = layer.__class__.from_config(layer.get_config())
        if isinstance(layer, keras.layers.ReLU):
            clone = keras.layers.Activation(relu, name=layer.name)
        elif getattr(layer, "activation", None) is keras.activations.relu:
            clone.activation = relu
        return clone

    clone = keras.models.clone_model(model, clone_function=copy)
    clone.set_weights(model.get_weights())
    return clone


def guided_backpropagation(model, images, classes=None):
    """Like `saliency`, but at each ReLU on the way back negative gradients are set to zero.

    Parameters
    ----------
    model, images, classes
        As for `grad_cam`.

    Returns
    -------
    numpy.ndarray, shape (batch, height, width)
        Absolute values, of the channel where they are largest. They are no gradient of
        anything.

    References
    ----------
    J. T. Springenberg et al., *Striving for simplicity: the all convolutional net* (ICLR
    workshop 2015), arXiv:1412.6806, section 3.4.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def guided(z):
        positive = tf.cast(z > 0, z.dtype)
        return z * positive, lambda upstream: tf.nn.relu(upstream) * positive

    classes = _classes(np.asarray(model(images)), classes)
    return saliency(_with_relu(model, guided), images, classes)


def randomised(model, layers=None):
    """A copy of the model in which some layers have forgotten what they learnt.

    Parameters
    ----------
    model : keras.Model
    layers : sequence of str or None
        Names of the layers that get new initial weights; by default all. The others keep
        theirs.

    Returns
    -------
    keras.Model

    References
    ----------
    J. Adebayo et al., *Sanity checks for saliency maps* (NeurIPS 2018), section 3.
    """
    import keras

    known = [layer.name for layer in model.layers]
    for name in layers or ():
        if name not in known:
            raise ValueError(f"randomised: no layer {name!r}; there are {', '.join(known)}")
    copy = keras.models.clone_model(model)  # with new initial weights
    for old, new in zip(model.layers, copy.layers):
        if layers is not None and old.name not in layers:
            new.set_weights(old.get_weights())
    return copy


def rank_correlation(maps, others):
    """Spearman's correlation of each map with its counterpart.

    Parameters
    ----------
    maps, others : numpy.ndarray, shape (batch, height, width)

    Returns
    -------
    numpy.ndarray, shape (batch,)
        From -1 to 1: do the same pixels come first? Ties share a mean rank. NaN where a map
        has the same value everywhere and ranks nothing.

    References
    ----------
    C. Spearman, *The proof and measurement of association between two things* (American
    Journal of Psychology 15, 1904).
    """
    if np.shape(maps) != np.shape(others) or np.ndim(maps) != 3:
        raise ValueError(
            "rank_correlation: expected two stacks of maps (batch, height, width), got shapes "
            f"{np.shape(maps)} and {np.shape(others)}"
        )
    first, second = (rankdata(np.reshape(m, (len(m), -1)), axis=1) for m in (maps, others))
    first, second = (rank - rank.mean(axis=1, keepdims=True) for rank in (first, second))
    lengths = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return (first * second).sum(axis=1) / lengths

"""Where in an image does a Keras classifier see the evidence for a class?

Two answers: from the network's inside (Grad-CAM) and from its outside (occlusion). Both take
models that return logits, on Keras's TensorFlow backend.
"""

import numpy as np


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

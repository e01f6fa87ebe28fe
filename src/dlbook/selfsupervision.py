"""Learning from examples without labels: a task made of the images themselves, and labels that a model gives itself."""

import numpy as np


def rotation_task(images):
    """Each image at its four right angles, with the number of quarter turns as its label.

    Parameters
    ----------
    images : numpy.ndarray, shape (batch, size, size, ...)
        Square, or a turned copy would not fit into the same array.

    Returns
    -------
    turned : numpy.ndarray, shape (4 * batch, size, size, ...)
        First all images as they are, then all turned by a quarter to the left, by a half, by three quarters.
    quarter_turns : numpy.ndarray of int64, shape (4 * batch,)
        0 to 3, the label of each.

    Raises
    ------
    ValueError
        If `images` has fewer than three axes or is not square.

    References
    ----------
    S. Gidaris, P. Singh and N. Komodakis, *Unsupervised representation learning by predicting image rotations*
    (ICLR 2018).
    """
    images = np.asarray(images)
    if images.ndim < 3 or images.shape[1] != images.shape[2]:
        raise ValueError(
            f"rotation_task expects square images (batch, size, size, ...), got shape {images.shape}; "
            "crop or pad them first"
        )
    turned = [np.rot90(images, turns, axes=(1, 2)) for turns in range(4)]
    return np.concatenate(turned), np.repeat(np.arange(4), len(images))


def most_confident(scores, number):
    """The examples that a classifier is surest of, the same number from each class it predicts, and its labels for them.

    Parameters
    ----------
    scores : numpy.ndarray, shape (examples, classes)
        Logits or probabilities; at least two classes.
    number : int
        How many to keep of each class, at least 1; a class that is predicted less often gives all it has.

    Returns
    -------
    rows, labels : numpy.ndarray of int64
        The chosen rows of `scores`, class by class, surest first, and the class predicted for each. Sure is what has
        the largest distance between the best score and the second best.

    Raises
    ------
    ValueError
        If `scores` is not such a table or `number` is below 1.

    References
    ----------
    D.-H. Lee, *Pseudo-label* (ICML 2013 workshop on challenges in representation learning).
    """
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(
            f"most_confident expects scores (examples, classes) of two or more classes, got shape {scores.shape}"
        )
    if number < 1:
        raise ValueError(f"most_confident: number is {number}; expected 1 or more for each class")
    predicted = scores.argmax(axis=1)
    best_two = np.sort(scores, axis=1)[:, -2:]
    surest_first = np.argsort(best_two[:, 0] - best_two[:, 1], kind="stable")  # largest gap first
    rows = np.concatenate(
        [
            surest_first[predicted[surest_first] == label][:number]
            for label in range(scores.shape[1])
        ]
    )
    return rows, predicted[rows]

"""The first neurons: threshold units with fixed weights (McCulloch and Pitts) and with learnt ones (Rosenblatt)."""

import itertools

import numpy as np


def threshold_unit(inputs, weights, threshold):
    """Answer 1 where the weighted sum of the inputs reaches the threshold, else 0.

    Parameters
    ----------
    inputs : array, shape (..., inputs)
        Usually 0 and 1.
    weights : array, shape (inputs,)
    threshold : float

    Returns
    -------
    numpy.ndarray of int64, shape (...)

    Raises
    ------
    ValueError
        If the last axis of `inputs` and `weights` have different lengths.

    References
    ----------
    W. S. McCulloch and W. Pitts, *A logical calculus of the ideas immanent in nervous
    activity* (1943). There every excitatory input counts the same, and an inhibitory
    one forbids the unit to fire; here it is a negative weight.
    """
    inputs, weights = np.asarray(inputs), np.asarray(weights)
    if weights.ndim != 1 or inputs.shape[-1:] != weights.shape:
        raise ValueError(
            f"threshold_unit expects inputs (..., n) and weights (n,), "
            f"got {inputs.shape} and {weights.shape}"
        )
    return (inputs @ weights >= threshold).astype("int64")


def search_units(weight_values, threshold_values):
    """Try every unit of two inputs on a grid; count which logical functions they compute.

    Parameters
    ----------
    weight_values, threshold_values : sequence of float
        Each weight takes every value of the first, the threshold every one of the
        second, in all combinations.

    Returns
    -------
    dict of (int, int, int, int) to int
        For each of the 16 truth tables, the answers to the inputs 00, 01, 10 and 11,
        how many units of the grid have it.
    """
    corners = np.array(list(itertools.product((0, 1), repeat=2)))
    first, second, threshold = (
        values.ravel()
        for values in np.meshgrid(weight_values, weight_values, threshold_values, indexing="ij")
    )
    sums = corners @ np.stack([first, second])  # (4 inputs, units)
    numbers = (1 << np.arange(3, -1, -1)) @ (sums >= threshold)  # a truth table as a binary number
    counts = np.bincount(numbers, minlength=16).tolist()
    return dict(zip(itertools.product((0, 1), repeat=4), counts))


def train_perceptron(inputs, signs, max_epochs=1000, order=None):
    """Rosenblatt's rule: go through the examples, and add each mistaken one to the weights.

    ``weights += sign * input`` where ``sign * (input @ weights) <= 0``, from weights of
    zero, until a whole pass makes no mistake. There is no bias: append a column of
    ones to the inputs. A learning rate would only multiply the weights,
    because they begin at zero.

    Parameters
    ----------
    inputs : array of float, shape (examples, features)
    signs : array, shape (examples,)
        The class of each example, -1 or 1.
    max_epochs : int
        Give up after so many passes; on classes that no plane through zero separates
        the rule never ends by itself.
    order : array of int, shape (examples,), or None
        In which order each pass visits the examples; None means as they come.

    Returns
    -------
    weights : numpy.ndarray of float64, shape (features,)
    mistakes : list of int
        The mistakes of each pass; the last is 0 where the rule has ended by itself.

    Raises
    ------
    ValueError
        If shapes do not fit, a sign is neither -1 nor 1, or an input is not finite.

    References
    ----------
    F. Rosenblatt, *Principles of Neurodynamics* (1962), the error-correction procedure;
    A. B. J. Novikoff, *On convergence proofs on perceptrons* (1962), for the bound.
    """
    inputs, signs = np.asarray(inputs, "float64"), np.asarray(signs, "float64")
    if inputs.ndim != 2 or signs.shape != inputs.shape[:1] or len(signs) == 0:
        raise ValueError(
            "train_perceptron expects inputs (examples, features) and signs (examples,), "
            f"at least one, got {inputs.shape} and {signs.shape}"
        )
    if not np.isin(signs, (-1, 1)).all():
        wrong = signs[~np.isin(signs, (-1, 1))][0]
        raise ValueError(f"train_perceptron: signs must be -1 or 1, got {wrong:g}; map 0 to -1")
    if not np.isfinite(inputs).all():
        raise ValueError("train_perceptron: an input is not finite; remove nan and infinity")
    visits = range(len(signs)) if order is None else order
    weights, mistakes = np.zeros(inputs.shape[1]), []
    for _ in range(max_epochs):
        wrong = 0
        for i in visits:
            if signs[i] * (inputs[i] @ weights) <= 0:
                weights += signs[i] * inputs[i]
                wrong += 1
        mistakes.append(wrong)
        if wrong == 0:
            break
    return weights, mistakes


def mistake_bound(inputs, signs, direction):
    """The most mistakes that `train_perceptron` can make: (largest length / margin)².

    Parameters
    ----------
    inputs : array of float, shape (examples, features)
    signs : array, shape (examples,)
        -1 or 1.
    direction : array of float, shape (features,)
        Any vector that separates the classes, of any length. The wider its margin,
        the smaller the bound.

    Returns
    -------
    bound, radius, margin : float

    Raises
    ------
    ValueError
        If `direction` does not separate the classes.

    References
    ----------
    Novikoff (1962); the proof stands in chapter 1.
    """
    inputs, direction = np.asarray(inputs, "float64"), np.asarray(direction, "float64")
    margins = signs * (inputs @ direction) / np.linalg.norm(direction)
    margin = float(margins.min())
    if not margin > 0:
        raise ValueError(
            f"mistake_bound: direction leaves {int((~(margins > 0)).sum())} of {len(margins)} examples "
            "on the wrong side or on the boundary; pass one that separates the classes"
        )
    radius = float(np.linalg.norm(inputs, axis=1).max())
    return (radius / margin) ** 2, radius, margin

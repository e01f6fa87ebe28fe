"""The first neurons: units against truth tables, the rule against a slow reading of it, the bound against mistakes made."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from dlbook.perceptron import mistake_bound, search_units, threshold_unit, train_perceptron
from hypothesis import given
from hypothesis import strategies as st

CORNERS = list(itertools.product((0, 1), repeat=2))
XOR, XNOR = (0, 1, 1, 0), (1, 0, 0, 1)


@pytest.mark.parametrize(
    "weights, threshold, function",
    [
        ([1, 1], 2, lambda a, b: a and b),
        ([1, 1], 1, lambda a, b: a or b),
        ([-1, -1], -1, lambda a, b: not (a and b)),
    ],
)
def test_gates(weights, threshold, function):
    """At the threshold itself a unit fires: AND depends on it."""
    answers = threshold_unit(CORNERS, weights, threshold)
    assert answers.tolist() == [int(function(a, b)) for a, b in CORNERS]
    assert threshold_unit(CORNERS[3], weights, threshold) == int(function(1, 1))


@given(
    weights=st.lists(st.integers(-3, 3), min_size=1, max_size=3, unique=True),
    thresholds=st.lists(st.integers(-5, 5), min_size=1, max_size=4, unique=True),
)
def test_search_counts_like_plain_loops(weights, thresholds):
    expected = dict.fromkeys(itertools.product((0, 1), repeat=4), 0)
    for first, second, threshold in itertools.product(weights, weights, thresholds):
        expected[tuple(int(a * first + b * second >= threshold) for a, b in CORNERS)] += 1
    assert search_units(weights, thresholds) == expected


def test_search_finds_fourteen_functions_and_neither_xor_nor_its_opposite():
    counts = search_units(range(-2, 3), np.arange(-4, 4.5, 0.5))
    assert sum(counts.values()) == 5 * 5 * 17
    assert {table for table, count in counts.items() if count == 0} == {XOR, XNOR}


def test_rule_by_hand():
    """x₁ = 2 is wrong at the start (0 is not positive), and so are two more; worked out on paper."""
    weights, mistakes = train_perceptron([[2, 1], [1, -1], [0, 1]], [1, -1, 1])
    # pass 1: w = (2,1); x2: 2-1 = 1 is wrong, w = (1,2); x3: 2 right. Pass 2: 4, -1 and 2, all right.
    assert weights.tolist() == [1, 2] and mistakes == [2, 0]
    # in another order: x3 wrong, w = (0,1); x1: 1 right; x2: -1 right
    weights, mistakes = train_perceptron([[2, 1], [1, -1], [0, 1]], [1, -1, 1], order=[2, 0, 1])
    assert weights.tolist() == [0, 1] and mistakes == [1, 0]


@given(seed=st.integers(0, 10_000), examples=st.integers(1, 40), features=st.integers(1, 5))
def test_mistakes_stay_below_the_bound(seed, examples, features):
    """Whole numbers, so that every sum is exact, and a direction that separates them by construction."""
    rng = np.random.default_rng(seed)
    direction = rng.integers(-5, 6, features)
    inputs = rng.integers(-9, 10, (examples, features))
    keep = inputs @ direction != 0
    if not keep.any():
        return
    inputs, signs = inputs[keep], np.sign(inputs[keep] @ direction)
    # (R / margin)² as a fraction, from the definition
    squares = max(int(x @ x) for x in inputs)
    margin = min(int(s * (x @ direction)) for x, s in zip(inputs, signs))
    exact = Fraction(squares * int(direction @ direction), margin**2)
    bound, radius, gamma = mistake_bound(inputs, signs, direction)
    assert bound == pytest.approx(float(exact), rel=1e-12)
    assert radius**2 == pytest.approx(squares) and bound == pytest.approx((radius / gamma) ** 2)

    weights, mistakes = train_perceptron(inputs, signs, max_epochs=int(exact) + 2)
    assert mistakes[-1] == 0 and sum(mistakes) <= exact
    assert (signs * (inputs @ weights) > 0).all()
    scaled, again = train_perceptron(4 * inputs, signs, max_epochs=int(exact) + 2)
    assert again == mistakes and (scaled == 4 * weights).all()  # the scale changes nothing


def test_bound_is_reached():
    """Orthogonal inputs of length 1: each of n is one mistake, and the best margin is 1/√n."""
    n = 7
    _, mistakes = train_perceptron(np.eye(n), np.ones(n))
    bound, _, _ = mistake_bound(np.eye(n), np.ones(n), np.ones(n))
    assert mistakes == [n, 0] and bound == pytest.approx(n)


def test_xor_never_ends():
    inputs = np.array([[a, b, 1] for a, b in CORNERS])
    _, mistakes = train_perceptron(inputs, [-1, 1, 1, -1], max_epochs=200)
    assert len(mistakes) == 200 and min(mistakes) > 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: threshold_unit([[0, 1]], [1, 1, 1], 1), r"got \(1, 2\) and \(3,\)"),
        (lambda: train_perceptron([1, 2], [1, 1]), r"got \(2,\) and \(2,\)"),
        (lambda: train_perceptron([[1.0], [2]], [1]), r"got \(2, 1\) and \(1,\)"),
        (lambda: train_perceptron(np.zeros((0, 3)), []), "at least one"),
        (lambda: train_perceptron([[1.0]], [0]), "must be -1 or 1, got 0; map 0 to -1"),
        (lambda: train_perceptron([[np.nan]], [1]), "not finite; remove nan"),
        (
            lambda: mistake_bound([[1.0], [-1], [0]], np.array([1, 1, 1]), [1.0]),
            "leaves 2 of 3 examples on the wrong side or on the boundary",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Windows of a series: against a loop that asks of every hour whether it may be used, and against the future."""

import numpy as np
import pytest
from dlbook.series import windows
from hypothesis import given, settings
from hypothesis import strategies as st

settings.register_profile("book", deadline=None, max_examples=50)
settings.load_profile("book")

HOURS = 40
VALUES = np.arange(HOURS * 2.0).reshape(HOURS, 2)
TARGETS = 100.0 + np.arange(HOURS)

parts = (
    st.tuples(st.integers(0, HOURS), st.integers(0, HOURS))
    .map(sorted)
    .filter(lambda p: p[0] < p[1])
)
horizon_lists = st.lists(st.integers(1, 8), min_size=1, max_size=4)


def by_loop(history, horizons, start, stop):
    """Straight from the definition: one hour after the other, one target after the other."""
    found = []
    for t in range(HOURS):
        past = range(t - history + 1, t + 1)
        future = [t + h for h in horizons]
        if past[0] >= 0 and all(start <= hour < stop for hour in future):
            found.append(([VALUES[hour] for hour in past], [TARGETS[hour] for hour in future], t))
    return found


@given(st.integers(1, 12), horizon_lists, parts)
def test_windows_are_those_of_the_definition(history, horizons, part):
    expected = by_loop(history, horizons, *part)
    if not expected:
        with pytest.raises(ValueError, match="no hour has"):
            windows(VALUES, TARGETS, history, horizons, *part)
        return
    inputs, answers, now = windows(VALUES, TARGETS, history, horizons, *part)
    for found, wanted in zip((inputs, answers, now), zip(*expected), strict=True):
        np.testing.assert_array_equal(found, np.array(wanted))


@given(st.integers(1, 12), horizon_lists, st.integers(13, 28))
def test_no_window_sees_what_comes_after_its_hour(history, horizons, changed):
    """Changing everything from one hour on leaves all inputs alone that were known before it."""
    inputs, _, now = windows(VALUES, TARGETS, history, horizons, 0, HOURS)
    other = VALUES.copy()
    other[changed:] = -1
    others = windows(other, TARGETS, history, horizons, 0, HOURS)[0]
    before = now < changed
    np.testing.assert_array_equal(inputs[before], others[before])
    assert (inputs[~before] != others[~before]).any(axis=(1, 2)).all()


@given(st.integers(1, 6), horizon_lists, st.integers(15, 25))
def test_parts_that_meet_share_no_target(history, horizons, border):
    earlier = windows(VALUES, TARGETS, history, horizons, 0, border)[1]
    later = windows(VALUES, TARGETS, history, horizons, border, HOURS)[1]
    assert earlier.max() < later.min()


def test_the_shortest_part_gives_one_window():
    inputs, answers, now = windows(VALUES, TARGETS, 3, [1, 4], 10, 14)
    np.testing.assert_array_equal(inputs, [VALUES[7:10]])
    np.testing.assert_array_equal(answers, [[110, 113]])
    np.testing.assert_array_equal(now, [9])


def test_inputs_cannot_be_written_to():
    inputs, _, _ = windows(VALUES, TARGETS, 3, [1], 0, HOURS)
    with pytest.raises(ValueError):
        inputs[0, 0, 0] = 1  # the hours are shared by all windows


def test_a_target_that_was_not_observed_stays_visible():
    targets = TARGETS.copy()
    targets[20] = np.nan
    _, answers, now = windows(VALUES, targets, 3, [1, 2], 0, HOURS)
    rows, columns = np.nonzero(np.isnan(answers))
    np.testing.assert_array_equal(now[rows] + columns + 1, [20, 20])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"values": VALUES[:, 0]}, r"values \(hours, features\).*\(40,\) and \(40,\)"),
        ({"targets": TARGETS[1:]}, r"\(40, 2\) and \(39,\)"),
        ({"history": 0}, "history is 0"),
        ({"horizons": [3, 0]}, r"horizons are \[3, 0\]"),
        ({"horizons": []}, r"horizons are \[\]"),
        ({"horizons": 24}, "horizons are 24"),
        ({"start": -1}, "start -1"),
        ({"start": 30, "stop": 30}, "start 30 and stop 30"),
        ({"stop": 41}, "stop 41"),
        ({"start": 20, "stop": 23, "horizons": [1, 5]}, "no hour has 3 hours behind it"),
    ],
)
def test_what_cannot_be_is_refused(changes, words):
    good = {
        "values": VALUES,
        "targets": TARGETS,
        "history": 3,
        "horizons": [1],
        "start": 0,
        "stop": HOURS,
    }
    windows(**good)
    with pytest.raises(ValueError, match=words):
        windows(**good | changes)

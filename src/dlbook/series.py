"""Windows of a series: what a forecast may know, and what it has to say.

References: the book's chapter "Recurrent networks", section "The weather of tomorrow".
"""

import numpy as np


def windows(values, targets, history, horizons, start, stop):
    """Cut a series into examples for a forecast, split in time.

    The forecast made at hour t knows ``values[t - history + 1 : t + 1]``, the last
    `history` hours up to t itself, and is to say ``targets[t + h]`` for each horizon h.
    All t are taken for which every target lies in ``[start, stop)``. The inputs may
    begin before `start`: the past is known. So the parts of a split whose borders meet
    have no target in common.

    Parameters
    ----------
    values : numpy.ndarray, shape (hours, features)
        What is known of each hour.
    targets : numpy.ndarray, shape (hours,)
        What is to be forecast; NaN where it was not observed.
    history : int
        Hours that a forecast looks back, 1 or more.
    horizons : sequence of int
        How many hours ahead, each 1 or more.
    start, stop : int
        The first hour that may be a target, and the first one after it that may not.

    Returns
    -------
    inputs : numpy.ndarray, shape (examples, history, features)
        A read-only view of `values` that takes no memory of its own.
    answers : numpy.ndarray, shape (examples, horizons)
    now : numpy.ndarray of int, shape (examples,)
        The hour t at which each forecast is made.

    Raises
    ------
    ValueError
        If shapes do not belong together, a horizon is not in the future, the part lies
        outside the series, or no hour has both its history and its targets.
    """
    values, targets, horizons = map(np.asarray, (values, targets, horizons))
    if values.ndim != 2 or targets.shape != values.shape[:1]:
        raise ValueError(
            "windows expects values (hours, features) and targets (hours,), got "
            f"{values.shape} and {targets.shape}"
        )
    if history < 1:
        raise ValueError(f"windows: history is {history}; expected 1 hour or more")
    if horizons.ndim != 1 or horizons.size == 0 or horizons.min() < 1:
        raise ValueError(
            f"windows: horizons are {horizons.tolist()}; expected a list of hours ahead, each "
            "1 or more, because a target at or before the present would be among the inputs"
        )
    if not 0 <= start < stop <= len(values):
        raise ValueError(
            f"windows: start {start} and stop {stop} do not mark a part of the "
            f"{len(values)} hours; expected 0 <= start < stop <= {len(values)}"
        )
    first = max(start - horizons.min(), history - 1)
    now = np.arange(first, stop - horizons.max())
    if not len(now):
        raise ValueError(
            f"windows: from {start} to {stop} no hour has {history} hours behind it and its "
            f"targets, up to {horizons.max()} hours ahead, inside the part; take a longer "
            "part or a shorter history"
        )
    view = np.lib.stride_tricks.sliding_window_view(values, history, axis=0)
    inputs = view[first - history + 1 : now[-1] - history + 2].transpose(0, 2, 1)
    return inputs, targets[now[:, None] + horizons], now

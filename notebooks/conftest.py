"""What nbval leaves open: the recorded numbers of cells whose printed output it ignores, and progress bars."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from notebooks import recorded


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """Kernels start without progress bars: nbval compares every message of a cell and does not know that one clears the others."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DLBOOK_PROGRESS", "off")
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """After nbval has run a cell: the same names are recorded as are stored, and each number lies within its tolerance."""
    yield
    stored, repeated = recorded([item.cell]), recorded([{"outputs": item.test_outputs or []}])
    problems = [
        f"{name} is {'no longer' if name in stored else 'not yet'} recorded"
        for name in stored.keys() ^ repeated.keys()
    ]
    for name in stored.keys() & repeated.keys():
        (before, facts), (now, facts_now) = stored[name], repeated[name]
        if facts != facts_now:
            problems.append(f"{name}: stored with {facts}, now {facts_now}")
        if before is not None and not abs(now - before) <= facts.get("tolerance", 0):
            problems.append(
                f"{name}: stored {before}, now {now}, tolerance {facts.get('tolerance', 0)}"
            )
    if problems:
        item.raise_cell_error("Recorded numbers or figures differ", "\n".join(problems))

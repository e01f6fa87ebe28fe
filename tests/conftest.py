"""What all tests share. Import dlbook before NumPy, as the notebooks do: it decides how many threads NumPy uses."""

import re

import dlbook  # noqa: F401
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("book", deadline=None, max_examples=40)
settings.load_profile("book")


class Scheduling(LoadScopeScheduling):
    """The cells of a notebook go to one worker, in their order, and so do the gradings of a course; any other test goes where time is."""

    def _split_scope(self, nodeid):
        if ".ipynb::" in nodeid:
            return nodeid.split("::")[0]
        course = re.search(r"test_exercises\.py::\w+\[(\d\d-.*)\]$", nodeid)
        return course[0].split("::")[0] + course[1] if course else nodeid


def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)

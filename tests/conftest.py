"""What all tests share. Import dlbook before NumPy, as the notebooks do: it decides how many threads NumPy uses."""

import dlbook  # noqa: F401
from hypothesis import settings

settings.register_profile("book", deadline=None, max_examples=40)
settings.load_profile("book")

"""Import dlbook before NumPy, as the notebooks do: it decides how many threads NumPy uses."""

import dlbook  # noqa: F401

"""What turns a notebook into evidence: one seed, claims that are checked, numbers and figures that the book can quote.

A recorded number or figure is stored in the cell's output in the format of papermill's scrapbook, which MyST-NB's
``glue`` roles read. Nothing here needs MyST-NB, so a notebook runs the same in Colab.
"""

import inspect
import io
import os

from IPython.display import Markdown, display

RECORD = "application/papermill.record/"


def seed(default=0):
    """Seed Python's, NumPy's and Keras's random numbers and return the seed.

    Parameters
    ----------
    default : int
        Used unless the environment variable DLBOOK_SEED holds another whole number; `make reseed` sets it to find out
        how far a result depends on chance.

    Raises
    ------
    ValueError
        If DLBOOK_SEED is set to something that is not a whole number from 0 to 2**32 - 1.
    """
    text = os.environ.get("DLBOOK_SEED", str(default))
    if not text.isdecimal() or int(text) >= 2**32:
        raise ValueError(f"DLBOOK_SEED is {text!r}; expected a whole number from 0 to {2**32 - 1}")
    import keras

    keras.utils.set_random_seed(int(text))
    return int(text)


def claim(text, condition, **values):
    """State a conclusion of the chapter and check it.

    Prints one line that is the same in every run; a run in which the conclusion is false stops here.

    Parameters
    ----------
    text : str
        The conclusion, without numbers that vary from run to run.
    condition : bool
        Whether this run bears it out.
    **values
        What the conclusion rests on, shown if it fails.

    Raises
    ------
    AssertionError
        If `condition` is false.
    """
    if getattr(condition, "shape", ()) != () or str(condition) not in ("True", "False"):
        raise TypeError(
            f"claim {text!r}: the condition must be a single true or false, got {condition!r}"
        )
    if not condition:
        raise AssertionError(
            f"claim does not hold: {text}"
            + "".join(f"\n    {name} = {value}" for name, value in values.items())
        )
    print(f"✓ {text}")


def record(name, value, *, tolerance=0.0, about=None, show=None, baseline=None):
    """Store a number in the output of this cell under `name`, for the book's pages and for its tests.

    Parameters
    ----------
    name : str
        What pages quote it by; unique in the notebook.
    value : int or float
        NumPy scalars are converted.
    tolerance : float
        By how much another run may differ when the tests repeat the notebook; 0 asks for the same number.
    about : str or None
        A description; numbers that have one are listed on the page *Results*.
    show : str or None
        The format for that page, such as ".1%".
    baseline : str or None
        The name of the recorded number to compare with on that page.
    """
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"record {name!r}: expected one number, got {value!r}")
    facts = {"tolerance": tolerance, "about": about, "show": show, "baseline": baseline}
    metadata = {
        "scrapbook": {"name": name, "mime_prefix": RECORD},
        "dlbook": {key: fact for key, fact in facts.items() if fact is not None},
    }
    display({RECORD + "text/plain": repr(value)}, metadata=metadata, raw=True)


def figure(name, fig, alt):
    """Show a Matplotlib figure as this cell's output and store it under `name`, with a text for those who cannot see it.

    Parameters
    ----------
    name : str
        What pages show it by; unique in the notebook.
    fig : matplotlib.figure.Figure
        Closed afterwards.
    alt : str
        What the figure shows, in a sentence or two that do not vary from run to run.
    """
    import matplotlib.pyplot as plt

    if not alt.strip():
        raise ValueError(
            f"figure {name!r}: the alternative text is empty; say in a sentence what the figure shows"
        )
    png = io.BytesIO()
    fig.savefig(png, format="png", metadata={"Software": None})
    plt.close(fig)
    metadata = {"scrapbook": {"name": name, "mime_prefix": ""}, "alt": alt}
    display(
        {"image/png": png.getvalue(), "text/plain": f"[Figure: {alt}]"}, metadata=metadata, raw=True
    )


def source(thing):
    """Show the source code of a function, class or module of the package."""
    display(Markdown(f"```python\n{inspect.getsource(thing).rstrip()}\n```"))

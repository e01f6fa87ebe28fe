"""A progress bar for Keras and for `dlbook.nn.fit` that a person sees and that leaves nothing behind."""

import os
import sys
import time

import keras
from IPython import get_ipython
from IPython.display import HTML, clear_output, display


class Progress(keras.callbacks.Callback):
    """Show epoch, speed and loss while training, and remove them when it ends.

    Pass it to Keras as ``callbacks=[dlbook.Progress()]`` together with ``verbose=0``, or to the engine as
    ``on_epoch_end=dlbook.Progress(epochs).on_epoch_end``. The bar clears its cell's output at the end: print results
    after training, not before. Where there is neither a notebook nor a terminal it shows nothing, and nothing either
    where the environment variable ``DLBOOK_PROGRESS`` is ``off``.

    Parameters
    ----------
    epochs : int or None
        How many there will be; Keras says so itself.
    """

    def __init__(self, epochs=None):
        super().__init__()
        self.epochs = epochs
        self.started = time.perf_counter()
        self.shown = float("-inf")
        self.handle = None
        self.wanted = os.environ.get("DLBOOK_PROGRESS") != "off"
        shell = get_ipython()
        self.in_notebook = shell is not None and hasattr(shell, "kernel")

    def on_train_begin(self, logs=None):
        self.epochs = self.params["epochs"]

    def on_epoch_end(self, epoch, logs=None):
        if not self.wanted:
            return
        if epoch + 1 == self.epochs:
            self.close()
            return
        seconds = time.perf_counter() - self.started
        if seconds - self.shown < 0.2:  # a thousand short epochs are not a thousand messages
            return
        self.shown = seconds
        values = " · ".join(
            f"{name} {value:.4f}"
            for name, value in (logs or {}).items()
            if isinstance(value, float)
        )
        text = f"epoch {epoch + 1} of {self.epochs} · {seconds:.0f} s · {values}"
        if self.in_notebook:
            self._show(
                f'<progress value="{epoch + 1}" max="{self.epochs}" aria-label="training"></progress> {text}'
            )
        elif sys.stderr.isatty():
            print("\r\033[K" + text, end="", file=sys.stderr)

    def on_train_end(self, logs=None):
        self.close()

    def _show(self, html):
        if self.handle is None:
            self.handle = display(HTML(html), display_id=True)
        else:
            self.handle.update(HTML(html))

    def close(self):
        """Remove the bar."""
        if self.handle is not None:
            clear_output()
            self.handle = None
        elif not self.in_notebook and sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)

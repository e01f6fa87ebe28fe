"""What notebooks use: seed, claims, records, figures, source, progress bar, plot style."""

import base64
import itertools
import os
import random
import subprocess
import sys
import types

import dlbook
import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from dlbook import keras_progress, plot
from myst_nb.ext.glue import extract_glue_data
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

matplotlib.use("agg")


@pytest.fixture
def shown(monkeypatch):
    """What is displayed in place of a notebook: a list of (data, metadata)."""
    displayed = []

    def display(data, metadata=None, raw=False):
        assert raw
        displayed.append((data, metadata))

    monkeypatch.setattr("dlbook.notebook.display", display)
    return displayed


class Client(NotebookClient):
    """Runs a notebook and keeps what its kernel sent."""

    def __init__(self, notebook):
        super().__init__(notebook, timeout=120, kernel_name="python3")
        self.messages = []

    def process_message(self, msg, cell, cell_index):
        self.messages.append(msg)
        return super().process_message(msg, cell, cell_index)


def run(*sources):
    """Execute cells in a kernel of their own; return the notebook and what the kernel sent: [(type, content)]."""
    client = Client(new_notebook(cells=[new_code_cell(source) for source in sources]))
    notebook = client.execute()
    return notebook, [(message["msg_type"], message["content"]) for message in client.messages]


# Import


def test_import_loads_nothing_heavy():
    """The name of a heavy module must not be loaded by `import dlbook`, nor MyST-NB ever."""
    code = "import sys, dlbook; dlbook.claim, dlbook.record; print(*sys.modules)"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    loaded = set(run.stdout.split())
    assert not loaded & {"tensorflow", "keras", "matplotlib", "myst_nb"}
    alone = subprocess.run(
        [sys.executable, "-c", "import sys, dlbook; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(alone.stdout.split()) & {"numpy", "IPython"}


def test_all_names_are_there():
    for name in dlbook.__all__:
        assert getattr(dlbook, name) is not None
    assert set(dlbook.__all__) <= set(dir(dlbook))
    with pytest.raises(AttributeError, match="dlbook has no 'sead'; it has load"):
        dlbook.sead  # noqa: B018


# Seed


def draw():
    return random.random(), np.random.rand(), float(keras.random.uniform(()))  # noqa: NPY002


def test_seed_repeats_all_three_generators(monkeypatch):
    monkeypatch.delenv("DLBOOK_SEED", raising=False)
    assert dlbook.seed() == 0
    first, then = draw(), draw()
    assert all(a != b for a, b in zip(first, then, strict=True))
    dlbook.seed()
    assert draw() == first
    assert dlbook.seed(1) == 1
    assert all(a != b for a, b in zip(first, draw(), strict=True))


def test_the_environment_overrides_the_seed(monkeypatch):
    monkeypatch.setenv("DLBOOK_SEED", "7")
    assert dlbook.seed() == 7 == dlbook.seed(3)


@pytest.mark.parametrize("value", ["", "-1", "1.5", "one", "4294967296", "²"])
def test_bad_seed_is_refused(monkeypatch, value):
    monkeypatch.setenv("DLBOOK_SEED", value)
    with pytest.raises(ValueError, match=f"DLBOOK_SEED is '{value}'; expected a whole number"):
        dlbook.seed()


# Claims


@pytest.mark.parametrize("condition", [True, np.True_, np.array(True), np.float32(2) > 1])
def test_true_claim_prints_one_line(capsys, condition):
    dlbook.claim("water is wet", condition, wetness=0.97)
    assert capsys.readouterr().out == "✓ water is wet\n"


@pytest.mark.parametrize("condition", [False, np.False_, np.float32("nan") > 1])
def test_false_claim_raises_with_its_values(capsys, condition):
    with pytest.raises(
        AssertionError, match=r"claim does not hold: water is dry\n    wetness = 0.97\n    of = 1"
    ):
        dlbook.claim("water is dry", condition, wetness=0.97, of=1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "condition", [np.array([True]), np.array([True, False]), [True], (), None, 1, 0.5, "True "]
)
def test_claim_wants_one_truth_value(condition):
    with pytest.raises(TypeError, match="must be a single true or false"):
        dlbook.claim("all is well", condition)


# Records and figures


def test_record_converts_numpy_scalars(shown):
    for value in (
        0.5,
        np.float32(0.5),
        np.float64(0.5),
        np.array(0.5),
        keras.ops.convert_to_tensor(0.5).numpy(),
    ):
        dlbook.record("number", value)
    assert {data["application/papermill.record/text/plain"] for data, _ in shown} == {"0.5"}
    shown.clear()
    dlbook.record("count", np.int64(3))
    assert shown[0][0] == {"application/papermill.record/text/plain": "3"}


def test_record_stores_what_it_is_told(shown):
    dlbook.record("number", 1, tolerance=0.25, about="a number", show=".2f", baseline="other")
    dlbook.record("other", 2)
    facts = {"tolerance": 0.25, "about": "a number", "show": ".2f", "baseline": "other"}
    assert shown[0][1] == {
        "scrapbook": {"name": "number", "mime_prefix": "application/papermill.record/"},
        "dlbook": facts,
    }
    assert shown[1][1]["dlbook"] == {"tolerance": 0.0}


@pytest.mark.parametrize("value", ["0.5", None, True, np.True_, [0.5], 1j])
def test_record_wants_a_number(shown, value):
    with pytest.raises(TypeError, match="record 'number': expected one number"):
        dlbook.record("number", value)
    assert shown == []


def test_record_refuses_several_numbers(shown):
    with pytest.raises((TypeError, ValueError)):
        dlbook.record("number", np.zeros(2))
    assert shown == []


def test_figure_is_stored_with_its_text_and_closed(shown):
    fig, ax = plt.subplots()
    ax.plot([1, 2])
    dlbook.figure("rise", fig, alt="A rising line")
    assert not plt.fignum_exists(fig.number)
    ((data, metadata),) = shown
    assert data["image/png"].startswith(b"\x89PNG\r\n\x1a\n") and data["image/png"].endswith(
        b"IEND\xaeB`\x82"
    )
    assert b"matplotlib" not in data["image/png"].lower()  # no version, which would change the file
    assert data["text/plain"] == "[Figure: A rising line]"
    assert metadata == {"scrapbook": {"name": "rise", "mime_prefix": ""}, "alt": "A rising line"}


@pytest.mark.parametrize("alt", ["", " \n"])
def test_figure_wants_a_text(shown, alt):
    with pytest.raises(ValueError, match="figure 'rise': the alternative text is empty"):
        dlbook.figure("rise", plt.figure(), alt)
    plt.close("all")
    assert shown == []


def test_a_kernel_stores_what_the_book_can_quote():
    """MyST-NB's own reader of glue finds the number and the figure in the outputs of an executed notebook."""
    notebook, _ = run(
        "import dlbook, matplotlib.pyplot as plt",
        "dlbook.record('accuracy', 0.8912, tolerance=0.01)",
        "dlbook.figure('rise', plt.figure(), alt='A rising line')",
        "dlbook.claim('one is one', 1 == 1)",
        "dlbook.source(dlbook.claim)",
    )
    assert notebook.cells[3].outputs[0].text == "✓ one is one\n"
    markdown = notebook.cells[4].outputs[0].data["text/markdown"]
    assert markdown.startswith(
        "```python\ndef claim(text, condition, **values):\n"
    ) and markdown.endswith("\n```")
    found = extract_glue_data(notebook, [0] * len(notebook.cells), logger=None)
    assert found["accuracy"]["data"] == {"text/plain": "0.8912"}
    assert base64.b64decode(found["rise"]["data"]["image/png"]).startswith(b"\x89PNG")
    assert (
        notebook.cells[1].outputs == []
    )  # the number itself is not printed; MyST-NB has taken it out
    assert [output.output_type for output in notebook.cells[2].outputs] == ["display_data"]


# Progress


# With a clock on which every epoch takes a second, because epochs that follow too quickly are not shown.
TRAINING = """
import itertools, types
import dlbook
import keras
import numpy as np
from dlbook import keras_progress, nn, optim
keras_progress.time = types.SimpleNamespace(perf_counter=itertools.count().__next__)
x, y = np.ones((4, 2), "float32"), np.zeros(4, "int64")
"""
WITH_KERAS = """
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
history = model.fit(x, y, epochs=3, verbose=0, callbacks=[dlbook.Progress()])
"""
STOPPED_EARLY = WITH_KERAS.replace(
    "[dlbook.Progress()]",
    "[dlbook.Progress(), keras.callbacks.EarlyStopping('loss', patience=0, min_delta=1e9)]",
)
WITH_ENGINE = """
model = nn.Sequential([nn.Dense(2, 2, rng=np.random.default_rng(0))])
history = nn.fit(
    model, x, y, loss=nn.cross_entropy, optimizer=optim.SGD(model.parameters), epochs=3,
    on_epoch_end=dlbook.Progress(3).on_epoch_end,
)
"""


def test_progress_is_seen_and_leaves_nothing():
    notebook, messages = run(
        TRAINING, WITH_KERAS, STOPPED_EARLY, WITH_ENGINE, "print(sorted(history))"
    )
    assert [cell.outputs for cell in notebook.cells[1:4]] == [[], [], []]
    assert notebook.cells[4].outputs[0].text == "['loss']\n"

    kinds = ("display_data", "update_display_data", "clear_output")
    sent = [(kind, content) for kind, content in messages if kind in kinds]
    # Twice three epochs, after the last of which the bar goes, and once two until the training stops.
    assert [kind for kind, _ in sent] == 3 * ["display_data", "update_display_data", "clear_output"]
    bars = [content["data"]["text/html"] for kind, content in sent if kind != "clear_output"]
    for epoch, bar in zip([1, 2, 1, 2, 1, 2], bars, strict=True):
        assert f'<progress value="{epoch}" max="3"' in bar
        assert f"epoch {epoch} of 3" in bar and "loss " in bar


def train(monkeypatch, epochs, seconds):
    """Let a progress bar without a notebook see `epochs` epochs that take `seconds` each."""
    clock = types.SimpleNamespace(perf_counter=itertools.count(step=seconds).__next__)
    monkeypatch.setattr(keras_progress, "time", clock)
    monkeypatch.setattr(keras_progress, "get_ipython", lambda: None)
    progress = dlbook.Progress(epochs)
    for epoch in range(epochs):
        progress.on_epoch_end(epoch, {"loss": 0.5})


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_without_a_notebook(monkeypatch, capsys, terminal):
    """In a terminal one line that is wiped at the end; in a log file nothing."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    train(monkeypatch, epochs=3, seconds=1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("loss 0.5000") == (2 if terminal else 0)
    assert err.endswith("\r\033[K") if terminal else err == ""


def test_progress_can_be_switched_off(monkeypatch, capsys):
    """As the comparison of the notebooks with their stored outputs does."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("DLBOOK_PROGRESS", "off")
    train(monkeypatch, epochs=3, seconds=1)
    assert capsys.readouterr() == ("", "")


def test_progress_of_short_epochs_is_shown_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    train(monkeypatch, epochs=1000, seconds=0.001)
    assert 2 <= capsys.readouterr().err.count("loss 0.5000") <= 10


# Plot


def lightness(colour):
    """The relative luminance of WCAG 2: 0 is black, 1 is white."""
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in matplotlib.colors.to_rgb(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_style_sets_the_palette():
    with plt.rc_context():
        plot.use_style()
        assert tuple(plt.rcParams["axes.prop_cycle"].by_key()["color"]) == plot.PALETTE
        fig, ax = plt.subplots()
        assert not ax.spines["top"].get_visible()
        plt.close(fig)
    assert len(set(plot.PALETTE)) == len(plot.PALETTE)
    for colour, next_colour in zip(plot.PALETTE, plot.PALETTE[1:], strict=False):
        assert abs(lightness(colour) - lightness(next_colour)) > 0.03


def test_labels_stand_at_the_ends_of_lines_and_apart():
    fig, ax = plt.subplots()
    ends = [1.0, 1.001, 0.0]
    for end in ends:
        ax.plot([0, 1], [0.5, end])
    plot.label_lines(ax, ["a", "b", "c"])
    by_text = {label.get_text(): label for label in ax.texts}
    assert set(by_text) == {"a", "b", "c"}
    for name, end, line in zip("abc", ends, ax.lines, strict=True):
        assert by_text[name].xy == (1, end)
        assert by_text[name].get_color() == line.get_color()
    fig.canvas.draw()
    boxes = sorted((label.get_window_extent() for label in ax.texts), key=lambda box: box.y0)
    for lower, upper in zip(boxes, boxes[1:], strict=False):
        assert lower.y1 <= upper.y0 + 1  # one pixel
    plt.close(fig)


@pytest.mark.parametrize(
    ("images", "columns", "shape"), [(7, 5, (2, 5)), (5, 5, (1, 5)), (1, 1, (1, 1))]
)
def test_image_grid(images, columns, shape):
    fig = plot.image_grid(np.zeros((images, 28, 28)), [str(i) for i in range(images)], columns)
    axes = fig.axes
    assert len(axes) == shape[0] * shape[1]
    assert [ax.get_title() for ax in axes[:images]] == [str(i) for i in range(images)]
    assert [len(ax.images) for ax in axes] == [1] * images + [0] * (len(axes) - images)
    plt.close(fig)

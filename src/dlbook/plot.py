"""One look for all figures: colours that colour-blind readers tell apart, text that stays readable on a phone."""

import dataclasses
import hashlib
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager

# M. Okabe and K. Ito, *Color universal design* (2002), without yellow, which is too faint for lines on white; ordered so
# that neighbours differ in lightness as well as in hue.
BLUE, ORANGE, GREEN, PINK, SKY, VERMILION, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#000000",
)
PALETTE = (BLUE, VERMILION, GREEN, PINK, ORANGE, BLACK, SKY)
LINE_STYLES = ("-", "--", "-.", ":")

# The Chinese characters of the poems and of the book, for whatever Matplotlib's own font lacks.
HAN_FONT = Path(__file__).parent / "fonts/dlbook-han-serif.otf"
HAN_FAMILY = "dlbook Han Serif"
HAN_SHA256 = "ab5bc9cbdcf97acc70409fae5192c920e8e69719017590fa46f23b9c0b61875d"


def register_han_font(path=HAN_FONT):
    """Make the bundled Chinese font known to Matplotlib, under the name `HAN_FAMILY`.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If it is not the one of this version of the book.
    """
    repair = "install dlbook again to restore it"
    if not path.is_file():
        raise FileNotFoundError(f"font file {path} is missing; {repair}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != HAN_SHA256:
        raise ValueError(f"font file {path} has SHA-256 {found}, expected {HAN_SHA256}; {repair}")
    font_manager.fontManager.addfont(path)
    # There is no bold cut: the same one stands in for it, or Matplotlib would log a complaint at each bold text.
    fonts = font_manager.fontManager.ttflist
    fonts.append(dataclasses.replace(fonts[-1], weight=700))


def use_style():
    """Set Matplotlib's defaults for the rest of the notebook.

    Chinese characters are drawn with the bundled font, everything else with the font that Matplotlib has been using.
    A text that also contains a formula, between dollar signs, is drawn by Matplotlib's `mathtext` and has no Chinese
    characters: set the two as separate texts.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file of the Chinese font is missing or damaged.
    """
    if all(font.name != HAN_FAMILY for font in font_manager.fontManager.ttflist):
        register_han_font()
    families = [family for family in plt.rcParams["font.family"] if family != HAN_FAMILY]
    plt.rcParams.update(
        {
            "font.family": [*families, HAN_FAMILY],
            "figure.figsize": (6.4, 3.8),
            "figure.dpi": 100,
            "savefig.dpi": 160,
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.prop_cycle": plt.cycler(color=PALETTE),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "lines.linewidth": 1.8,
            "legend.frameon": False,
            "image.cmap": "gray_r",
        }
    )


def label_lines(ax, labels, offset=4, at="right"):
    """Write each line's label at one of its ends, in its colour, instead of a legend.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Its first ``len(labels)`` lines are labelled; labels that would overlap are moved apart.
    labels : sequence of str
    offset : float
        Distance from the line's end, in points.
    at : "right" or "left"
        After the line's last point or before its first.
    """
    if at not in ("right", "left"):
        raise ValueError(f"label_lines: at is {at!r}; expected 'right' or 'left'")
    end_index, sign, align = (-1, 1, "left") if at == "right" else (0, -1, "right")
    ax.figure.canvas.draw()
    to_points = 72 / ax.figure.dpi
    ends = []
    for line, label in zip(ax.lines, labels):
        point = (line.get_xdata()[end_index], line.get_ydata()[end_index])
        ends.append((line, label, point, ax.transData.transform(point)[1] * to_points))
    height, below = 1.25 * plt.rcParams["font.size"], -np.inf
    for line, label, point, end in sorted(ends, key=lambda row: row[3]):
        below = max(end, below + height)
        ax.annotate(
            label,
            point,
            xytext=(sign * offset, below - end),
            textcoords="offset points",
            ha=align,
            va="center",
            color=line.get_color(),
            annotation_clip=False,
        )


def image_grid(images, titles, columns):
    """Draw grey-scale images in rows of `columns`, each under its title. `images` (n, height, width); returns the figure."""
    rows = -(-len(images) // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(6.4, 6.4 / columns * rows * 1.3), squeeze=False
    )
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles):
        ax.imshow(image)
        ax.set_title(title, fontsize=10)
    return fig


def confusion_matrix(counts, class_names):
    """Draw counts of (true class, predicted class); darker is more. `counts` (classes, classes); returns the figure."""
    fig, ax = plt.subplots(figsize=(6.4, 5.6))
    ax.imshow(np.sqrt(counts))  # the root lets small counts be seen beside large ones
    for row, column in np.argwhere(counts):
        count = counts[row, column]
        color = "white" if count > 0.35 * counts.max() else "black"
        ax.text(column, row, count, ha="center", va="center", fontsize=8, color=color)
    ax.set_xticks(range(len(class_names)), class_names, rotation=45, ha="right")
    ax.set_yticks(range(len(class_names)), class_names)
    ax.set(xlabel="predicted", ylabel="true")
    ax.grid(False)
    return fig


def computational_graph(boxes, edges, figsize=(6.4, 3.4)):
    """Draw quantities as boxes, values flowing forward (blue) and derivatives flowing back (orange, dashed).

    Parameters
    ----------
    boxes : dict
        Label -> ((x, y), value, derivative of the loss); both numbers are written beside the box.
    edges : sequence of (label, label, str)
        From, to, and the local derivative that going back along this edge multiplies by.

    Returns
    -------
    matplotlib.figure.Figure
    """
    fig, ax = plt.subplots(figsize=figsize)
    ax.axis("off")
    style = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": BLACK}
    patches = {}
    for label, ((x, y), value, derivative) in boxes.items():
        text = ax.text(x, y, label, ha="center", va="center", bbox=style, zorder=3)
        patches[label] = text
        ax.text(x, y + 0.27, f"{value:g}".replace("-", "−"), ha="center", va="center", color=BLUE)
        ax.text(
            x,
            y - 0.28,
            f"{derivative:g}".replace("-", "−"),
            ha="center",
            va="center",
            color=VERMILION,
        )
    positions = np.array([position for position, _, _ in boxes.values()])
    (left, bottom), (right, top) = positions.min(axis=0), positions.max(axis=0)
    ax.set(xlim=(left - 0.4, right + 0.5), ylim=(bottom - 0.5, top + 0.5))
    fig.canvas.draw()  # the boxes get their sizes
    for start, end, factor in edges:
        forward = {"arrowstyle": "-|>", "color": BLUE}
        back = {"arrowstyle": "-|>", "color": VERMILION, "linestyle": "--"}
        a, b = np.array(boxes[start][0]), np.array(boxes[end][0])
        for tail, head, how in ((start, end, forward), (end, start, back)):
            how |= {
                "patchA": patches[tail].get_bbox_patch(),
                "patchB": patches[head].get_bbox_patch(),
                "connectionstyle": "arc3,rad=-0.25",
                "shrinkA": 3,
                "shrinkB": 3,
            }
            ax.annotate("", boxes[head][0], boxes[tail][0], arrowprops=how)
        across = np.array([b[1] - a[1], a[0] - b[0]]) / np.hypot(*(b - a))  # to the right of a -> b
        x, y = (a + b) / 2 + 0.3 * across
        ax.text(x, y, factor, ha="center", va="center", color=VERMILION, fontsize=9)
    return fig

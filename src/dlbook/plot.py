"""One look for all figures: colours that colour-blind readers tell apart, text that stays readable on a phone."""

import matplotlib.pyplot as plt
import numpy as np

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


def use_style():
    """Set Matplotlib's defaults for the rest of the notebook."""
    plt.rcParams.update(
        {
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


def label_lines(ax, labels, offset=4):
    """Write each line's label at its right end, in its colour, instead of a legend.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Its first ``len(labels)`` lines are labelled; labels that would overlap are moved apart.
    labels : sequence of str
    offset : float
        Distance from the line's end, in points.
    """
    ax.figure.canvas.draw()
    to_points = 72 / ax.figure.dpi
    ends = [
        (
            line,
            label,
            ax.transData.transform((line.get_xdata()[-1], line.get_ydata()[-1]))[1] * to_points,
        )
        for line, label in zip(ax.lines, labels)
    ]
    height, below = 1.25 * plt.rcParams["font.size"], -np.inf
    for line, label, end in sorted(ends, key=lambda row: row[2]):
        place = max(end, below + height)
        below = place
        ax.annotate(
            label,
            (line.get_xdata()[-1], line.get_ydata()[-1]),
            xytext=(offset, place - end),
            textcoords="offset points",
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

"""Figures of a metrics JSON, each as SVG for a page: bars with intervals, matrices, reliability, curves, histograms.

Coordinates are pixels of a figure that is `WIDTH` wide, counted from its top.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sentiment_batch.measure.svg import ACCENT, FAINT, INK, SECOND, WIDTH, drawn, mark
from sentiment_batch.measure.words import cut

_LEFT, _RIGHT = 122, 122  # what a row of bars has beside them: a label, and what is said of it
_LABEL_LETTERS = 16
_NOTE_LETTERS = 17
_ROW = 26
_SMALL = 12
_TWO_LINES, _ONE_LINE = 6, 10  # labels up to which a cell of a matrix has room for so much
_COLUMN_LETTERS = 11
_DEEPEST = 0.5  # of the colour of a cell, so that what is written on it can be read by day and by night


class Bar(NamedTuple):
    """One row of bars; `interval` are its ends, and `note` is said of it."""

    label: str
    value: float | None
    interval: Sequence[float] | None
    note: str


def bars(name: str, title: str, rows: Sequence[Bar], axis: str, line: float | None = None) -> Markup:
    """A bar for each row, from 0 to 1, with its interval as a line; `line` is what all of them are held against."""
    height = _ROW * len(rows) + 50
    labels = [*(cut(row.label, _LABEL_LETTERS) for row in rows), *(cut(row.note, _NOTE_LETTERS) for row in rows)]

    def draw(figure: Figure) -> None:
        axes = _axes(figure, height, _LEFT, 4, WIDTH - _LEFT - _RIGHT, _ROW * len(rows))
        axes.set_xlim(0, 1)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="x")
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
        axes.set_yticks(range(len(rows)), [mark(number) for number in range(len(rows))])
        axes.set_xlabel(axis)
        axes.barh(range(len(rows)), [row.value or 0 for row in rows], height=0.62, color=ACCENT, clip_on=False)
        for place in range(len(rows)):
            axes.text(1.05, place, mark(len(rows) + place), va="center", fontsize=_SMALL)
        _whiskers(axes, [(place, row.interval) for place, row in enumerate(rows) if row.interval], 0.13, upright=False)
        if line is not None:
            axes.axvline(line, color=SECOND, linestyle=(0, (3, 3)), linewidth=1.5)

    return drawn(name, title, height, draw, labels)


def matrix(
    name: str, title: str, labels: Sequence[str], cells: Sequence[Sequence[int]], axes: tuple[str, str]
) -> Markup:
    """A cell for each count, as deep as its share of its row, in another colour off the diagonal.

    `axes` says what the rows and the columns are. The labels are those of the columns; there may be fewer rows.
    """
    count = len(labels)
    left, top = _LEFT, 48.0 if count <= _TWO_LINES else 116.0
    wide = min(100.0, (WIDTH - left - (4 if count <= _TWO_LINES else 24)) / count)
    high = min(46.0, wide)
    height = top + high * count + 6
    across = int(wide / 8) if count <= _TWO_LINES else _COLUMN_LETTERS
    shown = [*(cut(label, _LABEL_LETTERS - 2) for label in labels), *(cut(label, across) for label in labels)]

    def draw(figure: Figure) -> None:
        plot = _axes(figure, height, left, top, wide * count, high * count)
        plot.set_axis_off()
        plot.set_xlim(0, count)
        plot.set_ylim(count, 0)
        for row, counts in enumerate(cells):
            plot.text(-0.06, row + 0.5, mark(row), ha="right", va="center")
            for place, number in enumerate(counts):
                _cell(plot, row, place, number, sum(counts), count)
        turned = {"rotation": 60, "rotation_mode": "anchor", "ha": "left"} if count > _TWO_LINES else {"ha": "center"}
        for place in range(count):
            plot.text(place + 0.5, -0.15, mark(count + place), va="bottom", **turned)
        figure.text((left - 8) / WIDTH, 1 - 12 / height, f"{axes[0]} ↓", ha="right", color=INK, weight="bold")
        figure.text(left / WIDTH, 1 - 12 / height, f"{axes[1]} →", ha="left", color=INK, weight="bold")

    return drawn(name, title, height, draw, shown)


def _cell(plot: Axes, row: int, place: int, number: int, whole: int, count: int) -> None:
    share = number / whole if whole else 0.0
    colour = ACCENT if row == place else SECOND
    box = ((place + 0.02, row + 0.02), 0.96, 0.96)
    plot.add_patch(Rectangle(*box, facecolor=FAINT, alpha=0.08, linewidth=0))
    if number:
        plot.add_patch(Rectangle(*box, facecolor=colour, alpha=0.04 + _DEEPEST * share, linewidth=0))
    if count <= _TWO_LINES:
        plot.text(place + 0.5, row + 0.36, f"{number:,}", ha="center", va="center", fontsize=13)
        plot.text(place + 0.5, row + 0.74, f"{share:.0%}", ha="center", va="center", fontsize=_SMALL - 1)
    elif count <= _ONE_LINE and number:
        plot.text(place + 0.5, row + 0.5, f"{share:.0%}", ha="center", va="center", fontsize=_SMALL - 1)


def reliability(name: str, title: str, bins: Sequence[dict[str, Any]], ends: Callable[[float, int], Any]) -> Markup:
    """How often the model is right where it is so sure, above how many rows that is; `ends(right, rows)` of a share."""
    height = 380
    there = [each for each in bins if each["rows"]]

    def draw(figure: Figure) -> None:
        plot = _axes(figure, height, 66, 8, WIDTH - 84, 240)
        plot.set_xlim(0, 1)
        plot.set_ylim(0, 1)
        plot.grid()
        plot.set_ylabel("share that is right")
        _shares(plot)
        plot.tick_params(labelbottom=False)
        plot.plot([0, 1], [0, 1], color=SECOND, linestyle=(0, (4, 3)), linewidth=1.5)
        rows = _axes(figure, height, 66, 258, WIDTH - 84, 66)
        rows.set_xlim(0, 1)
        rows.set_xlabel("confidence that the model states")
        rows.set_ylabel("rows")
        _shares(rows, "x")
        most = max((each["rows"] for each in there), default=1)
        rows.set_yticks([0, most], ["0", f"{most:,}"])
        found: list[tuple[float, Sequence[float]]] = []
        for each in there:
            middle, wide = (each["low"] + each["high"]) / 2, each["high"] - each["low"]
            plot.bar(middle, each["accuracy"], wide * 0.9, color=ACCENT, alpha=0.75)
            found.append((middle, ends(each["accuracy"] * each["rows"], each["rows"])))
            rows.bar(middle, each["rows"], wide * 0.9, color=ACCENT)
        _whiskers(plot, found, 0.01, upright=True)

    return drawn(name, title, height, draw)


def curves(name: str, title: str, epochs: Sequence[dict[str, Any]], best: int) -> Markup:
    """Macro F1 and accuracy on the validation split, above the loss on the training texts, epoch by epoch."""
    height, right = 366, 78
    numbers = [each["epoch"] for each in epochs]

    def draw(figure: Figure) -> None:
        quality = _axes(figure, height, 66, 24, WIDTH - 66 - right, 160)
        loss = _axes(figure, height, 66, 206, WIDTH - 66 - right, 110)
        lines: list[tuple[Axes, str, str, Any]] = [
            (quality, "macro_f1", ACCENT, "-"),
            (quality, "accuracy", SECOND, (0, (5, 2))),
            (loss, "train_loss", ACCENT, "-"),
        ]
        for plot, key, colour, style in lines:
            values = [each[key] for each in epochs]
            plot.plot(numbers, values, color=colour, linestyle=style, linewidth=2, marker="o", markersize=4)
        for plot in (quality, loss):
            plot.grid(axis="y")
            plot.margins(x=0.06, y=0.16)
            plot.axvline(best, color=FAINT, linestyle=(0, (2, 3)), linewidth=1.5)
            plot.locator_params(axis="y", nbins=4)
        ends = sorted((epochs[-1][key], words) for key, words in (("macro_f1", "macro F1"), ("accuracy", "accuracy")))
        apart = max(ends[1][0] - ends[0][0], 0.1 * (quality.get_ylim()[1] - quality.get_ylim()[0]))
        for (_, words), at in zip(ends, (ends[1][0] - apart, ends[1][0]), strict=True):
            quality.text(numbers[-1] + 0.03 * len(numbers), at, f" {words}", va="center", fontsize=_SMALL)
        loss.text(numbers[-1] + 0.03 * len(numbers), epochs[-1]["train_loss"], " loss", va="center", fontsize=_SMALL)
        above: dict[str, Any] = {"transform": quality.get_xaxis_transform(), "ha": "center", "fontsize": _SMALL}
        quality.text(best, 1.04, f"epoch {best} is kept", **above)
        quality.set_ylabel("validation")
        loss.set_ylabel("training")
        loss.set_xlabel("epoch")
        step = max(1, math.ceil(len(numbers) / 10))
        quality.set_xticks(numbers[::step], [""] * len(numbers[::step]))
        loss.set_xticks(numbers[::step], [str(number) for number in numbers[::step]])

    return drawn(name, title, height, draw)


def histogram(name: str, title: str, edges: Sequence[float], counts: Sequence[int], axis: str, last: str) -> Markup:
    """The share of the rows in each bin, as if all bins were as wide; `last` is the end of the last one."""
    height, total = 204, max(1, sum(counts))

    def draw(figure: Figure) -> None:
        plot = _axes(figure, height, 66, 14, WIDTH - 84, 136)
        plot.bar([each + 0.5 for each in range(len(counts))], [each / total for each in counts], 0.92, color=ACCENT)
        plot.set_xlim(0, len(counts))
        plot.grid(axis="y")
        plot.set_ylabel("share of texts")
        plot.locator_params(axis="y", nbins=4)
        plot.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        ends = [*(f"{edge:g}" for edge in edges), last]
        step = math.ceil(len(ends) / 9)
        plot.set_xticks(range(0, len(ends), step), ends[::step])
        plot.tick_params(axis="x", labelsize=_SMALL)
        plot.set_xlabel(axis)

    return drawn(name, title, height, draw)


def _axes(figure: Figure, height: float, left: float, top: float, wide: float, high: float) -> Axes:
    """In pixels of the figure, from its left and its top."""
    return figure.add_axes((left / WIDTH, 1 - (top + high) / height, wide / WIDTH, high / height))


def _whiskers(plot: Axes, ends: Sequence[tuple[float, Sequence[float]]], cap: float, upright: bool) -> None:
    """The intervals as lines with a cap at each end: (place, its ends) of each."""
    across, along = (plot.vlines, plot.hlines) if upright else (plot.hlines, plot.vlines)
    style: dict[str, Any] = {"color": INK, "linewidth": 1.5, "clip_on": False, "zorder": 3}
    places = [place for place, _ in ends]
    across(places, [low for _, (low, _) in ends], [high for _, (_, high) in ends], **style)
    for end in (0, 1):
        along([each[end] for _, each in ends], [at - cap for at in places], [at + cap for at in places], **style)


def _shares(plot: Axes, which: str = "xy") -> None:
    ticks, words = [0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"]
    if "x" in which:
        plot.set_xticks(ticks, words)
    if "y" in which:
        plot.set_yticks(ticks, words)

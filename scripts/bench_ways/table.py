"""Figures -> tables for a person, in Markdown."""

from collections.abc import Callable, Sequence
from typing import Any

Figures = dict[str, Any]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of one width; the first is aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"

    return "\n".join(map(line, [heads, rule, *rows]))


def number(digits: int = 0, scale: float = 1.0, end: str = "") -> Callable[[Any], str]:
    return lambda value: "-" if value is None else f"{value * scale:,.{digits}f}{end}"


_PERCENT = number(1, 100, " %")
_COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "rows/s": ("rows_per_second", number(1)),
    "x pipeline": ("ratio", number(2)),
    "with start": ("rows_per_second_with_start", number(1)),
    "x": ("ratio_with_start", number(2)),
    "tokens/s": ("tokens_per_second", number()),
    "padding": ("padding_share", _PERCENT),
    "agreement": ("agreement", number(4)),
    "roofline": ("roofline_share", _PERCENT),
    "import s": ("import_seconds", number(1)),
    "load s": ("load_seconds", number(1)),
    "peak MB": ("peak_bytes", number(scale=1e-6)),
    "idle": ("idle_share", _PERCENT),
}


def ways_table(ways: dict[str, Figures]) -> str:
    """A line for each way, from Parquet to Parquet."""
    rows = [[name, *(shown(figures.get(key)) for key, shown in _COLUMNS.values())] for name, figures in ways.items()]
    return table(["way", *_COLUMNS], rows)


_STAGES = ("read", "tokenise", "engine", "label", "write", "besides_engine", "engine_waits")


def stages_table(ways: dict[str, Figures]) -> str:
    """A line for each of our engines: the engine alone, then what each stage alone takes of the time of all."""
    heads = ["engine alone", "rows/s", "x pipeline", "roofline", "performed", "read", "tokenise", "engine", "label"]
    heads += ["write", "read+tokenise+write", "engine waits", "idle"]
    rows = []
    for name, figures in ways.items():
        if alone := figures.get("engine_alone"):
            rates = [number(1)(alone["rows_per_second"]), number(2)(alone["ratio"])]
            roofs = [_PERCENT(alone[key]) for key in ("nominal", "performed")]
            shares = [_PERCENT(figures["stage_shares"][stage]) for stage in _STAGES]
            rows.append([name, *rates, *roofs, *shares, _PERCENT(figures["stages"]["engine"]["idle_share"])])
    return table(heads, rows) if rows else ""


def roofs_line(roofs: dict[str, list[Figures]]) -> str:
    if not roofs:
        return ""
    found = [
        f"{dtype} {roof['flops'] / 1e9:,.0f} ({roof['by']}, {' x '.join(map(str, roof['size']))}, "
        f"{roof['streams']} at a time)"
        for dtype, (roof, *_) in roofs.items()
    ]
    return f"largest matrix products seen, GFLOP/s: {'; '.join(found)}"

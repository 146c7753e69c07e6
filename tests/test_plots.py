"""measure/plots.py and measure/svg.py: what is drawn is where it says, and labels are text in it."""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from documents import LABELS, MATRIX, evaluated, trained

from sentiment_batch.measure.plots import Bar, bars, curves, histogram, matrix, reliability
from sentiment_batch.measure.svg import WIDTH

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ElementTree.Element:
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return ElementTree.fromstring(str(svg).replace("<svg ", f"<svg {namespaces} ", 1))


def texts(svg: str) -> dict[str, tuple[float, float]]:
    """Where each text is."""
    found = {}
    for each in parsed(svg).iter(f"{SVG}text"):
        x, y = each.get("x"), each.get("y")
        turned = re.search(r"translate\(([\d.-]+) ([\d.-]+)\)", each.get("transform", ""))
        found["".join(each.itertext())] = (
            (float(turned[1]), float(turned[2])) if turned else (float(x or 0), float(y or 0))
        )
    return found


def boxes(svg: str, colour: str) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of everything filled with the colour, but for what has no area."""
    found = []
    for path in parsed(svg).iter(f"{SVG}path"):
        if f"fill: {colour}" in path.get("style", ""):
            numbers = [float(each) for each in re.findall(r"-?[\d.]+", path.get("d", ""))]
            across, down = numbers[::2], numbers[1::2]
            if max(across) > min(across) and max(down) > min(down):
                found.append((min(across), min(down), max(across), max(down)))
    return found


def test_bars_are_as_long_as_their_values() -> None:
    rows = [Bar("half", 0.5, (0.4, 0.7), "0.5"), Bar("quarter", 0.25, None, "0.25"), Bar("none", None, None, "-")]
    svg = bars("b", "Bars", rows, "F1", line=0.5)
    (left, top, right, _), (_, below, quarter, _) = boxes(svg, "var(--accent)")
    assert (quarter - left) / (right - left) == pytest.approx(0.5)
    assert top < below
    places = texts(svg)
    assert places["half"][1] < places["quarter"][1] < places["none"][1]
    assert places["0.5"][0] > right


def test_labels_are_text_wherever_they_come_from() -> None:
    odd = ["<script>alert(1)</script>", "$\\frac{1}{2}$", "@1@ & @0@", "😀" * 100, "#000001"]
    svg = bars("b", "Bars <&", [Bar(each, 0.5, None, "&lt;") for each in odd], "F1")
    found = texts(svg)
    assert {"<script>alert(1…", "$\\frac{1}{2}$", "@1@ & @0@", "😀" * 7 + "…", "#000001", "&lt;"} <= set(found)
    assert "#000001" not in str(svg).replace(">#000001<", "")
    assert "<script" not in svg


def test_a_matrix_has_its_rows_true_and_its_columns_predicted() -> None:
    svg = matrix("m", "Matrix", LABELS, MATRIX, ("true", "predicted"))
    places = texts(svg)
    assert {"682", "93%", "10", "true ↓", "predicted →"} <= set(places)
    assert places["43"][0] > places["10"][0] > places["682"][0]
    assert places["45"][1] > places["13"][1] > places["682"][1]
    assert len(boxes(svg, "var(--accent)")) == 3
    assert len(boxes(svg, "var(--second)")) == 6


def test_of_a_class_without_rows_nothing_is_divided() -> None:
    svg = matrix("m", "Matrix", ("a", "b"), [[0, 0], [1, 0]], ("true", "predicted"))
    assert "0%" in texts(svg)
    assert "nan" not in svg


def test_many_columns_are_named_and_all_within_the_figure() -> None:
    labels = [f"label {number}" for number in range(12)]
    svg = matrix("m", "Matrix", labels, [[1] * 12 for _ in range(11)], ("true", "predicted"))
    assert len(boxes(svg, "var(--accent)")) == 11
    assert all(left >= 0 and right <= WIDTH for left, _, right, _ in boxes(svg, "var(--second)"))
    assert svg.count(">label 11<") == 1


def test_reliability_is_where_the_model_is_right() -> None:
    bins: Any = evaluated()["evaluation"]["calibration"]["bins"]
    svg = reliability("r", "Reliability", bins, lambda right, rows: (0.1, 0.9))
    above = sorted(boxes(svg, "var(--accent)"))
    assert len(above) == 4, "two bins have rows, each a bar above and one below"
    assert above[0][0] < above[2][0]
    assert "1,258" in texts(svg)


def test_curves_have_every_epoch() -> None:
    svg = curves("c", "Curves", trained(25)["epochs"], 7)
    assert "epoch 7 is kept" in texts(svg)
    assert {"1", "4", "25", " loss", " macro F1", " accuracy"} <= set(texts(svg))
    assert svg.count("<use") == 75
    assert set(re.findall(r'xlink:href="#([^"]+)"', svg)) <= set(re.findall(r' id="([^"]+)"', svg))


def test_a_histogram_is_of_shares() -> None:
    svg = histogram("h", "Histogram", [0, 0.5], [1, 3], "confidence", "1")
    (_, one, _, ground), (_, three, _, _) = boxes(svg, "var(--accent)")
    assert (ground - three) / (ground - one) == pytest.approx(3)
    assert {"0", "0.5", "1", "confidence"} <= set(texts(svg))


def test_figures_of_one_page_have_nothing_in_common() -> None:
    epochs = trained()["epochs"]
    ids = [re.findall(r' id="([^"]+)"', curves(name, "Curves", epochs, 1)) for name in ("one", "two")]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])

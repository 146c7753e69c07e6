"""A matplotlib figure -> SVG that is a piece of an HTML page.

Matplotlib is used without pyplot, and gets to see none of our labels: it would take `$` for mathematics, and look in
its fonts for what they lack. It places marks, and the labels are put in their place, escaped, when the SVG is there.
Text stays text, in the page's own font and colours, so that it is selected, read aloud, and right by day and by night.
The same figure has the same bytes.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

WIDTH = 400  # of every figure, in its own pixels: few enough that 13 of them are letters on a phone
INK, FAINT, ACCENT, SECOND, GRID = (f"#00000{number}" for number in range(1, 6))  # none is ever seen
_COLOURS = {
    INK: "currentColor",
    FAINT: "var(--faint)",
    ACCENT: "var(--accent)",
    SECOND: "var(--second)",
    GRID: "var(--grid)",
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": ["sans-serif"],
    "font.size": 13,
    "axes.unicode_minus": False,
    "axes.formatter.use_locale": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 1,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}
_UNWANTED = re.compile(
    r"<metadata>.*?</metadata>|<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->| transform=\"rotate\(-0 [^\"]*\"",
    re.DOTALL,
)
_FONT_FAMILY = re.compile(r"font-family:[^;\"]*;?\s*|(?<=font: )([\d.]+px)[^;\"]*")
_MARK = re.compile(r"@(\d+)@")
_ID = re.compile(r' id="([^"]*)"')


def mark(number: int) -> str:
    """What a drawing writes where the label of that number is to be."""
    return f"@{number}@"


def drawn(name: str, title: str, height: float, draw: Callable[[Figure], None], labels: Sequence[str] = ()) -> Markup:
    """The SVG of what `draw` does to a figure `WIDTH` wide, with the labels in the place of their marks.

    `name` is one that no other figure of the page has; `title` is what is read aloud. Both are ours.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever is in a matplotlibrc here
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": name})
        figure = Figure(figsize=(WIDTH / 72, height / 72))
        draw(figure)
        written = io.StringIO()
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(written, metadata={"Date": None})
    return _embedded(written.getvalue(), name, title, height, labels)


def _embedded(svg: str, name: str, title: str, height: float, labels: Sequence[str]) -> Markup:
    body = _UNWANTED.sub("", svg[svg.index("<svg") :])
    body = body[body.index(">") + 1 :]
    referenced = set(re.findall(r"#([\w.-]+)[)\"]", body))
    body = _ID.sub(lambda found: f' id="{name}-{found[1]}"' if found[1] in referenced else "", body)
    body = re.sub(r"(url\(|xlink:href=\")#", rf"\g<1>#{name}-", body)
    body = _FONT_FAMILY.sub(lambda found: found[1] or "", body)
    for colour, variable in _COLOURS.items():
        body = body.replace(colour, variable)
    body = re.sub(r"\s+", " ", body)
    body = _MARK.sub(lambda found: str(escape(labels[int(found[1])])), body)
    head = f'<svg class="plot" role="img" aria-labelledby="{name}-title" viewBox="0 0 {WIDTH} {height:g}">'
    return Markup(f'{head}<title id="{name}-title">{escape(title)}</title>{body}')  # noqa: S704 - what is not ours is escaped

"""Line charts as SVG, without a library: panels side by side, one line a series, axes, grid and legend. Pure.

Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart; lines differ in their dashes too.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "1 2")
_WIDTH, _HEIGHT = 360, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 34, 46
_LEGEND, _TITLE, _CAPTION = 26, 30, 22


class Series(Struct, frozen=True):
    """One line: its name in the legend, and its points in the order of x. Panels show the same name in the same colour."""

    name: str
    points: list[tuple[float, float]]


class Panel(Struct, frozen=True):
    """One chart. `logarithmic`: the y axis is. `percent`: y is a share, shown from 0 to 100 %. The x axis is logarithmic."""

    title: str
    x: str
    y: str
    series: list[Series]
    logarithmic: bool = False
    percent: bool = False


def chart(title: str, panels: Sequence[Panel], caption: str = "") -> str:
    """An SVG document. Raises ValueError when a panel has no point, or one that its axis cannot show."""
    names = list(dict.fromkeys(series.name for panel in panels for series in panel.series))
    width, height = _WIDTH * len(panels), _TITLE + _LEGEND + _HEIGHT + _CAPTION
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label={quoteattr(title)} font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(width / 2, 20, title, anchor="middle", more='font-size="15" font-weight="bold"'),
    ]
    parts += _legend(names, width)
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate({number * _WIDTH} {_TITLE + _LEGEND})">')
        parts += _panel(panel, names)
        parts.append("</g>")
    parts.append(_text(width / 2, height - 7, caption, anchor="middle", more='fill="#555" font-size="11"'))
    return "\n".join([*parts, "</svg>", ""])


def _legend(names: Sequence[str], width: float) -> Iterable[str]:
    step = min(170.0, (width - 40) / max(len(names), 1))
    left = (width - step * len(names)) / 2
    for number, name in enumerate(names):
        x = left + number * step
        yield f'<path d="M{x:.1f} {_TITLE + 8}h26" {_stroke(number)}/>'
        yield _text(x + 32, _TITLE + 12, name)


def _panel(panel: Panel, names: Sequence[str]) -> Iterable[str]:
    xs = [x for series in panel.series for x, _ in series.points]
    ys = [y for series in panel.series for _, y in series.points]
    if not xs:
        raise ValueError(f"the panel {panel.title!r} has no points to draw")
    if min(xs) <= 0 or (panel.logarithmic and min(ys) <= 0):
        raise ValueError(f"the panel {panel.title!r} has a point at or below 0, which a logarithmic axis cannot show")
    across, x_ticks = _logarithmic(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT)
    bottom, top = _HEIGHT - _BOTTOM, _TOP
    if panel.logarithmic:
        up, y_ticks = _logarithmic(min(ys), max(ys), bottom, top)
    else:
        up, y_ticks = _linear(0, 1 if panel.percent else max(ys), bottom, top)
    yield _text((_LEFT + _WIDTH - _RIGHT) / 2, 20, panel.title, anchor="middle", more='font-weight="bold"')
    for tick in y_ticks:
        yield f'<path d="M{_LEFT} {up(tick):.1f}H{_WIDTH - _RIGHT}" stroke="#ddd" fill="none"/>'
        yield _text(_LEFT - 6, up(tick) + 4, f"{tick:.0%}" if panel.percent else _number(tick), anchor="end")
    for tick in x_ticks:
        yield f'<path d="M{across(tick):.1f} {bottom}v5" stroke="black" fill="none"/>'
        yield _text(across(tick), bottom + 18, _number(tick), anchor="middle")
    yield f'<path d="M{_LEFT} {top}V{bottom}H{_WIDTH - _RIGHT}" stroke="black" fill="none"/>'
    yield _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, panel.x, anchor="middle")
    middle = (top + bottom) / 2
    yield _text(14, middle, panel.y, anchor="middle", more=f'transform="rotate(-90 14 {middle:.1f})"')
    for series in panel.series:
        points = [f"{across(x):.1f},{up(y):.1f}" for x, y in series.points]
        number = names.index(series.name)
        yield f'<polyline points="{" ".join(points)}" {_stroke(number)}><title>{escape(series.name)}</title></polyline>'
        for point in points:
            x, y = point.split(",")
            yield f'<circle cx="{x}" cy="{y}" r="2.6" fill="{_COLOURS[number % len(_COLOURS)]}"/>'


def _logarithmic(low: float, high: float, begin: float, end: float) -> tuple[Callable[[float], float], list[float]]:
    """Where a value lies between two places of the page, and the powers of ten (and their 2 and 5 where they are few)."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    marks = (1,) if high / low > 150 else (1, 2, 5)
    ticks = [mark * 10.0**decade for decade in decades for mark in marks]
    # The axis goes from one mark to another: those next to the values, and two at least.
    lowest = max(tick for tick in ticks if tick <= low * (1 + 1e-9))
    highest = min(tick for tick in ticks if tick >= high * (1 - 1e-9) and tick > lowest)
    visible = [tick for tick in ticks if lowest <= tick <= highest]
    scale = (end - begin) / math.log10(highest / lowest)
    return lambda value: begin + scale * math.log10(value / lowest), visible


def _linear(low: float, high: float, begin: float, end: float) -> tuple[Callable[[float], float], list[float]]:
    high = high if high > low else low + 1
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(mark * power for mark in (1, 2, 5, 10) if mark * power >= rough - 1e-12)
    ticks = [low + step * number for number in range(int((high - low) / step + 1e-9) + 1)]
    return lambda value: begin + (end - begin) * (value - low) / (high - low), ticks


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _stroke(number: int) -> str:
    dashes = _DASHES[number % len(_DASHES)]
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'fill="none" stroke="{_COLOURS[number % len(_COLOURS)]}" stroke-width="2"{dashed}'


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(text)}</text>'

"""Pictures of a report as SVG, without a library: `python -m ui_client.evaluation.plot REPORT --out DIR`. Pure, but for `draw` and `main`.

`calibration.svg`: the share that was right against the confidence that was stated, in ten bins, with 95 % intervals.
`precision-recall.svg`: what would be installed rightly as the threshold moves, with the interval of the precision. Several reports share
one picture. Colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape, quoteattr

import msgspec

from ui_client.evaluation.figures import Calibration, CurvePoint
from ui_client.evaluation.report import EvaluationReport, EvaluationSummary, read

COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_WIDTH, _HEIGHT = 440, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 44, 52


def draw(reports: Mapping[str, EvaluationReport], directory: Path) -> list[Path]:
    """Write both pictures; name in the legend → report. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    summaries = {name: report.summary for name, report in reports.items()}
    written = []
    for name, text in (("calibration.svg", calibration_chart(summaries)), ("precision-recall.svg", curve_chart(summaries))):
        path = directory / name
        path.write_text(text)
        written.append(path)
    return written


def calibration_chart(summaries: Mapping[str, EvaluationSummary]) -> str:
    """The share of right ones against the stated confidence."""
    parts = [f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="#999" stroke-dasharray="4 4" fill="none"/>']
    notes = []
    for colour, (name, summary) in zip(_colours(), summaries.items(), strict=False):
        parts += _bins(summary.calibration, colour)
        error = summary.calibration.error
        notes.append((colour, f"{name}: no stated confidence" if error is None else f"{name}: ECE {error:.3f} of {summary.stated}"))
    return _chart("Calibration", "stated confidence", "share that is right", parts, notes)


def curve_chart(summaries: Mapping[str, EvaluationSummary]) -> str:
    """Precision against recall."""
    parts: list[str] = []
    notes = []
    for colour, (name, summary) in zip(_colours(), summaries.items(), strict=False):
        parts += _line(summary.curve, colour)
        parts += _as_it_is(summary, colour)
        notes.append((colour, name if summary.curve else f"{name}: no stated confidence"))
    return _chart("Precision and recall", "recall: right of all that have an answer", "precision: right of installed", parts, notes)


def _bins(calibration: Calibration, colour: str) -> Iterable[str]:
    places = []
    for point in calibration.bins:
        if point.confidence is None or point.right.share is None or point.right.low is None or point.right.high is None:
            continue
        x, y = _x(point.confidence), _y(point.right.share)
        places.append(f"{x},{y}")
        yield f'<path d="M{x} {_y(point.right.low)}V{_y(point.right.high)}" stroke="{colour}" opacity="0.5"/>'
        title = f"{point.right.count} of {point.right.of} right, stated {point.confidence:.2f}"
        yield f'<circle cx="{x}" cy="{y}" r="{3 + min(5.0, point.right.of**0.5 / 3):.1f}" fill="{colour}"><title>{title}</title></circle>'
    yield f'<polyline points="{" ".join(places)}" stroke="{colour}" stroke-width="1.5" fill="none"/>'


def _line(points: Sequence[CurvePoint], colour: str) -> Iterable[str]:
    shown = [point for point in points if point.precision.share is not None and point.recall.share is not None]
    if not shown:
        return
    upper = [f"{_x(point.recall.share or 0)},{_y(point.precision.high or 0)}" for point in shown]
    lower = [f"{_x(point.recall.share or 0)},{_y(point.precision.low or 0)}" for point in reversed(shown)]
    yield f'<polygon points="{" ".join(upper + lower)}" fill="{colour}" opacity="0.12"/>'
    line = [f"{_x(point.recall.share or 0)},{_y(point.precision.share or 0)}" for point in shown]
    yield f'<polyline points="{" ".join(line)}" stroke="{colour}" stroke-width="2" fill="none"/>'


def _as_it_is(summary: EvaluationSummary, colour: str) -> Iterable[str]:
    """Where the image stands with the threshold that it has: a ring."""
    precision = summary.overall.precision
    if precision.share is None or not summary.answerable:
        return
    recall = summary.answered_right.share or 0
    title = f"as it is: precision {precision.share:.3f}, recall {recall:.3f}"
    ring = f'r="6" stroke="{colour}" stroke-width="2.5" fill="white"'
    yield f'<circle cx="{_x(recall)}" cy="{_y(precision.share)}" {ring}><title>{title}</title></circle>'


def _chart(title: str, across: str, up: str, parts: Iterable[str], notes: Sequence[tuple[str, str]]) -> str:
    height = _HEIGHT + 18 * len(notes)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" '
        f'aria-label={quoteattr(title)} font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_WIDTH / 2}" y="24" text-anchor="middle" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        lines.append(f'<path d="M{_x(0)} {_y(tick)}H{_x(1)}M{_x(tick)} {_y(0)}V{_y(1)}" stroke="#e4e4e4" fill="none"/>')
        lines.append(f'<text x="{_LEFT - 6}" y="{_y(tick) + 4}" text-anchor="end">{tick:.0%}</text>')
        lines.append(f'<text x="{_x(tick)}" y="{_y(0) + 18}" text-anchor="middle">{tick:.0%}</text>')
    lines.append(f'<path d="M{_x(0)} {_y(1)}V{_y(0)}H{_x(1)}" stroke="black" fill="none"/>')
    lines.append(f'<text x="{(_x(0) + _x(1)) / 2}" y="{_HEIGHT - 14}" text-anchor="middle">{escape(across)}</text>')
    middle = (_y(0) + _y(1)) / 2
    lines.append(f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">{escape(up)}</text>')
    lines += parts
    for number, (colour, text) in enumerate(notes):
        y = _HEIGHT + 18 * number + 4
        lines.append(f'<circle cx="{_LEFT + 6}" cy="{y - 4}" r="5" fill="{colour}"/><text x="{_LEFT + 18}" y="{y}">{escape(text)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _colours() -> Iterable[str]:
    while True:
        yield from COLOURS


def _x(share: float) -> float:
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1 where a report cannot be read or a picture not be written."""
    parser = argparse.ArgumentParser(prog="python -m ui_client.evaluation.plot", description="draw what `batos eval --out` has written")
    parser.add_argument("report", type=Path, nargs="+", help="reports; several are drawn into the same pictures")
    parser.add_argument("--out", type=Path, required=True, help="directory of the pictures")
    options = parser.parse_args(arguments)
    try:
        written = draw({path.stem: read(path) for path in options.report}, options.out)
    except (OSError, msgspec.MsgspecError) as error:
        sys.stderr.write(f"{error}; a report is what `batos eval SUITE --out REPORT` has written\n")
        return 1
    sys.stdout.write("".join(f"{path}\n" for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())

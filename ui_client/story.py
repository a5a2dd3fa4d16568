"""The story of a missing method: progress events in, lines for a person out. Pure; any thread may call it.

One send can lead to several missing methods (a draft that needs another one); each is a story of its own, told in the
order in which they began.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ui_client import values
from uvm.protocol import STAGES, Progress

ENDS = frozenset({"installed", "shown", "refused", "held", "failed"})
"""Stages after which a method's story is over: it was written, shown or neither; it was tested, and held, or did not."""
_DETAIL_WIDTH = 100


class Line(Struct, frozen=True):
    """A step that was taken. `at`: seconds since the first event of the send."""

    selector: str
    stage: str
    detail: str
    at: float


class Story:
    """Everything that was told about the methods that one send waited for."""

    def __init__(self, selector: str) -> None:
        self._selectors = {selector}
        self._began: float | None = None
        self._reported: set[tuple[Any, str]] = set()
        self._open: dict[Any, Progress] = {}
        self.lines: list[Line] = []
        self.installed: list[Progress] = []

    def add(self, event: Progress, now: float) -> Line | None:
        """Take an event in; the line it adds, or None (a stranger's event, one already told, text being written).

        An event is ours if it is of our selector, or of one that a method of ours needs: whoever misses the same method shares one story.
        """
        if event.selector not in self._selectors:
            return None
        needed = event.detail.get("needs")
        if isinstance(needed, str):
            self._selectors.add(needed)
        if self._began is None:
            self._began = now
        ended = event.stage in ENDS
        if ended:
            self._open.pop(event.message, None)
        else:
            self._open[event.message] = event
        key = (event.message, event.stage)
        if event.stage == "drafting" or key in self._reported:
            return None
        self._reported.add(key)
        if event.stage == "installed":
            self.installed.append(event)
        line = Line(event.selector, event.stage, describe(event.detail), now - self._began)
        self.lines.append(line)
        return line

    @property
    def unfinished(self) -> bool:
        """Has something begun that is neither installed nor refused?"""
        return bool(self._open)

    def waiting_for(self) -> str:
        """The step that is being taken, as `total_price: drafting`; empty when nothing is open."""
        if not self._open:
            return ""
        event = list(self._open.values())[-1]
        if event.stage == "drafting" and isinstance(waiting := event.detail.get("waiting"), str):
            return f"{event.selector}: {_shorten(values.showable(waiting))}"
        if event.stage == "drafting":
            return f"{event.selector}: drafting {_shorten(_last_line(event.detail))}".rstrip()
        if event.stage not in STAGES:
            return f"{event.selector}: {event.stage}"
        following = STAGES[STAGES.index(event.stage) + 1]
        return f"{event.selector}: to be {following}"


def describe(detail: Mapping[str, Any]) -> str:
    """The plain entries of an event's detail on one short line: `drafts 4, persona brick`."""
    parts = []
    for key, value in detail.items():
        if isinstance(value, list | tuple):
            nested = any(isinstance(element, Mapping | list) for element in value)
            text = str(len(value)) if nested else ", ".join(values.show(element) for element in value)
        elif isinstance(value, Mapping):
            text = describe(value)
        elif isinstance(value, float):
            text = f"{value:.3g}"
        else:
            text = values.show(value)
        if text and "\n" not in text:
            parts.append(f"{key} {text}")
    return _shorten(", ".join(parts))


def _last_line(detail: Mapping[str, Any]) -> str:
    text = detail.get("text", "")
    lines = values.showable(text).strip().splitlines() if isinstance(text, str) else []
    return lines[-1] if lines else ""


def _shorten(text: str) -> str:
    return text if len(text) <= _DETAIL_WIDTH else text[: _DETAIL_WIDTH - 1] + "…"

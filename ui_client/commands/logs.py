"""`batos logs`: the processes' JSON logs as readable lines, and following them."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from deploy import settings
from ui_client import child, report, values
from ui_client.report import Failure, answering

_FOLLOW_S = 0.25
_COMMON = ("time", "level", "process", "pid", "event")
_STYLES = {"error": "red", "critical": "red", "warning": "yellow"}


def register(app: typer.Typer) -> None:
    app.command()(logs)


def logs(
    process: Annotated[str, typer.Argument(help="image, bridge, uvm-1, inference, heartbeat …; all by default.")] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is written from now on, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many of the last lines of each.", min=0)] = 20,
) -> None:
    """Print the ends of the processes' logs, in the order of time."""
    with answering(False):
        directory = settings.load().home.logs
        files = sorted(directory.glob("*.log")) if directory.is_dir() else []
        chosen = [file for file in files if process in ("", file.stem)]
        if not chosen:
            stems = ", ".join(file.stem for file in files)
            remedy = f"there are: {stems}" if stems else "start the service: batos up"
            raise Failure("NoSuchLog", f"{directory} has no log of {process or 'any process'}", remedy)
        ends = {file: file.stat().st_size for file in chosen}
        recent = [(file, text) for file in chosen for text in child.tail(file, lines=lines).splitlines()]
        recent.sort(key=lambda entry: _time(entry[1]))
        for file, text in recent:
            report.out.print(readable(file.stem, text), soft_wrap=True)
        while follow:
            for file in chosen:
                for text in _new_lines(file, ends):
                    report.out.print(readable(file.stem, text), soft_wrap=True)
            time.sleep(_FOLLOW_S)


def readable(process: str, text: str) -> Text:
    """A JSON log line as `12:00:01 bridge  what happened  key value`; another line as it is."""
    try:
        entry = json.loads(text)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        return Text(f"{process}  {values.showable(text)}")
    level = str(entry.get("level", ""))
    clock = str(entry.get("time", ""))[11:19]
    rest = "  ".join(f"{key} {values.show(value)}" for key, value in entry.items() if key not in _COMMON)
    line = Text(f"{clock} ", style="dim").append(f"{entry.get('process', process)}  ", style="cyan")
    line.append(values.showable(str(entry.get("event", ""))), style=_STYLES.get(level, "default"))
    return line.append(f"  {rest}", style="dim") if rest else line


def _time(text: str) -> str:
    try:
        entry = json.loads(text)
    except ValueError:
        return ""
    return str(entry.get("time", "")) if isinstance(entry, dict) else ""


def _new_lines(file: Path, ends: dict[Path, int]) -> Iterator[str]:
    try:
        size = file.stat().st_size
        if size < ends[file]:
            # Rotated: the rest of the old file is in its first backup, and the new one is read from its start.
            ends[file] = 0
        with file.open("rb") as opened:
            opened.seek(ends[file])
            whole, newline, _ = opened.read().rpartition(b"\n")
    except OSError:
        return
    ends[file] += len(whole) + len(newline)
    yield from whole.decode(errors="replace").splitlines()

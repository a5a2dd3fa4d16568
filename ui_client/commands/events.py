"""`batos watch`: what the image publishes, as it happens."""

import json
from typing import Annotated

import typer
from rich.text import Text

from ui_client import report, story, values
from ui_client.client.client import Missed
from ui_client.connection import connect
from ui_client.report import Json, answering
from uvm.protocol import Progress, StateUpdate

_TOPICS = ("state", "progress")


def register(app: typer.Typer) -> None:
    app.command()(watch)


def watch(
    topic: Annotated[list[str] | None, typer.Option(help="state or progress; both by default.")] = None,
    count: Annotated[int, typer.Option(help="End after so many events; 0: never.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Print state updates and generation progress, one line each, until Ctrl-C."""
    topics = tuple(topic or _TOPICS)
    for name in topics:
        if name not in _TOPICS:
            raise typer.BadParameter(f"there is no topic {name!r}; allowed: {', '.join(_TOPICS)}")
    with answering(as_json), connect() as client:
        for number, event in enumerate(client.events(topics, missed=True), 1):
            if as_json:
                typer.echo(json.dumps(values.to_json({"event": type(event).__name__, **_fields(event)}), ensure_ascii=False))
            else:
                report.out.print(Text(line(event)), soft_wrap=True)
            if number == count:
                return


def line(event: StateUpdate | Progress | Missed) -> str:
    """One event on one line."""
    if isinstance(event, Missed):
        return f"some {event.topic} events were lost"
    if isinstance(event, Progress):
        detail = story.describe(event.detail)
        return values.showable(f"{event.selector}: {event.stage}" + (f"  {detail}" if detail else ""))
    changes = []
    for changed in event.changes:
        set_slots = [f"{name} = {_short(values.show(value))}" for name, value in changed.slots.items()]
        removed = [f"without {name}" for name in changed.removed]
        changes.append(f"{', '.join(changed.names) or changed.reference}: {', '.join([*set_slots, *removed])}")
    tid = event.tid.hex().lstrip("0")
    return values.showable(f"{tid} {event.uvm}  " + "; ".join(changes))


def _fields(event: StateUpdate | Progress | Missed) -> dict[str, object]:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    if isinstance(event, StateUpdate):
        fields["tid"] = event.tid.hex()
    return fields


def _short(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"

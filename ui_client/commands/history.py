"""`batos history`, `undo`, `diff`: what happened in the image, and taking it back. Each is a message to the image (docs/protocol.md)."""

import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
import typer

from ui_client import report, values
from ui_client.client.client import Client
from ui_client.commands.messages import Target, names_for
from ui_client.connection import connect
from ui_client.report import Failure, Json, answering
from uvm.protocol import Reference

_PAGE: Final = 200
_SAY_EVERY_S: Final = 2.0
_WIDTH: Final = 60
Names = Mapping[Reference, str]


class HistoryPage(msgspec.Struct):
    """A page of history; `next` is where the next one begins."""

    entries: list[dict[str, Any]]
    next: str


class Undone(msgspec.Struct):
    """What an undo did, or would do."""

    slots: list[dict[str, Any]]
    conflicts: list[dict[str, Any]]
    more: int = 0
    preview: bool = False
    data: list[dict[str, Any]] = []
    data_changes: int = 0
    with_data: bool = False
    data_cut: bool = False


def register(app: typer.Typer) -> None:
    app.command()(history)
    app.command()(undo)
    app.command()(diff)


def history(
    target: Annotated[str, typer.Argument(help="A name, or a reference such as @2a; without it, the whole image.")] = "",
    slot: Annotated[str, typer.Argument(help="One slot of it.")] = "",
    limit: Annotated[int, typer.Option("-n", "--limit", help="How many entries to show.", min=1, max=10_000)] = 20,
    before: Annotated[str, typer.Option(metavar="ENTRY", help="Go on from this entry: what happened before it.")] = "",
    chronicle: Annotated[
        bool, typer.Option("--chronicle", help="What mattered alone: methods, models, refusals, undos; no messages.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what happened, the newest first: who changed what, by which message and method, and when. `batos undo` takes an entry."""
    if target and chronicle:
        raise typer.BadParameter("--chronicle is of the whole image; leave out TARGET")
    with answering(as_json), connect() as client:
        page = pages(client, target, slot, limit, before, chronicle)
        if as_json:
            report.result(page)
            return
        names = names_for(client, page.entries)
        for entry in page.entries:
            for line in described(entry, names):
                report.out.print(values.showable(line), soft_wrap=True)
        if not page.entries:
            report.note("nothing that the image still knows of")
        elif page.next:
            report.note(f"there is more: --before {page.next}")


def undo(
    subject: Annotated[
        str,
        typer.Argument(metavar="what", help="An entry of `batos history`, SESSION/SEQ, a transaction, a method's reference, or TARGET."),
    ],
    selector: Annotated[str, typer.Argument(help="With TARGET: the method of its own to take back.")] = "",
    preview: Annotated[bool, typer.Option("--preview", help="Show what would be done, and change nothing.")] = False,
    also_data: Annotated[bool, typer.Option("--also-data", help="With a method: also what it wrote.")] = False,
    where_possible: Annotated[bool, typer.Option("--where-possible", help="Take back the rest where some of it cannot be.")] = False,
    as_json: Json = False,
) -> None:
    """Take back what a message, a method or a transaction did, in one transaction; an undo can be undone itself.

    A slot is taken back where it still is as it was left. Where something touched it later, nothing is done, and it is said slot by slot.
    """
    with answering(as_json), connect() as client:
        aim: Any = [client.inspect(values.target(subject)).reference, selector] if selector else _subject(subject)
        options = {"preview": preview, "also_data": also_data, "where_possible": where_possible}
        answer = client.send("genesis_obj", "undo_", aim, keywords=options)
        if as_json:
            report.result(answer)
            return
        undone = _read(answer, Undone)
        names = names_for(client, [undone.slots, undone.conflicts])
        _print_undone(undone, names)


def diff(
    target: Target,
    first: Annotated[str, typer.Argument(help="A transaction, as `batos history` shows it.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    as_json: Json = False,
) -> None:
    """Show what differed of an object between two transactions, slot by slot, as far back as the last pack."""
    with answering(as_json), connect() as client:
        # Through its mirror, here as below: the object may call a slot of its own so.
        slots = client.send(values.target(target), "mirror_", "diff_", first, second)
        if as_json:
            report.result(slots)
            return
        names = names_for(client, slots)
        for slot in _read(slots, list[dict[str, Any]]):
            report.out.print(values.showable(f"{slot['slot']}: {_shift(slot, 'before', 'after', names)}"), soft_wrap=True)
        if not slots:
            report.note("nothing differed")


def described(entry: Mapping[str, Any], names: Names) -> Iterator[str]:
    """An entry on a line, and each of its changes on one of its own."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry["at"]))
    if entry["kind"] == "message":
        number = f" {entry['session'][:12]}/{entry['seq']}" if entry.get("session") else ""
        title = f"{entry['author']}{number} sent {entry['selector']}"
    else:
        concerned = ".".join([_short(entry["object"], names), *([entry["slot"]] if entry.get("slot") else [])]) if "object" in entry else ""
        title = f"{entry['kind']} {concerned}".rstrip() + f" by {entry['author']}"
    undone = "  (undone)" if entry.get("undone") else ""
    yield f"{entry['entry']}  {at}  {entry['tid']}  {title}{undone}"
    for change in entry.get("changes", ()):
        by = f"  by {_short(change['method'], names)} {change['version'][:8]}" if "method" in change else ""
        yield f"    {_short(change['object'], names)}.{change['slot']}: {_shift(change, 'before', 'after', names)}{by}"
    if "more" in entry:
        yield f"    and {entry['more']} more"


def pages(client: Client, target: str, slot: str, limit: int, before: str, chronicle: bool) -> HistoryPage:
    """As many entries, from as many of the image's pages as that takes."""
    page, said_at = HistoryPage([], before), time.monotonic() + _SAY_EVERY_S
    while True:
        page_limit = min(_PAGE, limit - len(page.entries))
        keywords = {"before": page.next, "limit": page_limit}
        if target:
            answer = client.send(values.target(target), "mirror_", "history_", keywords={**keywords, "slot": slot})
        else:
            answer = client.send("genesis_obj", "recent_", keywords={**keywords, "chronicle": chronicle})
        more = _read(answer, HistoryPage)
        page = HistoryPage([*page.entries, *more.entries], more.next)
        if not page.next or len(page.entries) >= limit:
            return page
        if time.monotonic() > said_at:
            said_at = time.monotonic() + _SAY_EVERY_S
            report.note(f"looking at what was before {page.next}")


def _subject(text: str) -> Any:
    return values.target(text) if text.startswith("@") else text


def _print_undone(undone: Undone, names: Names) -> None:
    for slot in undone.slots:
        label = f"{_short(slot['object'], names)}.{slot['slot']}"
        report.out.print(values.showable(f"{label}: {_shift(slot, 'now', 'becomes', names)}"), soft_wrap=True)
    if undone.more:
        report.note(f"and {undone.more} slots more")
    for conflict in undone.conflicts:
        later = f" by {conflict['later']}" if "later" in conflict else ""
        report.note(f"{_short(conflict['object'], names)}.{conflict['slot']} stays: {conflict['why']}{later}", style="yellow")
    if not undone.slots and not undone.conflicts:
        report.note("there is nothing left to take back")
    elif undone.slots:
        count = len(undone.slots) + undone.more
        done = "would be taken back" if undone.preview else "taken back"
        report.note(f"{count} slot{'s' if count > 1 else ''} {done}", style="dim" if undone.preview else "green")
    if undone.data_changes and not undone.with_data:
        more = " or more" if undone.data_cut else ""
        report.note(f"what the method wrote since it was installed ({undone.data_changes}{more}) stays; --also-data takes it back as well")


def _shift(change: Mapping[str, Any], was: str, is_now: str, names: Names) -> str:
    return f"{_side(change, was, names)} → {_side(change, is_now, names)}"


def _side(change: Mapping[str, Any], side: str, names: Names) -> str:
    """The value on one side of a change; of what was left, not all is kept."""
    if side in change:
        return _short(change[side], names)
    if f"{side}_bytes" in change:
        return f"({change[f'{side}_bytes']:,} bytes)"
    return "(not kept)" if change.get("left") and side == "after" else "(none)"


def _short(value: Any, names: Names) -> str:
    text = values.show(value, names)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _read(answer: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise Failure("BadReply", f"the image's answer is not as expected: {error}", "is the image of another version?") from error

"""`batos lineage ADAPTER | TARGET SELECTOR | TARGET`: where an adapter, a method, or what an object holds comes from, and what came of it.

From an adapter on: its order, gap, data and messages, the methods that it wrote, and how often these wrote. From a method, or from an
object back: which method wrote each of its slots last, whose draft that was, for which message, and, where the loop made its adapter, all
of the above. It is read from proofs, history and rounds, as any tool can.
"""

from typing import Annotated, Any, Final

import typer
from rich.text import Text

from ui_client import report, values
from ui_client.client.client import Client
from ui_client.commands import autotelic, history, models
from ui_client.commands.autotelic import MIND
from ui_client.connection import connect
from ui_client.report import Json, answering
from uvm.protocol import Reference

LOOKED: Final = 1000
"""Entries of an object's history that are looked through, the newest."""
_DIGITS: Final = frozenset("0123456789abcdef")


def register(app: typer.Typer) -> None:
    app.command()(lineage)


def lineage(
    word: Annotated[str, typer.Argument(metavar="ADAPTER|TARGET", help="An adapter's digest or its beginning; or an object.")],
    selector: Annotated[str, typer.Argument(help="Of an object: the method whose lineage is asked for; without it, its data's.")] = "",
    as_json: Json = False,
) -> None:
    """Where an adapter, a method, or what an object holds comes from, and what came of it: order, gap, data, messages, methods."""
    with answering(as_json), connect() as client:
        rounds = autotelic.rounds(client)
        if selector:
            answer = _of_method(client, rounds, word, selector)
        elif _is_adapter(client, rounds, word):
            answer = _of_adapter(client, rounds, word)
        else:
            answer = _of_object(client, rounds, word)
        if as_json:
            report.result(answer)
            return
        for line in _lines(answer):
            report.out.print(Text(values.showable(line)), soft_wrap=True)


def _is_adapter(client: Client, rounds: list[dict[str, Any]], word: str) -> bool:
    """Whether a word is the beginning of an adapter's digest; what is not may be an object's name."""
    if not word or not set(word) <= _DIGITS:
        return False
    return any(row["digest"].startswith(word) for row in [*rounds, *models.adapters(client)])


def _of_adapter(client: Client, rounds: list[dict[str, Any]], digest: str) -> dict[str, Any]:
    made = next((row for row in rounds if digest and row["digest"].startswith(digest)), None)
    answer: dict[str, Any] = {"round": made, "adapter": made["digest"] if made else digest}
    if answer["adapter"]:
        written = client.send(MIND, "revokeAuthor_", "adapter", answer["adapter"], keywords={"preview": True})
        answer |= {"methods": written["methods"], "wrote": sum(method["writes"] for method in written["methods"])}
    return answer


def _of_method(client: Client, rounds: list[dict[str, Any]], word: str, selector: str) -> dict[str, Any]:
    proof = client.send(values.target(word), "explain_", selector).get("proof") or {}
    answer = {"method": selector, "of": word, "message": proof.get("message"), "adapter": _adapter_of(proof)}
    return answer | _of_adapter(client, rounds, _adapter_of(proof))


def _of_object(client: Client, rounds: list[dict[str, Any]], word: str) -> dict[str, Any]:
    """Its slots, by what wrote them last; the rounds whose adapters wrote the methods that did."""
    page = history.pages(client, word, "", LOOKED, "", False)
    state = client.inspect(values.target(word))
    methods: dict[Reference, dict[str, Any]] = {}
    slots: dict[str, dict[str, Any]] = {}
    for entry in page.entries:
        for change in entry.get("changes", ()):
            if change["object"] != state.reference or change["slot"] in slots or change["slot"] not in state.slots or change.get("undone"):
                continue
            row = {"slot": change["slot"], "entry": entry["entry"], "at": entry["at"], "author": entry["author"]}
            if isinstance(method := change.get("method"), Reference):
                if method not in methods:
                    methods[method] = _method(client, method)
                row["method"] = {**methods[method], "version": change.get("version", "")}
            slots[change["slot"]] = row
    adapters = {row["method"]["adapter"] for row in slots.values() if row.get("method")} - {""}
    made = [row for row in rounds if row["digest"] in adapters]
    return {"object": state.reference, "slots": list(slots.values()), "rounds": made, "more": bool(page.next)}


def _method(client: Client, method: Reference) -> dict[str, Any]:
    """What a method says of itself, read as it is stored."""
    state = client.inspect(method)
    stored = state.slots
    proof = client.send(method, "proof") if "proof" in state.large else stored.get("proof")
    proof = proof if isinstance(proof, dict) else {}
    return {
        "reference": method,
        "selector": stored.get("selector", ""),
        "author": stored.get("author", ""),
        "message": proof.get("message", ""),
        "adapter": _adapter_of(proof),
    }


def _adapter_of(proof: dict[str, Any]) -> str:
    return str(proof.get("adapter", "")).rpartition("@")[2]


def _lines(answer: dict[str, Any]) -> list[str]:
    lines = []
    digest = str(answer.get("adapter", ""))
    if "method" in answer:
        writer = f"the adapter {digest[:12]}" if digest else "nobody's adapter"
        lines.append(f"{answer['method']} of {answer['of']} was written by {writer}, for the message {answer.get('message') or '?'}")
    if "slots" in answer:
        for row in answer["slots"]:
            method = row.get("method")
            by = f"message of {row['author']}" if method is None else _told(method)
            lines.append(f"{row['slot']}: {by}, entry {row['entry']}")
        if not answer["slots"]:
            lines.append("nothing that the image still knows of wrote its slots")
        elif answer["more"]:
            lines.append(f"older entries than the newest {LOOKED:,} were not looked at")
        for made in answer["rounds"]:
            lines += autotelic.told_of(made)
        return lines
    made = answer.get("round")
    lines += autotelic.told_of(made) if made else [f"no order of this image made the adapter {digest[:12]}"] if digest else []
    for method in answer.get("methods", []):
        lines.append(f"method {method['selector']} of {values.show(method.get('object'))}, wrote {method['writes']} times")
    return lines


def _told(method: dict[str, Any]) -> str:
    adapter = f", by the adapter {method['adapter'][:12]}" if method["adapter"] else ""
    message = f" for the message {method['message']}" if method["message"] else ""
    return f"method {method['selector']} {values.show(method['reference'])}, written by {method['author']}{adapter}{message}"

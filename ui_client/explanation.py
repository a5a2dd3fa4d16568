"""A method with its proof, as `explain_` answers it, in a terminal. Pure; any thread may call it.

The reply is a map {selector, source, author, quarantined, installed_on, proof: {prompt, drafts: [{source, findings, outcome,
logprob}], audit, trial, model, adapter, seed, mode}, history: […]}. Any key may be missing: what is there is shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from ui_client import values

_FACTS = ("mode", "model", "adapter", "endpoint", "endpoint_model", "seed")


def source_panel(source: str, title: str) -> Panel:
    """Source text with colours, complete."""
    code = Syntax(values.showable(source).rstrip(), "python", theme="ansi_dark", background_color="default", word_wrap=True)
    return Panel(code, title=Text(values.showable(title)), expand=False)


def render(explanation: Mapping[str, Any], names: Mapping[Any, str] | None = None) -> RenderableType:
    """The source, who wrote it, and everything its proof holds."""
    proof = explanation.get("proof")
    proof = proof if isinstance(proof, Mapping) else {}
    parts: list[RenderableType] = []
    source = explanation.get("source")
    if isinstance(source, str):
        parts.append(source_panel(source, str(explanation.get("selector", ""))))
    reason = explanation.get("quarantined")
    if isinstance(reason, str) and reason:
        parts.append(Text(values.showable(f"out of use: {reason}"), style="bold red"))
    parts.append(_facts(explanation, proof, names))
    prompt = proof.get("prompt")
    if isinstance(prompt, str) and prompt:
        parts.append(Panel(Text(values.showable(prompt).rstrip()), title="prompt", expand=False))
    drafts = proof.get("drafts")
    if isinstance(drafts, Sequence) and not isinstance(drafts, str | bytes):
        parts += [_draft(number, draft, names) for number, draft in enumerate(drafts, 1)]
    history = explanation.get("history")
    if isinstance(history, Sequence) and not isinstance(history, str | bytes) and history:
        parts.append(Text("history", style="bold"))
        parts += [Text(f"• {values.show(entry, names)}") for entry in history]
    return Group(*parts)


def _facts(explanation: Mapping[str, Any], proof: Mapping[str, Any], names: Mapping[Any, str] | None) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    rows = {"author": explanation.get("author"), "installed on": explanation.get("installed_on")}
    if explanation.get("shared"):
        rows["shared"] = "with objects of its shape: batos method corrects it for all of them, with --here for one"
    rows |= {"revoked": explanation.get("revoked"), "from the library": explanation.get("came")}
    rows |= {key: proof.get(key) for key in ("audit", "trial", *_FACTS)}
    listed = {"prompt", "drafts", "audit", "trial", *_FACTS}
    rows |= {str(key): value for key, value in proof.items() if key not in listed}
    for key, value in rows.items():
        if value not in (None, "", [], {}):
            grid.add_row(Text(values.showable(f"{key}:")), _fact(value, names))
    return grid


def _fact(value: object, names: Mapping[Any, str] | None) -> Text:
    """A value on one line; a map, such as the trial's outcome, on one line for each entry that says something."""
    if not isinstance(value, Mapping):
        return Text(values.show(value, names))
    return Text(
        "\n".join(f"{values.show(key)} {values.show(entry, names)}" for key, entry in value.items() if entry not in (None, "", [], {}))
    )


def _draft(number: int, draft: object, names: Mapping[Any, str] | None) -> RenderableType:
    if not isinstance(draft, Mapping):
        return Panel(Text(values.show(draft, names)), title=f"draft {number}", expand=False)
    facts = {key: value for key, value in draft.items() if key != "source" and value not in (None, "", [], {})}
    notes = [f"{key}: {_fact(value, names)}" for key, value in facts.items()]
    body: list[RenderableType] = []
    if isinstance(draft.get("source"), str):
        body.append(
            Syntax(values.showable(draft["source"]).rstrip(), "python", theme="ansi_dark", background_color="default", word_wrap=True)
        )
    body += [Text(note, style="dim") for note in notes]
    return Panel(Group(*body), title=f"draft {number}", expand=False)

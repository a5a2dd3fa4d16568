"""`batos send`, `inspect`, `source`, `objects`, `method`: messages to the image, and what is known of its objects."""

import json
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ui_client import explanation, progress, report, terminal, values, wherefore
from ui_client.client.client import Client
from ui_client.connection import connect
from ui_client.message_arguments import (
    EXAMPLE_SHAPE,
    SENDS_SHAPE,
    read_arguments,
    read_example,
    read_examples,
    read_keywords,
    read_sends,
    repeated_keywords,
)
from ui_client.report import Failure, Json, answering
from ui_client.story import Story
from ui_client.window.model import object_morph
from uvm.protocol import Example, ObjectState, Reference

Target = Annotated[str, typer.Argument(help="A name, or a reference such as @2a.")]
Selector = Annotated[str, typer.Argument(help="The message.")]
Deadline = Annotated[float | None, typer.Option(help="Give up after this many seconds.", min=0.001, max=86_400)]
_DIGEST = re.compile(r"[0-9a-f]{32}")
Examples = Annotated[
    list[str] | None,
    typer.Option(
        "--example",
        help='What is expected: {"args": […], "kwargs": {…}, "result": …}. "slots": {…} are values that the receiver has before, '
        '"changed": {…} those that differ afterwards ({}: none), "raises": "ValueError" an error in place of a result.',
    ),
]
Choices = Annotated[
    list[str] | None,
    typer.Option(
        "--example",
        help='What is expected: {"args": […], "kwargs": {…}, "result": …}. "slots": {…} are values that the receiver has before, '
        '"changed": {…} those that differ afterwards ({}: none), "raises": "ValueError" an error in place of a result. A number is one of '
        "the choices that the last refusal of this message showed.",
    ),
]


def register(app: typer.Typer) -> None:
    # Unknown options are let through, so that -5 is an argument; read_arguments refuses the ones that are no numbers.
    app.command(context_settings={"ignore_unknown_options": True})(send)
    app.command()(transaction)
    app.command()(get)
    app.command()(inspect)
    app.command()(source)
    app.command()(why)
    app.command()(objects)
    app.command()(method)
    app.command()(examples)


def send(
    target: Target,
    selector: Selector,
    args: Annotated[list[str] | None, typer.Argument(help="JSON, else text; @2a is a reference, '\"@2a\"' the text.")] = None,
    kw: Annotated[list[str] | None, typer.Option(help="A keyword argument, NAME=JSON.")] = None,
    example: Choices = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show what it would do, and change nothing.")] = False,
    accept: Annotated[str, typer.Option(metavar="DIGEST", help="Install the method that a preview of it has shown, and send it.")] = "",
    risk: Annotated[
        float | None,
        typer.Option(help="How likely a method that is written for this may be wrong; 1: take the best one there is. Default: uvm.risk."),
    ] = None,
    deadline: Deadline = None,
    via: Annotated[str, typer.Option(help="The UVM that shall run it, such as uvm-1.")] = "",
    as_json: Json = False,
) -> None:
    """Send a message to an object and print the reply. What nothing understands becomes a method first.

    Where the image is not sure which method is meant, it refuses and shows what it could be: `--example 1` says that the first of these
    choices is right, and is taken as it is.
    """
    if accept and (preview or example):
        raise typer.BadParameter("--accept is for what a preview has shown; leave out --preview and --example")
    if risk is not None and not 0 < risk <= 1:
        raise typer.BadParameter(f"--risk is above 0 and at most 1, not {risk:g}")
    if accept and not _DIGEST.fullmatch(accept):
        raise typer.BadParameter(f"--accept {accept!r:.80}: it takes the 32 hexadecimal digits with which `batos send … --preview` ends")
    with answering(as_json):
        aim, positional, keywords = values.target(target), read_arguments(args or []), read_keywords(kw or [])
        texts = example or []
        expected = read_examples([text for text in texts if not text.strip().isdecimal()])
        with connect() as client:
            for number in (int(text) for text in texts if text.strip().isdecimal()):
                expected.append(_chosen(client, aim, selector, len(positional), list(keywords), number))
                risk = 1.0 if risk is None else risk
            with progress.following(client, selector) as story:
                if preview:
                    result = client.preview(aim, selector, *positional, deadline=deadline, examples=expected, risk=risk, keywords=keywords)
                elif accept:
                    result = client.accept(accept, aim, selector, *positional, deadline=deadline, keywords=keywords)
                else:
                    result = client.send(
                        aim, selector, *positional, deadline=deadline, examples=expected, via=via, risk=risk, keywords=keywords
                    )
            if as_json:
                report.result(result)
                return
            if preview:
                _print_preview(client, result, accept=["batos", "send", target, selector, *(args or []), *repeated_keywords(kw or [])])
                return
            _print_new_methods(client, story)
            report.out.print(terminal.render_value(result, names_for(client, result)), soft_wrap=True)


def transaction(
    file: Annotated[str, typer.Argument(help="A file, or - for stdin, with " + SENDS_SHAPE)],
    preview: Annotated[bool, typer.Option("--preview", help="Show what they would do, and change nothing.")] = False,
    deadline: Deadline = None,
    as_json: Json = False,
) -> None:
    """Send several messages of which all have their effect, or none; {"result": N} is what the N-th one answered, from 0."""
    with answering(as_json):
        sends = read_sends(sys.stdin.read() if file == "-" else Path(file).read_text())
        with connect() as client:
            results: Any = client.preview_transaction(sends, deadline=deadline) if preview else client.transaction(sends, deadline=deadline)
            if preview and not as_json:
                _print_preview(client, results, [f"{number} {send[1]}" for number, send in enumerate(sends)])
            elif as_json:
                report.result(results)
            else:
                report.out.print(terminal.render_value(results, names_for(client, results)), soft_wrap=True)


def get(
    target: Target,
    path: Annotated[list[str], typer.Argument(help="A slot, then keys and positions within its value.")],
    as_json: Json = False,
) -> None:
    """Read the value of a slot, however large; no method is run."""
    with answering(as_json), connect() as client:
        value = client.read(values.target(target), *(int(key) if key.isdecimal() and number else key for number, key in enumerate(path)))
        if as_json:
            report.result(value)
        else:
            report.out.print(terminal.render_value(value, names_for(client, value)), soft_wrap=True)


def inspect(target: Target, as_json: Json = False) -> None:
    """Show an object: its slots, parents and methods."""
    with answering(as_json), connect() as client:
        state = client.inspect(values.target(target))
        if as_json:
            report.result(state)
        else:
            report.out.print(terminal.render(object_morph(state), names_for(client, state.parents)))
            for slot, large in state.large.items():
                report.note(f"{slot} is too large to show ({large.kind}, {large.length:,}): batos get {target} {slot}")


def source(target: Target, selector: Selector, as_json: Json = False) -> None:
    """Show a method: its source, its author, and the proof that it was installed with."""
    with answering(as_json), connect() as client:
        facts = explain(client, values.target(target), selector)
        if as_json:
            report.result(facts)
        else:
            report.out.print(explanation.render(facts))


def why(
    target: Target,
    selector: Selector,
    arguments: Annotated[
        int | None, typer.Argument(help="With how many arguments it was sent; default: whichever is newest.", min=0)
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell how a method came to be, or why a message was refused: what was asked, what was drafted, and what decided it."""
    with answering(as_json), connect() as client:
        facts = reasons(client, values.target(target), selector, arguments)
        if as_json:
            report.result(facts)
        else:
            report.out.print(wherefore.render(facts, target), soft_wrap=False)


def objects(
    everything: Annotated[bool, typer.Option("--all", help="Also the objects that have no name.")] = False,
    as_json: Json = False,
) -> None:
    """List the objects of the image: names, number of slots, parents."""
    with answering(as_json), connect() as client:
        snapshot = client.full_state()
        listed = [state for state in snapshot.objects if state.names or everything]
        listed.sort(key=lambda state: (not state.names, state.names, state.reference.oid))
        if as_json:
            report.result([_listed(state) for state in listed])
            return
        table = Table("name", "reference", "slots", "methods", "parents", box=None, pad_edge=False, header_style="bold")
        names = {state.reference: state.names[0] for state in snapshot.objects if state.names}
        for state in listed:
            parents = ", ".join(values.show(parent, names) for parent in state.parents)
            cells = (", ".join(state.names), str(state.reference), str(len(state.slots)), str(len(state.methods)), parents)
            table.add_row(*(Text(values.showable(cell)) for cell in cells))
        report.out.print(table)
        if len(listed) < len(snapshot.objects):
            report.note(f"{len(snapshot.objects) - len(listed)} objects without a name: batos objects --all")


def method(
    target: Target,
    selector: Selector,
    file: Annotated[str, typer.Argument(help="A file with the source, or - for stdin.")],
    example: Examples = None,
    policy: Annotated[bool, typer.Option("--policy", help="The method may change primordial objects, for senders who may.")] = False,
    here: Annotated[bool, typer.Option("--here", help="For TARGET alone, also where it shares the method with others.")] = False,
    as_json: Json = False,
) -> None:
    """Offer a method: it is audited and tried like a generated one, then installed.

    A method that the library gave to TARGET is corrected for every object that has it, and those to come; with --here, for TARGET alone.
    """
    with answering(as_json):
        aim, expected = values.target(target), read_examples(example or [])
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        with connect() as client:
            result = client.create_method(aim, selector, text, examples=expected, policy=policy, here=here)
            if as_json:
                report.result(result)
            else:
                facts = explain(client, aim, selector)
                shared = ", for every object that shares it and those of its shape to come" if facts.get("shared") else ""
                report.note(f"{selector} is installed{shared}", style="green")
                report.out.print(explanation.source_panel(facts.get("source") or text, selector))


def examples(
    target: Target,
    selector: Selector,
    add: Annotated[list[str] | None, typer.Option(help="An example to keep, as for batos send --example; it is tested first.")] = None,
    remove: Annotated[list[int] | None, typer.Option(help="The number of a kept example to take away.", min=1)] = None,
    deadline: Deadline = None,
    as_json: Json = False,
) -> None:
    """List the examples that a method keeps and whatever replaces it has to satisfy; add and remove some."""
    with answering(as_json):
        aim, added = values.target(target), read_examples(add or [], "--add")
        with connect() as client:
            with progress.following(client, selector) as story:
                contract = client.contract(aim, selector, add=added, remove=remove or [], deadline=deadline)
            if as_json:
                report.result(contract)
                return
            _print_new_methods(client, story)
            for example in contract["examples"]:
                report.out.print(Text(values.showable(f"{example['number']:>3}  {example['line']}")), soft_wrap=True)
            if not contract["examples"]:
                report.note(f"{selector} keeps no examples: batos examples {target} {selector} --add '{EXAMPLE_SHAPE}'")


def explain(client: Client, target: Reference | str, selector: str) -> dict[str, Any]:
    """What the image knows of a method. Raises Failure when the answer is no map."""
    # Through its mirror: the object may call a slot of its own explain_.
    facts = client.send(target, "mirror_", "explain_", selector)
    if not isinstance(facts, dict):
        raise Failure("BadReply", f"explain_ answered a {type(facts).__name__}, not a map", "batos logs uvm-1 has more")
    return facts


def reasons(
    client: Client, target: Reference | str, selector: str, arguments: int | None, keywords: list[str] | None = None
) -> dict[str, Any]:
    """What the image knows of a method or of a refusal. Raises Failure when the answer is no map."""
    facts = client.send(target, "mirror_", "why_", selector, arguments, keywords)
    if not isinstance(facts, dict):
        raise Failure("BadReply", f"why_ answered a {type(facts).__name__}, not a map", "batos logs uvm-1 has more")
    return facts


def _chosen(client: Client, target: Reference | str, selector: str, arguments: int, keywords: list[str], number: int) -> Example:
    """The example of one of the choices that the stored refusal of this message shows."""
    message = reasons(client, target, selector, arguments, keywords).get("message")
    choices = wherefore.choices_of(message)
    if not 1 <= number <= len(choices):
        there = f"there are {len(choices)}" if choices else "there is none: it was not refused, or nothing could be shown"
        raise values.BadArgument(f"--example {number}: the last refusal of {selector} shows no such choice, {there}")
    return read_example(json.dumps(values.to_json(choices[number - 1]["example"])), "--example")


def _print_new_methods(client: Client, story: Story) -> None:
    for event in story.installed:
        facts = explain(client, event.receiver, event.selector)
        if isinstance(facts.get("source"), str):
            report.err.print(explanation.source_panel(facts["source"], event.selector))
        if isinstance(facts.get("confidence"), int | float):
            decision = facts.get("proof", {}).get("decision") or {}
            accepted_risk = f", at a risk of {decision['risk']:.0%}" if isinstance(decision.get("risk"), int | float) else ""
            report.note(f"{event.selector} is right with a probability of {facts['confidence']:.0%}{accepted_risk}: batos why says why")


def _print_preview(client: Client, preview: dict[str, Any], sends: list[str] | None = None, accept: list[str] | None = None) -> None:
    """What a message would do, or, where there are `sends`, several of them. `accept`: the command that accepts a method that is shown."""
    new = {newborn["object"]: f"new object {number}" for number, newborn in enumerate(preview["made"], 1)}
    names = {**names_for(client, preview, frozenset(new)), **new}
    method = preview.get("method")
    if method is not None:
        report.err.print(explanation.source_panel(method["source"], method["selector"]))
    answers = [("answer", preview["result"])] if sends is None else list(zip(sends, preview["results"], strict=True))
    for name, value in answers:
        shown = terminal.render_value(value, names)
        report.out.print(Text.assemble(f"{name}: ", shown) if isinstance(shown, Text) else Group(f"{name}:", shown), soft_wrap=True)
    for slot in preview["slots"]:
        before, after = (values.show(slot[side], names) if side in slot else "nothing" for side in ("before", "after"))
        text = f"{values.show(slot['object'], names)}.{slot['slot']}: {before} → {after}"
        report.out.print(Text(values.showable(text)), soft_wrap=True)
    for newborn in preview["made"]:
        slots = ", ".join(f"{name}: {values.show(value, names)}" for name, value in newborn["slots"].items())
        text = f"{new[newborn['object']]}, of {values.show(newborn['parents'], names)}: {slots}"
        report.out.print(Text(values.showable(text)), soft_wrap=True)
    report.note("nothing was changed")
    if method is not None:
        command = shlex.join([*(accept or []), "--accept", preview["accept"]])
        report.note(f"to install the method and send the message, within an hour and while the objects are as they are: {command}")


def names_for(client: Client, value: object, without: frozenset[Reference] = frozenset()) -> dict[Reference, str]:
    """Names of the references in `value`, as far as a few questions tell; `without`: of objects that are not there."""
    references: dict[Reference, None] = {}
    pending: list[object] = [value]
    while pending and len(references) < 16:
        element = pending.pop()
        if isinstance(element, Reference):
            references |= {} if element in without else {element: None}
        elif isinstance(element, Mapping):
            pending += element.values()
        elif isinstance(element, list | tuple):
            pending += element
    named = {reference: client.inspect(reference).names for reference in references}
    return {reference: f"{names[0]} {reference}" for reference, names in named.items() if names}


def _listed(state: ObjectState) -> dict[str, Any]:
    return {
        "reference": state.reference,
        "names": state.names,
        "slots": len(state.slots),
        "methods": sorted(state.methods),
        "parents": state.parents,
    }

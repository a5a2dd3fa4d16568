"""What a refusal offers to choose from: the behaviours between which drafts split, each as the example that settles it. Pure; any thread.

A choice is a map {example: {slots, args, kwargs, result, changed}, drafts, …} among the details of the refusal, with maps in the place of
references (`{"ref": "@2a"}`), as examples are written on the command line.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from ui_client import values
from uvm.protocol import Example, Reference

MAPS = ("slots", "kwargs", "changed")
"""The fields of an example that are maps; what stands in them are values."""
MOST = 9
"""Most choices that are offered at once; an image that says more is not believed."""


class OfferedChoice(Struct, frozen=True):
    """One behaviour: how many drafts have it, and the example that says it is the one."""

    example: Example
    drafts: int = 0


def example_of(fields: Mapping[str, Any]) -> Example:
    """An example as its JSON says it. Raises ValueError for what is none."""
    read = {
        name: {key: values.from_json(element) for key, element in value.items()} if name in MAPS and isinstance(value, dict) else value
        for name, value in fields.items()
    }
    read |= {name: values.from_json(fields[name]) for name in ("result", "args") if name in fields}
    return msgspec.convert(read, Example)


def offered(details: Mapping[str, Any]) -> tuple[OfferedChoice, ...]:
    """The choices among the details of a refusal; what cannot be read is left out with all that comes after it."""
    listed = details.get("choices")
    choices: list[OfferedChoice] = []
    for shown in listed[:MOST] if isinstance(listed, list) else []:
        try:
            drafts = shown.get("drafts")
            choices.append(OfferedChoice(example_of(values.to_json(shown["example"])), drafts if isinstance(drafts, int) else 0))
        except (AttributeError, KeyError, TypeError, ValueError):
            break
    return tuple(choices)


def in_words(choice: OfferedChoice, names: Mapping[Reference, str]) -> str:
    """A behaviour in words: where it is shown, what it answers and what it changes."""
    example = choice.example
    parts = []
    if example.result is not msgspec.UNSET:
        parts.append(values.show(example.result, names))
    if isinstance(example.changed, dict):
        parts += [f"{slot} becomes {values.show(value, names)}" for slot, value in example.changed.items()]
    if not parts:
        parts.append("nothing changes")
    stated = [f"{slot} {values.show(value, names)}" for slot, value in example.slots.items()] if isinstance(example.slots, dict) else []
    return (f"with {', '.join(stated)}: " if stated else "") + ", ".join(parts)

"""The prompt that a missing method is written from: the text described in `docs/language.md`, and nothing else.

Pure. The image builds the same text from its own objects; the adapters are trained on it, so a change here is a change
of the contract.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

COVENANT = (
    "Write the body of one method of a living object. State is self.slot only. After a change inside a list or dict: "
    'self._p_changed = True. If unsure: decline("why").'
)
"""The first paragraph, as it stands in the slot `covenant` of `pLLM_obj` when an image is born."""

MOST_SLOTS = 24
MOST_CHARACTERS = 40
MOST_ITEMS = 4
MOST_EXAMPLES = 4
MOST_EXAMPLE_SLOTS = 6


class Opaque:
    """A value that is shown as a word in angle brackets and not by its content: `<object>`, `<method>`."""

    bracketed = "object"


def value(content: Any) -> str:
    """A slot's value or an argument as a Python literal, long ones cut.

    Texts are cut after 40 characters, containers after 4 items, at every depth.
    """
    if isinstance(content, Opaque):
        return f"<{content.bracketed}>"
    if isinstance(content, str):
        return repr(content if len(content) <= MOST_CHARACTERS else content[:MOST_CHARACTERS] + "…")
    if isinstance(content, dict):
        return "{" + _items(f"{value(key)}: {value(element)}" for key, element in content.items()) + "}"
    if isinstance(content, list):
        if content and all(isinstance(element, Opaque) for element in content):
            return f"[{value(content[0])}, …]"
        return "[" + _items(value(element) for element in content) + "]"
    if isinstance(content, tuple):
        return "(" + _items(value(element) for element in content) + ("," if len(content) == 1 else "") + ")"
    if isinstance(content, set):
        return "{" + _items(sorted(value(element) for element in content)) + "}" if content else "set()"
    return repr(content)


def _items(texts: Iterable[str]) -> str:
    every = list(texts)
    return ", ".join(every if len(every) <= MOST_ITEMS else [*every[:MOST_ITEMS], "…"])


def call(selector: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The message as a call: `move_by(3, dy=4)`."""
    texts = [*map(value, args), *(f"{name}={value(argument)}" for name, argument in kwargs.items())]
    return f"{selector}({', '.join(texts)})"


def example(
    called: str,
    *,
    result: str = "",
    slots: Mapping[str, Any] | None = None,
    changed: Mapping[str, Any] | None = None,
    raises: str = "",
) -> str:
    """What a caller expects of a call, in a line: `with price=2: total(3) -> 6, then price=6`. `result` is rendered already.

    `slots`: values that the object has before; `changed`: those that differ after it, `{}` for none; `raises`: the type of an error.
    """
    before = f"with {_assigned(slots)}: " if slots else ""
    ends = f" raises {raises}" if raises else f" -> {result}" if result else ""
    after = "" if changed is None else f", then {_assigned(changed) or 'nothing changed'}"
    return f"{before}{called}{ends}{after}"


def _assigned(slots: Mapping[str, Any]) -> str:
    texts = [f"{name}={value(content)}" for name, content in list(slots.items())[:MOST_EXAMPLE_SLOTS]]
    return ", ".join(texts if len(slots) <= MOST_EXAMPLE_SLOTS else [*texts, "…"])


def parameters(positional: int, keywords: Iterable[str]) -> list[str]:
    """Names of the parameters after `self`: a, b, c … for positional ones, their own for keyword arguments.

    A letter that is taken by a keyword is skipped. Raises ValueError past the alphabet.
    """
    names = list(keywords)
    letters = [letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in names]
    if positional > len(letters):
        raise ValueError(f"{positional} positional arguments; at most {len(letters)} have names")
    return letters[:positional] + names


def signature(selector: str, positional: int, keywords: Iterable[str]) -> str:
    """The line that the body follows, without a newline."""
    return f"def {selector}({', '.join(['self', *parameters(positional, keywords)])}):"


def prompt(
    slots: Mapping[str, Any],
    selector: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    examples: Sequence[str] = (),
    covenant: str = COVENANT,
) -> str:
    """The whole prompt, ending in the newline after the signature. `examples` are lines such as `total() -> 7.0`."""
    named = kwargs or {}
    lines = [covenant, "Object:"]
    lines += [f"{name} = {value(content)}" for name, content in list(slots.items())[:MOST_SLOTS]]
    lines += [f"Message: {call(selector, args, named)}"]
    lines += [f"Example: {example}" for example in examples[:MOST_EXAMPLES]]
    lines += [signature(selector, len(args), named)]
    return "\n".join(lines) + "\n"


def source(selector: str, positional: int, keywords: Iterable[str], body: str) -> str:
    """The method as it is stored: the signature and the body, indented by four spaces."""
    return f"{signature(selector, positional, keywords)}\n{body}"

"""What is written on the command line of a message: its arguments, keyword arguments and examples, and the sends of a transaction.

Pure: texts in, the protocol's values out. What cannot be read raises values.BadArgument, which says how it is written.
"""

import json
from typing import Any

from ui_client import values
from ui_client.choices import example_of
from uvm.protocol import Example, Result

SENDS_SHAPE = 'JSON such as [["shop", "setSlot_value_", "open", true], [{"result": 0}, "open"]]: lists of target, selector and arguments'
EXAMPLE_SHAPE = '{"args": [3], "result": 7}'
_EXAMPLE = f"{EXAMPLE_SHAPE}, with kwargs, slots before, slots changed, or the error it raises"


def read_arguments(texts: list[str]) -> list[Any]:
    """Positional arguments. An option that there is not is none."""
    parsed = [values.argument(text) for text in texts]
    for text, value in zip(texts, parsed, strict=True):
        if text.startswith("-") and text != "-" and isinstance(value, str):
            raise values.BadArgument(f"there is no option {text}; a text that begins with - is written '\"{text}\"'")
    return parsed


def read_keywords(texts: list[str]) -> dict[str, Any]:
    """Keyword arguments, each NAME=JSON."""
    keywords: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise values.BadArgument(f"--kw {text!r}: a keyword argument is NAME=JSON")
        keywords[name] = values.argument(value)
    return keywords


def repeated_keywords(keywords: list[str]) -> list[str]:
    """Keyword arguments as they are given again."""
    return [word for keyword in keywords for word in ("--kw", keyword)]


def read_examples(texts: list[str], option: str = "--example") -> list[Example]:
    """Examples that stand after `option`."""
    return [read_example(text, option) for text in texts]


def read_sends(text: str) -> list[tuple[Any, ...]]:
    """The sends of a transaction: target, selector and arguments of each."""
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise values.BadArgument(f"{error}; sends are {SENDS_SHAPE}") from error
    if not isinstance(parsed, list) or not all(isinstance(row, list) and len(row) >= 2 and isinstance(row[1], str) for row in parsed):
        raise values.BadArgument(f"sends are {SENDS_SHAPE}")
    return [tuple(_with_results(row)) for row in parsed]


def _with_results(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"result"} and isinstance(value["result"], int):
        return Result(value["result"])
    if isinstance(value, list):
        return [_with_results(element) for element in value]
    return values.from_json({key: _with_results(element) for key, element in value.items()} if isinstance(value, dict) else value)


def read_example(text: str, option: str) -> Example:
    """One example, a JSON map that stands after `option`."""
    try:
        parsed = json.loads(text)
        if not isinstance(parsed, dict):
            raise values.BadArgument("it is no map")
        return example_of(parsed)
    except ValueError as error:
        raise values.BadArgument(f"{option} {text!r}: {error}; an example is JSON such as {_EXAMPLE}") from error

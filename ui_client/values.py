"""Values of the image as text: JSON for programs, short lines for people. Pure; any thread may call it.

JSON has no references and no bytes: a reference is `{"ref": "@2a"}`, bytes are `{"bytes": "<base64>"}`, a float that JSON
cannot say is `{"number": "nan"}` (or `inf`, `-inf`), a set is a list. The first three are understood in arguments as well.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from uvm.protocol import Reference

_SHOWN_DEPTH = 16
_REFERENCE = re.compile(r"@[0-9A-Fa-f]{1,16}")

# Control characters and the marks that reverse the direction of writing: a text of the image must not steer a terminal.
_UNSHOWABLE = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
_UNSHOWABLE |= {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)}


class BadArgument(ValueError):
    """An argument that cannot be a value of the image; the message says which and what is allowed."""


def to_json(value: object) -> Any:
    """`value` with everything that JSON lacks replaced as described above; map keys become texts."""
    if isinstance(value, Reference):
        return {"ref": str(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(value)}
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): to_json(element) for key, element in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(element) for element in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, msgspec.Struct):
        return to_json({field: getattr(value, field) for field in value.__struct_fields__})
    return str(value)


def argument(text: str) -> Any:
    """One argument of the command line: JSON, else a reference such as `@2a`, else the text itself.

    `'"@2a"'`, in JSON's quotes, is the text. Raises BadArgument for a number or reference that the image cannot hold.
    """
    if not text.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise BadArgument(f'the argument {ascii(text)[:60]} is not UTF-8; bytes are written {{"bytes": "<base64>"}}')
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return _reference(text) if text.startswith("@") else text
    return from_json(value)


def from_json(value: Any) -> Any:
    """The value that parsed JSON stands for. Raises BadArgument."""
    if isinstance(value, dict):
        if len(value) == 1:
            ((key, element),) = value.items()
            if key in _SPECIAL and isinstance(element, str):
                return _SPECIAL[key](element)
        return {key: from_json(element) for key, element in value.items()}
    if isinstance(value, list):
        return [from_json(element) for element in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise BadArgument(f"the integer {str(value)[:30]}… has more than 64 bits; send it as a text")
    return value


def target(text: str) -> Reference | str:
    """TARGET of a command: a name, or a reference such as `@2a`. Raises BadArgument."""
    if text.startswith("@"):
        return _reference(text)
    if not 1 <= len(text) <= 256:
        raise BadArgument(f"a name has 1 to 256 characters, not {len(text)}")
    return text


def show(value: object, names: Mapping[Reference, str] | None = None) -> str:
    """`value` on one line for a person: texts bare, references as names where `names` has them, safe for a terminal."""
    if isinstance(value, str):
        return showable(value)
    return _literal(value, names or {}, 0)


def _literal(value: object, names: Mapping[Reference, str], depth: int) -> str:
    if depth > _SHOWN_DEPTH:
        return "…"
    if isinstance(value, Reference):
        return showable(names.get(value, str(value)))
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        pairs = ((_literal(key, names, depth + 1), _literal(element, names, depth + 1)) for key, element in value.items())
        return "{" + ", ".join(f"{key}: {element}" for key, element in pairs) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(_literal(element, names, depth + 1) for element in value) + "]"
    return showable(repr(value))


def showable(text: str) -> str:
    """`text` with control characters made visible."""
    return text.translate(_UNSHOWABLE)


def _reference(text: str) -> Reference:
    if not _REFERENCE.fullmatch(text):
        raise BadArgument(
            f"{text[:40]!r} is not a reference: it needs @ and 1 to 16 hexadecimal digits; as a text it is written '\"{text[:40]}\"'"
        )
    return Reference.parse(text)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadArgument(f"bytes are written in base64, which {text[:40]!r} is not: {error}") from error


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise BadArgument(f"{text[:40]!r} is no number; nan, inf and -inf are allowed") from error


_SPECIAL = {"ref": _reference, "bytes": _bytes, "number": _number}


def _no_constant(name: str) -> None:
    # json would read the words NaN and Infinity as floats; on a command line they are words.
    raise ValueError(name)

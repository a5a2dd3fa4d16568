"""A plain-Python stand-in for an object of the image, on which bodies are run while data is made and drafts are scored.

It knows just enough of the language of methods: slots, sends, the morphs, `decline`, and whether a change inside a slot's
value was followed by `_p_changed = True`. It is no sandbox; `judge.py` runs it in a process of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inference_worker.forge.render import Opaque


class BodyDeclined(Exception):
    """The body called `decline`; an outcome says Declined, as the image does."""


class StandIn(Opaque):
    """An object with slots. Reading a missing slot raises AttributeError."""

    bracketed = "object"

    def __init__(self, slots: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_slots", dict(slots))
        object.__setattr__(self, "_assigned", set())
        object.__setattr__(self, "_flagged", False)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._slots:
            raise AttributeError(f"no slot {name}")
        return self._slots[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_p_changed":
            object.__setattr__(self, "_flagged", bool(value))
            return
        if name.startswith("_"):
            raise AttributeError(f"{name} is not a slot")
        self._slots[name] = value
        self._assigned.add(name)

    def setSlot_value_(self, name: str, value: Any) -> Any:
        """The image's own way to change another object's slot."""
        setattr(self, name, value)
        return self


class KnownMethod(Opaque):
    """A method that the object already has: it is shown as `<method>` and answers `result` when it is sent."""

    bracketed = "method"

    def __init__(self, result: Any) -> None:
        self.result = result

    def __call__(self) -> Any:
        return self.result


def replicate(value: Any) -> Any:
    """A deep copy of a slot's value; stand-ins inside it are copied as well."""
    if isinstance(value, StandIn):
        return StandIn({name: replicate(element) for name, element in value._slots.items()})
    if isinstance(value, dict):
        return {key: replicate(element) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(replicate(element) for element in value)
    if isinstance(value, set):
        return set(value)
    return value


def plain(value: Any) -> Any:
    """A value as data that can be compared: objects become their slots."""
    if isinstance(value, StandIn):
        return {"object": plain(value._slots)}
    if isinstance(value, KnownMethod):
        return {"method": plain(value.result)}
    if isinstance(value, dict):
        return {plain(key) if isinstance(key, Opaque) else key: plain(element) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(element) for element in value]
    return value


def _contents(value: Any) -> Any:
    """A value without what other objects hold: their changes are their own."""
    if isinstance(value, Opaque):
        return id(value)
    if isinstance(value, dict):
        return {key: _contents(element) for key, element in value.items()}
    return [_contents(element) for element in value] if isinstance(value, list) else value


def same(left: Any, right: Any) -> bool:
    """Whether two plain values are equal; floats within one part in a thousand million, an int equals its float, a bool only a bool."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return abs(left - right) <= 1e-9 * max(1.0, abs(left), abs(right))
    if isinstance(left, dict) and isinstance(right, dict):
        # An object's slots keep their order for display, but a change is the same change in any order.
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return type(left) is type(right) and bool(left == right)


def _error_name(failure: BaseException) -> str:
    return "Declined" if isinstance(failure, BodyDeclined) else type(failure).__name__


class BodyOutcome:
    """What a run did: its result, the error it ended in (a type's name, or ''), the slots after it, and whether an
    in-place change went without its flag."""

    def __init__(self, result: Any, error: str, slots: Any, forgotten: bool) -> None:
        self.result = result
        self.error = error
        self.slots = slots
        self.forgotten = forgotten

    def agrees(self, expected: "BodyOutcome") -> bool:
        """Same effect, and the same result or the same kind of error."""
        return (
            self.error == expected.error and same(self.slots, expected.slots) and (bool(self.error) or same(self.result, expected.result))
        )


def _ended(call: Callable[[], Any]) -> tuple[Any, str]:
    """A call's result, and the name of the error that it ended in."""
    try:
        return call(), ""
    except Exception as failure:  # noqa: BLE001  # drawn and generated code raises anything, and which kind is part of what is compared
        return None, _error_name(failure)


def expect(slots: Mapping[str, Any], args: Sequence[Any], expectation: Callable[..., Any]) -> BodyOutcome:
    """What a family says should happen: `expectation(slots, *args)` on copies, where it may change `slots`."""
    after = {name: replicate(value) for name, value in slots.items()}
    result, error = _ended(lambda: expectation(after, *[replicate(value) for value in args]))
    return BodyOutcome(plain(result), error, plain(after), forgotten=False)


def run(source: str, selector: str, slots: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> BodyOutcome:
    """Run a method on a stand-in with copies of `slots`. Raises SyntaxError when the source is no Python."""
    receiver = StandIn({name: replicate(value) for name, value in slots.items()})
    namespace: dict[str, Any] = {"__builtins__": {}, **NAMES}
    before = _contents(receiver._slots)
    exec(compile(source, selector, "exec"), namespace)
    positional, named = [replicate(value) for value in args], {name: replicate(value) for name, value in kwargs.items()}
    result, error = _ended(lambda: namespace[selector](receiver, *positional, **named))
    after = plain(receiver._slots)
    now = _contents(receiver._slots)
    inside = [name for name in before if name in now and name not in receiver._assigned and not same(before[name], now[name])]
    return BodyOutcome(plain(result), error, after, forgotten=bool(inside) and not receiver._flagged)


def _decline(why: str) -> None:
    raise BodyDeclined(why)


def _isinstance_of(value: Any, kind: str) -> bool:
    kinds = {
        "str": str,
        "int": int,
        "float": float,
        "bool": bool,
        "list": list,
        "dict": dict,
        "tuple": tuple,
        "set": set,
        "none": type(None),
        "object": StandIn,
    }
    return isinstance(value, kinds[kind])


def _text(text: str) -> dict[str, Any]:
    return {"morph": "label", "text": text}


NAMES: dict[str, Any] = {
    **{function.__name__: function for function in (abs, all, any, bool, dict, divmod, enumerate, float, int, len, list, max, min, range)},
    **{function.__name__: function for function in (reversed, round, set, sorted, str, sum, tuple, zip)},
    **{error.__name__: error for error in (ValueError, KeyError, IndexError, TypeError, ZeroDivisionError, Exception)},
    "isinstance_of": _isinstance_of,
    "decline": _decline,
    "column": lambda *morphs: {"morph": "column", "items": list(morphs)},
    "row": lambda *morphs: {"morph": "row", "items": list(morphs)},
    "label": _text,
    "field": lambda name, value: {"morph": "field", "name": name, "value": value},
    "button": lambda text, selector: {"morph": "button", "text": text, "selector": selector},
    "items": lambda title, values: {"morph": "items", "title": title, "values": list(values)},
    "graph": lambda title, numbers: {"morph": "graph", "title": title, "numbers": list(numbers)},
    "merging_set": lambda values=(): set(values),
}
"""The language's names."""

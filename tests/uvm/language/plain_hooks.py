"""The smallest machine that runs methods: objects are plain Python with a dict of slots. For tests of the language."""

from collections.abc import Callable, Mapping
from typing import Any

from uvm.errors import NotAllowed, TicksSpent, TooDeep
from uvm.language import builtins as vocabulary
from uvm.language.compiler import compile_method, link
from uvm.language.keys import Keys
from uvm.language.weights import TICK

DEPTH = 40


class PlainObject:
    """An object with slots and methods (selector → source)."""

    def __init__(self, slots: Mapping[str, Any] | None = None, methods: Mapping[str, str] | None = None) -> None:
        self.slots = dict(slots or {})
        self.methods = dict(methods or {})
        self.marked = 0


class PlainHooks:
    """Implements `uvm.language.compiler.Hooks` over `PlainObject`s. `spent` counts ticks; past `ticks` each charge raises TicksSpent."""

    def __init__(self, ticks: int = 1_000_000) -> None:
        self.ticks = ticks
        self.keys = Keys(self.charge)
        self._units = 0
        self.announced: list[Any] = []
        self._frames: list[PlainObject] = []
        self._functions: dict[str, Callable[..., Any]] = {}

    def run(self, receiver: PlainObject, selector: str, *args: Any, **kwargs: Any) -> Any:
        """Send one message."""
        return self.send(receiver, selector, args, kwargs)

    def send(self, receiver: Any, selector: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not isinstance(receiver, PlainObject):
            if vocabulary.mutates(receiver, selector):
                self.mutating(receiver)
            return vocabulary.plain_send(receiver, selector, args, kwargs, self)
        if selector == "setSlot_value_":
            receiver.slots[args[0]] = args[1]
            return receiver
        if selector in receiver.methods:
            return self._invoke(receiver, selector, args, kwargs)
        if selector in receiver.slots and not args and not kwargs:
            return receiver.slots[selector]
        raise KeyError(f"{selector} is not understood")

    def _invoke(self, receiver: PlainObject, selector: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(self._frames) >= DEPTH:
            raise TooDeep(f"sends are nested more than {DEPTH} deep")
        source = receiver.methods[selector]
        if source not in self._functions:
            self._functions[source] = link(compile_method(source, selector), self)
        self._frames.append(receiver)
        try:
            return self._functions[source](receiver, *args, **kwargs)
        finally:
            self._frames.pop()

    def read(self, receiver: Any, name: str) -> Any:
        if isinstance(receiver, PlainObject):
            return self.send(receiver, name, (), {})
        return vocabulary.plain_read(receiver, name)

    def assign(self, receiver: Any, name: str, value: Any) -> None:
        if receiver is not self.receiver():
            raise NotAllowed(f"{name} of another object cannot be assigned", "send it setSlot_value_")
        receiver.slots[name] = value

    def changed(self, receiver: Any) -> None:
        receiver.marked += 1

    def mutating(self, container: Any) -> None:
        self.announced.append(container)

    def charge(self, units: int) -> None:
        self._units += units
        if self.spent > self.ticks:
            raise TicksSpent(f"the message used its {self.ticks:,} ticks")

    @property
    def spent(self) -> float:
        return self._units / TICK

    def receiver(self) -> Any:
        return self._frames[-1] if self._frames else None


def run(source: str, slots: Mapping[str, Any] | None = None, *args: Any, ticks: int = 1_000_000, **kwargs: Any) -> Any:
    """Run one method, whatever its name, on a fresh object with these slots."""
    selector = source.split("(", 1)[0].removeprefix("def ").strip()
    return PlainHooks(ticks).run(PlainObject(slots, {selector: source}), selector, *args, **kwargs)


def body(text: str, parameters: str = "") -> str:
    """A method `m` with this body."""
    signature = f"def m(self{', ' + parameters if parameters else ''}):"
    return "\n".join([signature, *(f"    {line}" for line in text.strip("\n").split("\n")), ""])

"""A bench with the words of history: what the tests of undo send, and how they look at what came of it."""

from itertools import count
from typing import Any

from tests.uvm.images import Bench
from uvm.errors import AttemptEnded, ImageError
from uvm.image.image import Image
from uvm.machine.delivery import Answered, Delivery
from uvm.objects import ABSENT, NAMES, PARENTS, Merging, UvmObject
from uvm.protocol import Reference, Send, decode_value, encode
from uvm.rights import ALL

_seqs = count(1)
_numbers = count(1)


class Past(Bench):
    """Each message has a session and a number of its own; `seq` and `tid` are those of the newest one that changed something."""

    def __init__(self, image: Image, name: str = "uvm-1", **settings: Any) -> None:
        super().__init__(image, name, **settings)
        self.tid = b""
        self.seq = 0

    def ask(self, target: Any, selector: str, *args: Any, rights: Any = ALL, principal: str = "local", **kwargs: Any) -> Any:
        """The message's result, or its error."""
        seq = next(_seqs)
        request = Send(id=1, target=target, selector=selector, args=list(args), kwargs=kwargs, session="s", seq=seq)
        delivery = Delivery(next(_numbers), encode(request), principal, False, 0.0, 60.0, rights=rights)
        ((_, outcome, tid),) = self.batch.run([delivery])
        if isinstance(outcome, Answered):
            if tid:
                self.tid, self.seq = tid, seq
            return decode_value(outcome.result)
        error = getattr(outcome, "error", outcome)
        assert isinstance(error, ImageError | AttemptEnded), outcome
        return error

    def do(self, target: Any, selector: str, *args: Any, **kwargs: Any) -> Any:
        """The result of a message that must not fail."""
        result = self.ask(target, selector, *args, **kwargs)
        assert not isinstance(result, ImageError | AttemptEnded), (result.type, result.message, result.details)
        return result

    def undo(self, subject: Any = None, **options: Any) -> Any:
        """Undo something, or the newest message."""
        return self.do("genesis_obj", "undo_", subject or f"s/{self.seq}", **options)

    def recent(self, **options: Any) -> list[dict[str, Any]]:
        return list(self.do("genesis_obj", "recent_", **options)["entries"])

    def slot(self, target: Any, slot: str) -> Any:
        """An own slot as it is stored; ABSENT."""
        self.image.manager.begin()
        try:
            return self.image.target(target).own(slot)
        finally:
            self.image.manager.abort()


def picture(image: Image) -> dict[bytes, dict[str, Any]]:
    """Everything that can be reached from the names, slot by slot; references by oid."""
    image.manager.begin()
    try:
        slots_of: dict[bytes, dict[str, Any]] = {b"names": {name: plain(owner) for name, owner in image.names.items()}}
        pending = list(image.names.values())
        while pending:
            owner = pending.pop()
            if owner._p_oid in slots_of:
                continue
            slots_of[owner._p_oid] = {name: plain(value) for name, value in owner._slots.items()}
            for value in owner._slots.values():
                pending.extend(objects(value))
        return slots_of
    finally:
        image.manager.abort()


def plain(value: Any) -> Any:
    if isinstance(value, UvmObject):
        return Reference(value._p_oid)
    if isinstance(value, Merging):
        return (type(value).__name__, plain(value.__getstate__()))
    if isinstance(value, dict):
        return {key: plain(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [plain(element) for element in value]
    return (type(value).__name__, value)


def objects(value: Any) -> list[UvmObject]:
    if isinstance(value, UvmObject):
        return [value]
    if isinstance(value, dict):
        return [reached for element in value.values() for reached in objects(element)]
    return [reached for element in value for reached in objects(element)] if isinstance(value, list) else []


__all__ = ["ABSENT", "NAMES", "PARENTS", "Past", "picture"]

"""Exports and imports through a UVM's batch, without files, and pictures of object graphs to compare."""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import msgspec
import pytest

from deploy.settings import Settings
from tests.uvm.images import Bench
from uvm.errors import AttemptEnded, ImageError
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.image.transactor import Transactor
from uvm.machine.delivery import Answered, Delivery, Failed, Outcome
from uvm.machine.import_tests import ImportTests
from uvm.objects import KIND, NAMES, PARENTS, Merging, MergingQueue, UvmObject
from uvm.protocol import (
    Bundle,
    Changing,
    Export,
    Exported,
    Import,
    ObjectDocument,
    Reference,
    Upload,
    decode_document,
    decode_value,
    encode,
)
from uvm.rights import ALL, Limits
from uvm.transporter.contracts import ImportTest, ImportVerdict
from uvm.trial.client import TrialServer

_numbers = count(1)


class World(Bench):
    """An image as a tool meets it: exports as documents, imports of bundles. Errors are raised."""

    def __init__(self, image: Image, name: str = "uvm-1", trials: TrialServer | None = None, **settings: Any) -> None:
        super().__init__(image, name, **settings)
        self.tests = ImportTests(Settings(), Transactor(image, name), trials, lambda principal, cpu_s: None) if trials else None
        self.tested: list[ImportTest] = []
        self.principal = "local"
        self.rights = ALL
        self.limits = Limits()

    def ask(self, request: Any) -> Outcome:
        """What a request comes to; a changing one gets a number of its own, unless it has one."""
        if isinstance(request, Changing) and not request.session:
            request = msgspec.structs.replace(request, session=f"w{next(_numbers)}", seq=1)
        delivery = Delivery(next(_numbers), encode(request), self.principal, False, 0.0, 60.0, self.rights, self.limits)
        while isinstance(outcome := self.run(delivery)[0], ImportTest):
            self.tested.append(outcome)
            verdict = self.test(outcome, delivery)
            if not isinstance(verdict, ImportVerdict):
                assert isinstance(verdict, ImageError | AttemptEnded)
                return Failed(verdict)
            delivery.verdict = verdict
        return outcome

    def test(self, test: ImportTest, delivery: Delivery) -> Any:
        """What comes of the trials of an import's methods."""
        assert self.tests is not None, "the world has no trial server"
        answers: list[Any] = []
        self.tests.request(test, delivery, answers.append)
        while not answers:
            running = {trial.fileno(): trial for trial in self.tests.trials()}
            for descriptor in select.select(list(running), [], [], 0.05)[0]:
                self.tests.readable(running[descriptor])
            self.tests.tick(time.monotonic())
        return answers[0]

    def answer(self, request: Any) -> Any:
        """The value of the answer. Raises the error."""
        outcome = self.ask(request)
        if isinstance(outcome, Failed):
            raise outcome.error
        assert isinstance(outcome, Answered)
        return outcome.state if outcome.state is not None else decode_value(outcome.result)

    def do(self, target: Any, selector: str, *args: Any) -> Any:
        """Send a message."""
        outcome = self.send(target, selector, *args)
        if isinstance(outcome, Failed):
            raise outcome.error
        assert isinstance(outcome, Answered)
        return decode_value(outcome.result)

    def clone(self, parent: Any, name: str = "", **slots: Any) -> Any:
        """A clone of an object, with a name and slots, each by a message."""
        clone = self.do(parent, "clone")
        if name:
            self.do(clone, "nameAs_", name)
        for slot, value in slots.items():
            self.do(clone, "setSlot_value_", slot, value)
        return clone

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A transaction of the test's own, which is committed."""
        self.image.manager.begin()
        yield
        self.image.manager.commit()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """A transaction of the test's own, of which nothing lasts."""
        self.image.manager.begin()
        try:
            yield
        finally:
            self.image.manager.abort()

    def stored(self) -> tuple[dict[str, Any], bytes]:
        """Everything that can be reached from the names, and the newest transaction: equal where nothing was changed."""
        return self.picture(), self.image.database.storage.lastTransaction()

    def export(self, *targets: Any, **fields: Any) -> tuple[Exported, list[ObjectDocument]]:
        """All parts of an export, put together."""
        documents: list[bytes] = []
        rest = b""
        answer = self.answer(Export(1, list(targets), **fields))
        while True:
            for position, encoded in enumerate(answer.data):
                rest += encoded
                if position < len(answer.data) - 1 or answer.offset == 0:
                    documents.append(rest)
                    rest = b""
            if answer.number >= answer.objects:
                return answer, [decode_document(document) for document in documents]
            answer = self.answer(Export(1, list(targets), tid=answer.tid, number=answer.number, offset=answer.offset))

    def bundle(self, *targets: Any) -> Bundle:
        """An export as an Import takes it."""
        answer, documents = self.export(*targets)
        return Bundle(
            answer.image, answer.tid, [document.key for document in documents[: answer.roots]], [encode(document) for document in documents]
        )

    def take_in(self, bundle: Bundle, **options: Any) -> dict[str, Any]:
        """Import a bundle that fits in a frame."""
        answer: dict[str, Any] = self.answer(Import(id=1, bundle=encode(bundle), **options))
        return answer

    def upload(self, content: bytes, blob: str = "", upload: Any = None, piece: int = 1 << 20) -> Any:
        """Upload bytes in pieces; a reference to them."""
        for begin in range(0, len(content), piece):
            upload = self.answer(Upload(id=1, data=content[begin : begin + piece], upload=upload, blob=blob, offset=begin))
        return upload

    def picture(self, *roots: Any) -> dict[str, Any]:
        """Everything that can be reached from the names, or from some roots, without a trace of which image it is in."""
        with self.looking():
            return picture(self.image, [self.image.target(root) for root in roots])


def refused(world: World, bundle: Bundle, **options: Any) -> Any:
    """The error of an import that must leave everything as it was."""
    before = world.stored()
    with pytest.raises((ImageError, AttemptEnded)) as caught:
        world.take_in(bundle, **options)
    assert world.stored() == before
    return caught.value


def changed(bundle: Bundle, key: str, **fields: Any) -> Bundle:
    """The bundle with another document of that key."""
    documents = [decode_document(encoded) for encoded in bundle.objects]
    return msgspec.structs.replace(
        bundle,
        objects=[encode(msgspec.structs.replace(document, **fields) if document.key == key else document) for document in documents],
    )


def picture(image: Image, roots: list[UvmObject]) -> dict[str, Any]:
    """A graph of objects in which each is numbered by the order in which it is met: equal for graphs that are the same but for identity."""
    primordial: dict[bytes, str] = {image.names[name]._p_oid: name for name in image.root["primordial"]}
    numbers: dict[bytes, str] = {}
    pictures: dict[str, Any] = {}
    pending = list(roots) or [owner for name, owner in image.names.items() if name not in image.root["primordial"]]

    def number(owner: UvmObject) -> str:
        if owner._p_oid in primordial:
            return primordial[owner._p_oid]
        if owner._p_oid not in numbers:
            numbers[owner._p_oid] = f"#{len(numbers)}"
            pending.append(owner)
        return numbers[owner._p_oid]

    def shown(value: Any) -> Any:
        if isinstance(value, UvmObject):
            return ("object", number(value))
        if isinstance(value, MergingQueue):
            return ("queue", value.taken, [shown(element) for element in value.items])
        if isinstance(value, Merging):
            return (type(value).__name__, shown(value.plain()), len(value) if hasattr(value, "__len__") else None)
        if isinstance(value, dict):
            return ("map", [(shown(key), shown(element)) for key, element in value.items()])
        if isinstance(value, list | tuple):
            return (type(value).__name__, [shown(element) for element in value])
        return (type(value).__name__, repr(value))

    for root in list(pending):
        number(root)
    pending = list(dict.fromkeys(pending))
    done: set[bytes] = set()
    while pending:
        owner = pending.pop(0)
        if owner._p_oid in done or owner._p_oid in primordial:
            continue
        done.add(owner._p_oid)
        if owner.own(KIND, "") == "method":
            pictures[number(owner)] = {
                name: shown(owner.own(name)) for name in ("source", "selector", "positional", "keywords", "defaults", "policy", "digest")
            }
            continue
        pictures[number(owner)] = {
            "names": list(owner.own(NAMES, [])),
            "parents": [number(parent) for parent in owner.own(PARENTS, [])],
            "slots": [(name, "method" if is_method(owner.own(name)) else "data", shown(owner.own(name))) for name in owner.names()],
        }
    return pictures


def reference(text: str) -> Reference:
    return Reference.parse(text)

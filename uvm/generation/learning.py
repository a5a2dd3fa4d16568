"""What a UVM learns from its own life: which persona's drafts were accepted, and how sure the model was of its words.

Owned by the UVM's main thread. What is noticed waits in a bounded queue, and goes into the image in a short transaction of its own,
after the messages that it came from were answered. Router weights and counters merge, and the tally of tokens is this UVM's own record, so
that learning costs no message a conflict. It is lost when the process dies in between: it is experience, not a promise.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

import structlog
from msgspec import Struct
from ZODB.POSException import ConflictError

from inference_worker.protocol import Output
from uvm.errors import ImageError
from uvm.image import codex
from uvm.image.entropy import Spoken, spoken_by
from uvm.image.image import Image
from uvm.image.journal import Journal
from uvm.image.transactor import Transactor
from uvm.objects import KIND
from uvm.protocol import Reference
from uvm.runtime import router

HELD: Final = 256
"""Lessons that wait; past it the oldest are forgotten."""
EVERY_S: Final = 0.5
"""Lessons of so long go into one transaction, seconds."""

log = structlog.get_logger()


class Lesson(Struct, frozen=True):
    """What became of drafts for a message, the object at `message`: those of `personas` did, or did not."""

    message: bytes
    personas: tuple[str, ...]
    accepted: bool


class Learner:
    """The experience of one UVM on its way into the image."""

    def __init__(self, image: Image, transactor: Transactor, uvm: str) -> None:
        self._image = image
        self._transactor = transactor
        self._journal = Journal(image, uvm)
        self._lessons: deque[Lesson] = deque(maxlen=HELD)
        self._spoken = Spoken()
        self._drafts_by_persona: dict[str, int] = {}
        self._at = 0.0

    def accepted(self, message: bytes, personas: Sequence[str]) -> None:
        """A draft of one of these personas was installed for a message, and the others' do the same."""
        self._lessons.append(Lesson(message, tuple(dict.fromkeys(personas)), True))

    def rejected(self, message: bytes, personas: Sequence[str]) -> None:
        """All drafts for a message were refused, another persona's was installed that does something else, or the method was taken back."""
        if personas:
            self._lessons.append(Lesson(message, tuple(dict.fromkeys(personas)), False))

    def wrote(self, persona: str, outputs: Sequence[Output]) -> None:
        """A persona has written drafts."""
        self._spoken = self._spoken + spoken_by(outputs)
        self._drafts_by_persona[persona] = self._drafts_by_persona.get(persona, 0) + len(outputs)

    def tick(self, now: float) -> None:
        """Take what was noticed into the image, now and then."""
        if now < self._at or not (self._lessons or self._drafts_by_persona):
            return
        self._at = now + EVERY_S
        lessons, spoken, drafts_by_persona = list(self._lessons), self._spoken, self._drafts_by_persona
        self._lessons.clear()
        self._spoken, self._drafts_by_persona = Spoken(), {}
        try:
            self._transactor.run(lambda: self._take_in(lessons, spoken, drafts_by_persona))
        except ConflictError as error:
            log.warning("what was learned is lost to conflicts", lessons=len(lessons), error=str(error)[:200])

    def _take_in(self, lessons: list[Lesson], spoken: Spoken, drafts_by_persona: dict[str, int]) -> None:
        if drafts_by_persona:
            self._journal.spoke(spoken, drafts_by_persona)
        root = self._image.root
        if lessons and "router" not in root:
            root["router"] = router.new(codex.charter()["personas"])
        for lesson in lessons:
            try:
                message = self._image.at(Reference(lesson.message))
            except ImageError:  # packed away meanwhile
                continue
            if message.own(KIND) == "message" and message.own("signature", ""):
                router.learn(root["router"], router.facts_of(message), lesson.personas, lesson.accepted)

"""Drafts of which nothing has come yet, and who is told why: the wait for an engine that starts is the longest there is.

Owned by the UVM's main thread, through `writers`. What is published is progress like that of a text being written, from the time at which
there is something to say; the first piece of text, the answer, or the end of the question ends it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from uvm.generation.instructions import Advance, AskWriter, PublishProgress

EVERY_S: Final = 1.0
"""Between two publications of what a message waits for."""
MOST: Final = 256
"""Messages that are remembered at a time, the latest ones; of an earlier one nothing is said."""

_STAGE: Final = "drafting"
_LONGEST: Final = 300


class Waits:
    """The questions of one process that have no text yet. `why` says what one waits for, or nothing."""

    def __init__(self, why: Callable[[str], str]) -> None:
        self._why = why
        self._messages: OrderedDict[int, Advance] = OrderedDict()
        self._questions: dict[str, int] = {}
        self._at = 0.0

    def stored(self, order: Advance) -> None:
        """A generation has come to its next stage, under this message."""
        self._messages[order.generation] = order
        self._messages.move_to_end(order.generation)
        if len(self._messages) > MOST:
            self._messages.popitem(last=False)

    def ask(self, order: AskWriter) -> None:
        """The model was asked for drafts."""
        self._questions[order.generate.id] = order.generation

    def begun(self, question: str) -> None:
        """Something of it has come, or nothing will."""
        self._questions.pop(question, None)

    def due(self, now: float) -> Iterator[PublishProgress]:
        """What is to be published now: for each message that waits, why."""
        if not self._questions or now < self._at:
            return
        self._at = now + EVERY_S
        reasons: dict[int, str] = {}
        for question, generation in self._questions.items():
            reasons[generation] = reasons.get(generation) or self._why(question)
        for generation, reason in reasons.items():
            message = self._messages.get(generation)
            if reason and message is not None:
                detail = {"waiting": reason[:_LONGEST]}
                yield PublishProgress(message.oid, message.request.selector, message.request.receiver, _STAGE, detail)

"""The generations of one UVM, what their process says next, and how each is begun and ended. Pure.

One registry belongs to one `GenerationProcess`. The other modules of this room are functions of it: they change a generation, and say with
`instruct` what is to be done about it.
"""

from collections import Counter

from msgspec import Struct

from uvm.errors import ImageError
from uvm.generation.generation import Awaited, Generation, Needing, Waiting
from uvm.generation.instructions import (
    Advance,
    AnswerWaiter,
    CancelQuestion,
    CancelTrial,
    GenerationInstruction,
    PublishProgress,
    ResolveNeed,
)
from uvm.generation.request import MethodRequest


class ProcessSettings(Struct, frozen=True, kw_only=True):
    """How one UVM writes methods.

    `owner` is the incarnation of the UVM; `may_write` false: only what tools offer is taken. `drafts`: how many are written where the
    image's plan does not say, and `most` at most; `depth`: how long a chain of messages may become that wait for each other; `deadline_s`:
    for the model; `risk`: that what is installed is wrong, where the sender does not say.
    """

    owner: str
    may_write: bool
    drafts: int
    depth: int
    deadline_s: float
    most: int = 0
    risk: float = 1.0

    @property
    def deadline_ms(self) -> int:
        """The model's deadline, as the worker is told it."""
        return int(self.deadline_s * 1000)


class GenerationRegistry:
    """All generations, by the key of their request and by number; `now`, the time of the event that is handled; and what is to be done."""

    def __init__(self, settings: ProcessSettings) -> None:
        self.settings = settings
        self.by_key: dict[str, Generation] = {}
        self.by_number: dict[int, Generation] = {}
        self.counters: Counter[str] = Counter()
        self.now = 0.0
        self.watch_at = 0.0
        self._generations = 0
        self._questions = 0
        self._instructions: list[GenerationInstruction] = []

    def instruct(self, *instructions: GenerationInstruction) -> None:
        """Have this done, after what was said before."""
        self._instructions += instructions

    def drain(self) -> list[GenerationInstruction]:
        """All that is to be done by now."""
        instructions, self._instructions = self._instructions, []
        return instructions

    def identifier(self, asker: str) -> str:
        """A question's id, which this process has not used."""
        self._questions += 1
        return f"{self.settings.owner}-{asker}-{self._questions}"

    # --- a generation, from its beginning to its end ---

    def begin(self, request: MethodRequest, waiters: list[Waiting], step: Awaited) -> Generation:
        """A generation of its own for a request."""
        self._generations += 1
        generation = Generation(self._generations, request, waiters, step)
        self.by_key[request.key] = self.by_number[generation.number] = generation
        return generation

    def store(self, generation: Generation, stage: str, **slots: object) -> None:
        """Store its next stage, with these slots of the message object."""
        generation.go(Awaited.STORING)
        generation.storing = stage
        self.instruct(Advance(generation.number, generation.oid, generation.request, generation.stage, stage, slots))

    def publish(self, generation: Generation, stage: str = "", **detail: object) -> None:
        """Tell whoever follows it where it is."""
        request = generation.request
        self.instruct(
            PublishProgress(generation.oid or request.tested, request.selector, request.receiver, stage or generation.stage, detail)
        )

    def lose(self, generation: Generation) -> None:
        """Another process has taken the message over: it is watched from now on, by the same waiters."""
        self.counters["lost"] += 1
        self.cancel(generation)
        del self.by_number[generation.number]
        self.begin(generation.request, generation.waiters, Awaited.WATCHING)

    def finish(self, generation: Generation, error: ImageError | None) -> None:
        """It is over: each waiter is answered."""
        self.cancel(generation)
        del self.by_key[generation.request.key], self.by_number[generation.number]
        for waiter in generation.waiters:
            self.answer(waiter, error)

    def cancel(self, generation: Generation) -> None:
        """Have nothing go on for it that nobody waits for."""
        self.instruct(*(CancelQuestion(question) for question in generation.questions))
        generation.questions.clear()
        if generation.step is Awaited.TRYING:
            self.instruct(CancelTrial(generation.number))

    def answer(self, waiter: Waiting, error: ImageError | None) -> None:
        """The message that waits may run again, or why it cannot."""
        self.instruct(ResolveNeed(waiter.generation, error) if isinstance(waiter, Needing) else AnswerWaiter(waiter, error))

"""A message inside a UVM, from its arrival to its answer, and the outcomes of one attempt at it. No sockets, no database."""

import time
from typing import Any

import msgspec

from uvm.bridge import heads
from uvm.errors import AttemptEnded, ExampleFailed, ImageError, KernelFault
from uvm.generation.request import MethodRequest
from uvm.protocol import (
    Answer,
    Changing,
    Contract,
    CreateMethod,
    Error,
    Export,
    GetFullState,
    Import,
    Inspect,
    Read,
    Release,
    Reply,
    Send,
    Transaction,
    Upload,
    decode_request,
    encode,
    payload_digest,
)
from uvm.rights import ALL, Limits, Right
from uvm.runtime.attempt import Thought
from uvm.transporter.contracts import ImportTest, ImportVerdict
from uvm.trial.protocol import NeededThought

_DEFAULT = Limits()

Runnable = Send | Transaction | CreateMethod | Contract | Import | Upload | Export | Inspect | Read | GetFullState | Release


class Delivery:
    """A message that the bridge has delivered. `arrived` and `deadline` are monotonic seconds; `now` is the wall clock of the arrival.

    `exactly_once`: the tool gave it a session and a number; such a message, and an offered method, has a `digest`. `cpu_s` and
    `generations` are what it used until now, all attempts together. Of its sends, by number: `tested` has the methods that its examples
    were tested on, `failed` those that they did not hold of, `waited` the sends that a method was written for. `verdict`: on the methods of
    an import.
    """

    __slots__ = (
        "alone",
        "arrived",
        "cpu_s",
        "deadline",
        "digest",
        "dropped",
        "exactly_once",
        "failed",
        "generations",
        "limits",
        "now",
        "number",
        "principal",
        "request",
        "restarts",
        "rights",
        "seq",
        "session",
        "tested",
        "thoughts",
        "verdict",
        "waited",
    )

    def __init__(
        self,
        number: int,
        payload: bytes,
        principal: str,
        alone: bool,
        waited_s: float,
        longest_s: float,
        rights: frozenset[Right] = ALL,
        limits: Limits = _DEFAULT,
    ) -> None:
        request = heads.whole(payload) if len(payload) > heads.WHOLE else decode_request(payload)
        if not isinstance(request, Runnable):
            raise ImageError(f"{type(request).__name__} is answered by the bridge, not by a UVM")
        self.number = number
        self.request: Runnable = request
        self.principal = principal
        self.rights = rights
        self.limits = limits
        self.alone = alone
        self.arrived = time.monotonic() - waited_s
        self.now = time.time()
        limit = getattr(request, "deadline_ms", 0) / 1000
        self.deadline = self.arrived + (min(limit, longest_s) if limit else longest_s)
        self.thoughts: dict[str, str] = {}
        self.tested: set[tuple[int, bytes, str]] = set()
        self.failed: set[tuple[int, bytes, str]] = set()
        self.waited: set[int] = set()
        self.verdict: ImportVerdict | None = None
        self.restarts = 0
        self.cpu_s = 0.0
        self.generations = 0
        self.dropped = False
        self.session: str = getattr(request, "session", "")
        self.seq: int = getattr(request, "seq", 0)
        self.exactly_once = self.seq > 0 and self.session != ""
        # Of what is kept by it; most messages only look, and are known by nothing.
        identified = self.exactly_once or isinstance(request, CreateMethod)
        self.digest = payload_digest(request) if identified and isinstance(request, Changing) else b""

    def ended(self, request: MethodRequest, error: ImageError | None) -> ImageError | None:
        """What it waited for has come to an end. Answers the error that ends the message as well; None: it is to run again."""
        if isinstance(error, ExampleFailed) and request.rewritable:
            self.failed.add((request.step, request.tested, request.version))
            return None
        if error is None and request.tested:
            self.tested.add((request.step, request.tested, request.version))
        elif error is None:
            self.waited.add(request.step)
        return error

    @property
    def token(self) -> str:
        """What names the message among all others, the same at each arrival if it is to be run once."""
        return f"{self.principal}/{self.session}/{self.seq}" if self.exactly_once else f"job:{self.number}:{self.now}"


def selectors(request: Runnable) -> str:
    """The selectors that a message sends, for the journal."""
    steps = request.sends if isinstance(request, Transaction) else [request]
    return ",".join(getattr(step, "selector", f"({type(step).__name__})") for step in steps)[:256]


# --- outcomes of an attempt ------------------------------------------------------------------------------------------


class Answered:
    """The message was carried out. `result` is packed already; the answer is completed after the commit with its tid.

    `stored`: bytes of the records that it changed or made. `bytes_held`: what its principal holds of the image after it, where that is
    counted.
    `accepted`: the message, as its oid, that an accepted method was written for, and its author.
    `taken_back`: generated methods that it removed, as the oid of the message that each was written for, and its author.
    """

    __slots__ = ("accepted", "bytes_held", "changed", "changes", "replayed_tid", "result", "state", "stored", "taken_back")

    def __init__(
        self,
        result: bytes = b"\xc0",
        *,
        changed: bool = False,
        changes: Any = None,
        replayed_tid: bytes | None = None,
        state: Answer | None = None,
        taken_back: list[tuple[bytes, str]] | None = None,
        stored: int = 0,
        bytes_held: int | None = None,
    ) -> None:
        self.result = result
        self.changed = changed
        self.changes = changes or []
        self.replayed_tid = replayed_tid
        self.state = state
        self.taken_back = taken_back or []
        self.stored = stored
        self.accepted: tuple[bytes, str] | None = None
        self.bytes_held = bytes_held

    def answer(self, request: Runnable, tid: bytes, uvm: str) -> bytes:
        """The encoded answer."""
        if self.state is not None:
            return encode(self.state)
        replayed = self.replayed_tid is not None
        visible = self.replayed_tid if self.replayed_tid is not None else tid if self.changed else b""
        return encode(Reply(id=request.id, result=msgspec.Raw(self.result), tid=visible, uvm=uvm, replayed=replayed))


class Failed:
    """The message failed and changed nothing."""

    __slots__ = ("error",)

    def __init__(self, error: ImageError | AttemptEnded) -> None:
        self.error = error

    def answer(self, request: Runnable, tid: bytes, uvm: str) -> bytes:
        """The encoded answer."""
        return encode(failure(request.id, self.error))


class Thinking:
    """A method asked the model; the message runs again once `key` has its answer."""

    __slots__ = ("key", "max_tokens", "persona", "prompt")

    def __init__(self, thought: Thought | NeededThought, persona: bytes) -> None:
        self.key = thought.key
        self.prompt = thought.prompt
        self.max_tokens = thought.max_tokens
        self.persona = persona


Outcome = Answered | Failed | MethodRequest | ImportTest | Thinking
"""What came of an attempt: an answer, or what has to be there before the message runs again."""


def failure(identifier: int, error: ImageError | AttemptEnded) -> Error:
    """An error as the tool gets it."""
    message, remedy = (text.encode("utf-8", "replace").decode() for text in (error.message, error.remedy))
    return Error(id=identifier, type=error.type, message=message, remedy=remedy, details=plain_details(error.details))


def fault(error: Exception) -> KernelFault:
    """A fault of ours as an error of the message."""
    return KernelFault(f"{type(error).__name__}: {error}"[:500], "batos logs shows it; please report it")


def plain_details(details: dict[str, Any]) -> dict[str, Any]:
    """Details with everything that MessagePack cannot carry as text."""
    try:
        encode(Error(id=0, type="", message="", details=details))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return {key: str(value)[:500] for key, value in details.items()}
    return details

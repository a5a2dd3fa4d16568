"""A request and its answer, or several in turn, said once for both clients: generators that yield requests and are sent the answers."""

from collections.abc import Generator
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from ui_client.client.errors import RemoteError
from uvm.protocol import Answer, Reply

LOOK_S: Final = 30.0
"""Seconds that looking, asking for the status and releasing may take."""

_T = TypeVar("_T")


class TimedRequest(NamedTuple):
    """A request, and how many seconds its answer may take; None: as many as a missing method may."""

    request: Any
    deadline_s: float | None = LOOK_S


Conversation = Generator[TimedRequest, Answer, _T]


def expect(kind: type[_T], answer: Answer) -> _T:
    """The answer, which is of this kind. Raises RemoteError."""
    if not isinstance(answer, kind):
        raise RemoteError("InternalError", f"the bridge answered with {type(answer).__name__}; {kind.__name__} was expected")
    return answer


def ask(kind: type[_T], request: Any, deadline_s: float | None = LOOK_S) -> Conversation[_T]:
    """One request and its answer."""
    return expect(kind, (yield TimedRequest(request, deadline_s)))


def ask_result(request: Any, deadline_s: float | None = LOOK_S) -> Conversation[Any]:
    """One request and its result."""
    return expect(Reply, (yield TimedRequest(request, deadline_s))).result


def ask_for(kind: type[_T], request: Any, deadline_s: float | None = LOOK_S) -> Conversation[_T]:
    """One request and its result, as this type."""
    return msgspec.convert(expect(Reply, (yield TimedRequest(request, deadline_s))).result, kind)

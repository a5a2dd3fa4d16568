"""An image in this process, with a scripted model and real trials, as an evaluation has access to one."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from tests.uvm.conftest import build_house as build_house
from tests.uvm.conftest import trials as trials
from tests.uvm.houses import House, offer
from ui_client.client.errors import RemoteError
from uvm.protocol import Import, Inspect, ObjectState, Reference, Release, Send, encode


class HouseAccess:
    """What `ImageAccess` says, on a house; `sent` is everything that it was told."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.sent: list[Send] = []

    def send(self, target: Any, selector: str, /, *args: Any, deadline: Any = None, examples: Any = (), keywords: Any = None) -> Any:
        return self._carry_out(
            Send(id=1, target=target, selector=selector, args=list(args), kwargs=dict(keywords or {}), examples=list(examples))
        )

    def preview(self, target: Any, selector: str, /, *args: Any, deadline: Any = None, keywords: Any = None) -> Any:
        return self._carry_out(Send(id=1, target=target, selector=selector, args=list(args), kwargs=dict(keywords or {}), preview=True))

    def create_method(self, target: Any, selector: str, source: str, *, policy: bool = False) -> Any:
        answer = offer(self._house, target, selector, source, policy=policy)
        assert isinstance(answer, dict), answer
        return answer

    def import_objects(self, bundle: Any) -> Any:
        return self._carry_out(Import(id=1, bundle=encode(bundle)))

    def inspect(self, target: Any) -> ObjectState:
        target = Reference.parse(target) if isinstance(target, str) and target.startswith("@") else target
        state = self._carry_out(Inspect(1, target))
        return state if isinstance(state, ObjectState) else ObjectState(**state)

    def read(self, target: Any, *path: Any) -> Any:
        raise AssertionError("no slot of these tests is too large to show")

    def release(self, references: Any) -> Any:
        return self._carry_out(Release(1, list(references)))

    def _carry_out(self, request: Any) -> Any:
        if isinstance(request, Send):
            self.sent.append(request)
        answer = self._house.carry_out(request)
        if isinstance(answer, BaseException) or hasattr(answer, "remedy"):
            raise RemoteError(answer.type, answer.message, answer.remedy, dict(answer.details))
        return answer


@pytest.fixture
def access(build_house: Any) -> Iterator[Callable[..., tuple[HouseAccess, Callable[[], AbstractContextManager[HouseAccess]]]]]:
    """Bodies by selector, and settings (`risk`) → an access, and how a run opens it (one thread at a time: run with `parallel=1`)."""

    def make(**bodies: Any) -> tuple[HouseAccess, Callable[[], AbstractContextManager[HouseAccess]]]:
        access = HouseAccess(build_house(**bodies))
        return access, lambda: nullcontext(access)

    yield make

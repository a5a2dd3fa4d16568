"""Clients that check exactly-once themselves while the service is replaced under them: each notes numbers in an object of its own."""

import threading
import time
from types import TracebackType
from typing import Self

from tests.running import Running
from ui_client import BridgeBusy, BridgeUnreachable, Client, RemoteError

_NOTE = "def note_(self, a):\n    self.noted.append(a)\n    self._p_changed = True\n    return len(self.noted)\n"
_PAGE = 200
PACE_S = 0.04
"""From one number of a client to the next: a steady load, not as much as there can be."""


class NotingTool(threading.Thread):
    """One client: number after number, each acknowledged before the next; from an object on to the next, so that none grows large."""

    def __init__(self, running: Running, name: str, *, patient: bool = False) -> None:
        """`patient`: one that is refused looks whether it was carried out, and goes on; otherwise it ends there."""
        super().__init__(name=name, daemon=True)
        self._running = running
        self._patient = patient
        self.refusals: list[str] = []
        self._stop_noting = threading.Event()
        self._pages: list[object] = []
        self.acknowledged: list[int] = []
        self.waits: list[tuple[float, float]] = []
        """When each number was sent, monotonic seconds, and how long its acknowledgement took."""
        self.failure = ""
        with running.client() as client:
            self._pages.append(self._page(client))
            client.create_method(self._pages[0], "note_", _NOTE, examples=[{"args": [1], "result": 1}])

    def run(self) -> None:
        number = 0
        with self._running.client() as client:
            while not self._stop_noting.is_set():
                began = time.monotonic()
                try:
                    if number and number % _PAGE == 0 and len(self._pages) == number // _PAGE:
                        page = client.send(self._pages[0], "clone", deadline=60)
                        client.send(page, "setSlot_value_", "noted", [], deadline=60)
                        self._pages.append(page)
                    length = client.send(self._pages[-1], "note_", number, deadline=60)
                except (BridgeBusy, BridgeUnreachable, RemoteError) as error:
                    if not self._patient:
                        self.failure = f"{number}: {error}"
                        return
                    self.refusals.append(f"{number}: {error}"[:300])
                    length = self._looked(client, number)
                    if length is None:
                        continue
                self.waits.append((began, time.monotonic() - began))
                if length != number % _PAGE + 1:
                    self.failure = f"{number} is the note {length} of its page"
                    return
                self.acknowledged.append(number)
                number += 1
                self._stop_noting.wait(max(0.0, PACE_S - (time.monotonic() - began)))

    def _looked(self, client: Client, number: int) -> int | None:
        """How many notes the page has, if this number is the newest one; None where it is not there, and is to be sent again."""
        while not self._stop_noting.wait(1.0):
            try:
                noted = client.send(self._pages[-1], "noted", deadline=60)
            except (BridgeBusy, BridgeUnreachable, RemoteError):
                continue
            return len(noted) if noted and noted[-1] == number else None
        return None

    def noted(self, client: Client) -> list[int]:
        """What stands in its objects."""
        return [number for page in self._pages for number in client.send(page, "noted", deadline=60)]

    def finish(self) -> None:
        """End after the number that is under way."""
        self._stop_noting.set()
        self.join(90)

    def _page(self, client: Client) -> object:
        page = client.send("genesis_obj", "clone", deadline=60)
        client.send(page, "setSlot_value_", "noted", [], deadline=60)
        return page


class Traffic:
    """Several of them, begun and ended with a `with` statement; then `check` says what was lost, doubled or out of order."""

    def __init__(self, running: Running, tools: int = 2, *, patient: bool = False) -> None:
        self._running = running
        self.tools = [NotingTool(running, f"tool-{number}", patient=patient) for number in range(tools)]

    def __enter__(self) -> Self:
        for tool in self.tools:
            tool.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for tool in self.tools:
            tool.finish()

    def check(self) -> tuple[int, int]:
        """How many acknowledged notes are lost, and how many stand twice; all are in order, and nobody was refused."""
        failures = [tool.failure for tool in self.tools if tool.failure]
        assert not failures, failures
        lost = doubled = 0
        with self._running.client() as client:
            for tool in self.tools:
                noted = tool.noted(client)
                assert noted == sorted(noted)
                lost += len(set(tool.acknowledged) - set(noted))
                doubled += len(noted) - len(set(noted))
        return lost, doubled

    def refusals(self) -> list[str]:
        """What patient ones were answered instead of being carried out."""
        return [refusal for tool in self.tools for refusal in tool.refusals]

    def waits(self, since: float = 0.0) -> list[float]:
        """How long messages waited that were sent after a moment, shortest first."""
        return sorted(seconds for tool in self.tools for began, seconds in tool.waits if began >= since)

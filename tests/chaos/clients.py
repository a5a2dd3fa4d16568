"""Sessions that send one message after the other, each again until it is answered, and write down what they saw."""

import random
import time
from collections.abc import Callable
from typing import Any, Final

import zmq

from tests.chaos.history import Final as FinalState
from tests.chaos.history import Kind, Operation, World
from ui_client import Client
from uvm.protocol import Busy, Error, Reference, Reply, Send, decode_answer, encode

AGAIN_S: Final = 1.0
"""Silence after which a message is sent again."""
AFTER_ERROR_S: Final = 0.3
TRIES: Final = 60
PAGE: Final = 100
"""Notes in one object; then the session goes on in the next."""
TWICE: Final = 0.02
"""Share of the messages that are sent twice at once."""

METHODS: Final = {
    "note_": "def note_(self, a):\n    self.noted.append(a)\n    self._p_changed = True\n    return len(self.noted)\n",
    "add_": "def add_(self, a):\n    self.n += a\n    return self.n\n",
    "open": "def open(self):\n    self.total = counter(0)\n    return True\n",
    "merge_": "def merge_(self, a):\n    self.total.add(a)\n    self._p_changed = True\n    return True\n",
    "pay_": "def pay_(self, a, b):\n    self.n -= b\n    a.setSlot_value_('n', a.n + b)\n    return self.n\n",
    "swap_": "def swap_(self, a, b):\n    if self.n == a:\n        self.n = b\n        return True\n    return False\n",
}
MIX: Final[dict[Kind, int]] = {"note": 25, "add": 20, "read": 15, "share": 8, "merge": 12, "pay": 12, "swap": 8}


class Objects:
    """What a run works on, made beforehand."""

    def __init__(self, client: Client, world: World, notes: int) -> None:
        """`notes`: how many a session writes at most."""
        prototype = client.send("genesis_obj", "clone", deadline=60)
        for slot, value in (("n", 0), ("noted", [])):
            client.send(prototype, "setSlot_value_", slot, value)
        other = client.send(prototype, "clone")
        examples: dict[str, dict[str, Any]] = {
            "note_": {"args": [1], "result": 1},
            "add_": {"args": [2], "result": 2},
            "open": {"result": True},
            "merge_": {"args": [1], "result": True},
            "pay_": {"args": [other, 3], "result": -3},
            "swap_": {"args": [0, 1], "result": True},
        }
        for selector, source in METHODS.items():
            client.create_method(prototype, selector, source, examples=[examples[selector]])
            if selector == "open":
                client.send(prototype, "open")

        def make(count: int, money: int = 0) -> list[Reference]:
            made = [client.send(prototype, "clone") for _ in range(count)]
            for one in made if money else ():
                client.send(one, "setSlot_value_", "n", money)
            return made

        self.own = make(world.sessions)
        self.shared, self.merged, self.registers = make(world.shared), make(world.merged), make(world.registers)
        self.accounts = make(world.accounts, world.money)
        self.notes = [make(1 + notes // PAGE) for _ in range(world.sessions)]

    def final(self, client: Client) -> FinalState:
        """What they hold now."""

        def numbers(holders: list[Reference], slot: str = "n") -> list[int]:
            return [client.send(holder, slot, deadline=60) for holder in holders]

        notes = [[seq for holder in holders for seq in client.send(holder, "noted", deadline=60)] for holders in self.notes]
        merged = numbers(self.merged, "total")
        return FinalState(notes, numbers(self.own), numbers(self.shared), merged, numbers(self.accounts), numbers(self.registers))


class Session:
    """One session: at most one message under way."""

    def __init__(self, run: str, number: int, world: World, objects: Objects, seed: int) -> None:
        self.number = number
        self.name = f"{run}-{number}"
        self.seq = 0
        self.sent: Send | None = None
        self.kind: Kind = "note"
        self.target = 0
        self.values: list[int] = []
        self.invoked = 0.0
        self.due = 0.0
        self.tries = 0
        self._noted = 0
        self._world = world
        self._objects = objects
        self._drawn = random.Random(f"{seed}/{number}")
        # Half of the sessions acknowledge each answer at once, the others keep twenty receipts.
        self._kept = 1 if number % 2 else 20

    def next(self, registers: list[int]) -> Send:
        """The next message. `registers`: the values that were seen last."""
        drawn, objects = self._drawn, self._objects
        self.seq += 1
        self.kind = drawn.choices(list(MIX), list(MIX.values()))[0]
        if self.kind == "note" and self._noted // PAGE == len(objects.notes[self.number]):
            self.kind = "add"
        self.target, self.values = 0, []
        arguments: list[Any] = [1]
        match self.kind:
            case "note":
                receiver, selector, arguments = objects.notes[self.number][self._noted // PAGE], "note_", [self.seq]
                self._noted += 1
            case "add":
                receiver, selector = objects.own[self.number], "add_"
            case "read":
                receiver, selector, arguments = objects.own[self.number], "n", []
            case "share" | "merge":
                self.target = drawn.randrange(self._world.shared if self.kind == "share" else self._world.merged)
                receiver = (objects.shared if self.kind == "share" else objects.merged)[self.target]
                selector = "add_" if self.kind == "share" else "merge_"
            case "pay":
                self.target, other, amount = (drawn.randrange(count) for count in (self._world.accounts, self._world.accounts, 100))
                self.values = [amount, other]
                receiver, selector, arguments = objects.accounts[self.target], "pay_", [objects.accounts[other], amount]
            case "swap":
                self.target = drawn.randrange(self._world.registers)
                self.values = arguments = [registers[self.target], self.number * 10_000_000 + self.seq]
                receiver, selector = objects.registers[self.target], "swap_"
        floor = max(0, self.seq - self._kept)
        self.sent = Send(id=0, target=receiver, selector=selector, args=arguments, session=self.name, seq=self.seq, floor=floor)
        self.invoked, self.tries = time.monotonic(), 0
        return self.sent

    def twice(self) -> bool:
        return self._drawn.random() < TWICE


class Clients:
    """All sessions, on one socket, in one thread."""

    def __init__(self, endpoint: str, run: str, world: World, objects: Objects, seed: int) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        self._socket.connect(endpoint)
        self._sessions = [Session(run, number, world, objects, seed) for number in range(world.sessions)]
        self._ids: dict[int, tuple[Session, int]] = {}
        self._last = 0
        self._registers = [0] * world.registers
        # Values of swaps whose outcome is unknown: tried when the value that was seen last is not there any more.
        self._perhaps: dict[int, int] = {}
        self._results: dict[tuple[int, int], Any] = {}
        self.history: list[Operation] = []
        self.resent = 0
        self.errors: dict[str, int] = {}
        self.contradictions: list[str] = []
        """Two answers to one number that differ."""

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def run(self, messages: int, tick: Callable[[int], bool], limit_s: float) -> None:
        """Send until so many are answered and `tick`, called often with how many were, has no more to do; then wait for those under way."""
        until, more = time.monotonic() + limit_s, True
        while time.monotonic() < until:
            now, idle = time.monotonic(), True
            for session in self._sessions:
                if session.sent is None and (more or len(self.history) < messages):
                    session.next(self._registers)
                    self._send(session, now)
                    if session.twice():
                        self._send(session, now)
                elif session.sent is not None and now >= session.due:
                    self._again(session, now)
                idle = idle and session.sent is None
            more = tick(len(self.history))
            if idle:
                return
            if self._socket.poll(20):
                self._receive()
        for session in self._sessions:
            if session.sent is not None:
                self._end(session, "unknown", None)

    def _send(self, session: Session, now: float) -> None:
        assert session.sent is not None
        self._last += 1
        self._ids[self._last] = (session, session.seq)
        sent = session.sent
        message = Send(
            id=self._last,
            target=sent.target,
            selector=sent.selector,
            args=sent.args,
            session=sent.session,
            seq=sent.seq,
            floor=sent.floor,
        )
        # A bridge that is away takes nothing; the message is sent again.
        if self._socket.poll(0, zmq.POLLOUT):
            self._socket.send(encode(message))
        session.due = now + AGAIN_S

    def _again(self, session: Session, now: float) -> None:
        session.tries += 1
        self.resent += 1
        if session.tries > TRIES:
            self._end(session, "unknown", None)
        else:
            self._send(session, now)

    def _receive(self) -> None:
        while True:
            try:
                answer = decode_answer(self._socket.recv(zmq.NOBLOCK))
            except zmq.Again:
                return
            known = self._ids.pop(getattr(answer, "id", 0), None)
            if known is None:
                continue
            session, seq = known
            if isinstance(answer, Reply):
                self._replied(session, seq, answer.result)
            elif session.sent is not None and session.seq == seq:
                kind = answer.type if isinstance(answer, Error) else type(answer).__name__
                self.errors[kind] = self.errors.get(kind, 0) + 1
                if kind == "Poisoned":  # two UVMs died on it, and the bridge has given it up
                    self._end(session, "unknown", None)
                    continue
                session.due = time.monotonic() + (answer.retry_after_ms / 1000 if isinstance(answer, Busy) else AFTER_ERROR_S)

    def _replied(self, session: Session, seq: int, result: Any) -> None:
        if session.sent is not None and session.seq == seq:
            if session.kind == "swap":
                self._swapped(session.target, session.values[1], result)
            if session.kind != "read":
                self._results[session.number, seq] = result
            self._end(session, "ok", result)
        elif self._results.get((session.number, seq), result) != result:
            self.contradictions.append(f"{session.name}/{seq}: {self._results[session.number, seq]} and {result}")
        self._results.pop((session.number, seq - 100), None)

    def _swapped(self, register: int, value: int, done: bool) -> None:
        if done:
            self._registers[register] = value
        elif register in self._perhaps:
            self._registers[register], self._perhaps[register] = self._perhaps[register], self._registers[register]

    def _end(self, session: Session, status: Any, result: Any) -> None:
        ended = time.monotonic()
        if session.kind == "swap" and status == "unknown":
            self._perhaps[session.target] = session.values[1]
        self.history.append(
            Operation(session.number, session.seq, session.kind, session.target, session.values, session.invoked, ended, status, result)
        )
        session.sent = None

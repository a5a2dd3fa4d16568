"""A UVM of a few lines that speaks `uvm.bridge.protocol` for real: `python -m tests.uvm.bridge.fake_uvm NAME`, with BATOS_HOME set.

Its image is an SQLite file in the home, shared by all fakes of that home: `runs` has every execution, `receipts` the
answers of numbered messages, written in the same transaction as the effect. What a message does is its selector.
"""

import os
import signal
import sqlite3
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
import zmq

from deploy.reconnection import Reconnections, quickly
from deploy.settings import load
from uvm.bridge import heads, refusals
from uvm.bridge import protocol as wire
from uvm.protocol import (
    TOPIC_STATE,
    Change,
    Contract,
    CreateMethod,
    Error,
    GetFullState,
    Inspect,
    ObjectState,
    Reference,
    Release,
    Reply,
    Send,
    State,
    StateUpdate,
    Transaction,
    decode_request,
    encode,
)
from uvm.values.examples import line

SCHEMA = """
create table if not exists runs (uvm text, pid int, session text, seq int, floor int, selector text, alone int);
create table if not exists receipts (session text, seq int, result int, primary key (session, seq));
create table if not exists counter (n int);
create table if not exists flags (name text primary key);
"""
OBJECTS = 7
EFFECT = {
    "slots": [{"object": Reference((3).to_bytes(8)), "names": ["cart"], "slot": "price", "before": 3, "after": 4}],
    "made": [{"object": Reference((900).to_bytes(8)), "parents": [Reference((3).to_bytes(8))], "slots": {"price": 1}}],
}


def image(home: Path) -> sqlite3.Connection:
    """The file that stands for the image."""
    database = sqlite3.connect(home / "fake.db", isolation_level=None, timeout=20)
    database.execute("pragma synchronous = off")
    return database


def create_image(home: Path) -> None:
    """Make the file, before anybody uses it."""
    database = image(home)
    database.execute("pragma journal_mode = wal")
    database.executescript(SCHEMA)
    database.close()


class FakeUvm:
    """One loop: deliveries in, answers out."""

    def __init__(self, name: str) -> None:
        configuration = load()
        self.name = name
        self.database = image(configuration.home.path)
        self.incarnation = uuid.uuid4().hex
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.ROUTING_ID, wire.routing_id(name, self.incarnation))
        self.socket.setsockopt(zmq.LINGER, 1000)
        quickly(self.socket)
        self.reconnections = Reconnections(self.socket)
        self.socket.connect(configuration.uvms_endpoint)
        self.poller = zmq.Poller()
        for socket in (self.socket, self.reconnections.socket):
            self.poller.register(socket, zmq.POLLIN)
        self.parked: dict[int, bytes] = {}
        self.later: list[tuple[float, int, bytes]] = []
        self.slots: dict[str, Any] = {}
        self.mute = False
        self.stopping = False

    def say(self, message: wire.FromUvm) -> None:
        self.socket.send(wire.encode(message))

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self.stop)
        self.say(wire.Ready(self.name, self.incarnation, os.getpid()))
        alive_at = 0.0
        while not self.stopping:
            now = time.monotonic()
            if now >= alive_at and not self.mute:
                self.say(wire.Alive(len(self.parked) + len(self.later)))
                alive_at = now + 0.1
            for when, delivery, payload in list(self.later):
                if now >= when:
                    self.later.remove((when, delivery, payload))
                    self.say(wire.Done(delivery, payload))
            ready = dict(self.poller.poll(10))
            if self.reconnections.socket in ready and self.reconnections.again():
                alive_at = 0.0
            if self.socket in ready:
                self.heard(wire.decode_to_uvm(self.socket.recv()))
        self.say(wire.Leaving())
        self.context.destroy()

    def stop(self, *_signal: object) -> None:
        self.stopping = True

    def heard(self, message: wire.ToUvm) -> None:
        if self.mute:
            return
        match message:
            case wire.Lost():
                self.parked, self.later = {}, []
                self.say(wire.Ready(self.name, self.incarnation, os.getpid()))
            case wire.Drop(delivery):
                payload = self.parked.pop(delivery, None)
                if payload is not None:
                    self.say(wire.Done(delivery, encode(Error(decode_request(payload).id, "DeadlineExceeded", "dropped"))))
            case wire.Deliver():
                self.carry_out(message)

    def carry_out(self, delivery: wire.Deliver) -> None:
        try:
            request = heads.whole(delivery.payload)
        except msgspec.DecodeError as error:
            self.say(wire.Done(delivery.delivery, encode(refusals.bad_request(heads.identifier(delivery.payload), str(error)))))
            return
        match request:
            case GetFullState():
                first = int.from_bytes(request.after) + 1 if request.after else 0
                numbers = range(first, min(OBJECTS, first + request.limit))
                after = b"" if numbers[-1] == OBJECTS - 1 else numbers[-1].to_bytes(8)
                answer: Any = State(request.id, b"tid00001", [thing(n) for n in numbers], after)
            case Inspect():
                one = thing(3)
                answer = Reply(request.id, {field: getattr(one, field) for field in one.__struct_fields__})
            case Release():
                answer = Reply(request.id, len(request.references), uvm=self.name)
            case Contract():
                told = [{"number": number, "line": line(request.selector, one)} for number, one in enumerate(request.examples, 1)]
                answer = Reply(request.id, {"selector": request.selector, "examples": told, "removed": request.remove}, uvm=self.name)
            case CreateMethod():
                answer = Reply(request.id, request.source, uvm=self.name)
            case Transaction():
                results = [thing(900).reference for _ in request.sends]
                told = {"results": results, **EFFECT} if request.preview else results
                answer = Reply(request.id, told, uvm=self.name)
            case Send():
                self.sent(delivery, request)
                return
            case _:
                raise TypeError(f"the bridge sent on a {type(request).__name__}")
        self.say(wire.Done(delivery.delivery, encode(answer)))

    def sent(self, delivery: wire.Deliver, request: Send) -> None:
        row = (self.name, os.getpid(), request.session, request.seq, request.floor, request.selector, delivery.alone)
        self.database.execute("insert into runs values (?, ?, ?, ?, ?, ?, ?)", row)
        reply = Reply(request.id, None, uvm=self.name)
        if request.preview:
            method = {"selector": request.selector, "source": "def raise_(self, a):\n    return 4\n", "author": "brick", "digest": ""}
            told = {"result": thing(900).reference, **EFFECT, "method": method, "accept": "ab" * 16}
            self.say(wire.Done(delivery.delivery, encode(Reply(request.id, told, uvm=self.name))))
            return
        if request.accept:
            self.say(wire.Done(delivery.delivery, encode(Reply(request.id, ["accepted", request.accept], uvm=self.name))))
            return
        match request.selector:
            case "echo":
                reply = Reply(request.id, [request.target, *request.args, request.kwargs], uvm=self.name)
            case "whoami":
                reply = Reply(request.id, self.name, uvm=self.name)
            case "clone":
                reply = Reply(request.id, thing(42).reference, b"tid00001", self.name)
            case "setSlot_value_":
                self.slots[request.args[0]] = request.args[1]
            case selector if selector in self.slots:
                reply = Reply(request.id, self.slots[selector], uvm=self.name)
            case "count":
                reply = self.count(request)
            case "count_slowly":
                self.later.append((time.monotonic() + 1.0, delivery.delivery, encode(self.count(request))))
                return
            case "count_then_die_once":
                reply = self.count(request)
                if self.first("died"):
                    os.kill(os.getpid(), signal.SIGKILL)
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "fall_silent":
                self.mute = True
                return
            case "later_":
                self.later.append((time.monotonic() + request.args[0], delivery.delivery, encode(reply)))
                return
            case "park":
                self.parked[delivery.delivery] = delivery.payload
                self.say(wire.Parked([delivery.delivery]))
                return
            case "unpark":
                self.say(wire.Resumed(list(self.parked)))
                for number, payload in self.parked.items():
                    self.say(wire.Done(number, encode(Reply(decode_request(payload).id, "unparked", uvm=self.name))))
                self.parked = {}
            case "publish":
                change = Change(Reference(bytes(8)), ["genesis_obj"], {"n": request.args[0]}, [])
                tid = request.args[0].to_bytes(8)
                self.say(wire.Publish(TOPIC_STATE, encode(StateUpdate(tid, self.name, [change]))))
            case "garble":
                self.say(wire.Done(delivery.delivery, b"\xc1"))
                return
            case "babble":
                self.socket.send(b"\xc1\x00")
            case _:
                message = f"the fake does not know {request.selector}"
                error = Error(request.id, "BadArguments", message, "try echo", {"seen": request.selector})
                self.say(wire.Done(delivery.delivery, encode(error)))
                return
        self.say(wire.Done(delivery.delivery, encode(reply)))

    def count(self, request: Send) -> Reply:
        """The counter goes up by one, once a number."""
        self.database.execute("begin immediate")
        number = (request.session, request.seq)
        known = self.database.execute("select result from receipts where session = ? and seq = ?", number).fetchone()
        if known is None:
            self.database.execute("insert into counter values (1)")
            result = self.database.execute("select count(*) from counter").fetchone()[0]
            if request.session:
                self.database.execute("insert into receipts values (?, ?, ?)", (*number, result))
        self.database.execute("commit")
        return Reply(request.id, known[0] if known else result, uvm=self.name, replayed=known is not None)

    def first(self, flag: str) -> bool:
        """True for the first fake of this home that asks."""
        return self.database.execute("insert or ignore into flags values (?)", (flag,)).rowcount == 1


def thing(number: int) -> ObjectState:
    """One of the fake image's objects."""
    reference = Reference(number.to_bytes(8))
    return ObjectState(reference, [f"thing_{number}"], {"n": number}, [Reference(bytes(8))], {"size": Reference(b"\xff" * 8)})


if __name__ == "__main__":
    FakeUvm(sys.argv[1]).run()

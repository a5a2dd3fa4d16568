"""The Synaptic Bridge, `python -m uvm.bridge`: the one address that tools connect to.

One process, one thread, one loop: read what UVMs, tools and subscribers said, look who is gone, do what `uvm.bridge.dispatcher`
says. It owns the three sockets, the UVMs' pidfds, and `bridge.lock` in the run directory (one bridge a home). It keeps
nothing on disk: after a restart the tools send again, and the receipts in the image answer what had been done.
"""

import gc
import os
import time
from typing import Any, Protocol

import msgspec
import structlog
import zmq
from msgspec import Struct

from deploy import confinement, logs, metrics, profiles
from deploy.process import Stop
from deploy.settings import Configuration, SettingsError, load
from uvm import protocol
from uvm.bridge import events as traffic
from uvm.bridge import heads, quotas, refusals, requests
from uvm.bridge import protocol as wire
from uvm.bridge import sockets as listening
from uvm.bridge.dispatcher import Dispatch
from uvm.bridge.metrics import Meters
from uvm.bridge.peers import Peers
from uvm.bridge.principals import Principal, Principals
from uvm.bridge.publisher import Publisher
from uvm.bridge.quotas import RETRY_MS
from uvm.protocol import (
    Busy,
    Cancel,
    Error,
    GetStatus,
    Hello,
    Reply,
    Subscribe,
    Subscribed,
    Welcome,
)
from uvm.rights import Right

WINDOW = 128
"""Messages that run on one UVM at a time: enough for a batch in work and the next ones at the door."""

QUEUE_BYTES = 256_000_000
"""Bytes of messages held; past it a tool is answered Busy."""

FAREWELL_S = 3.0
"""Seconds the bridge waits for answers when it is stopped."""

POLL_MS = 100
ROUND = 512
UVMS_ROUND = 64
"""Most messages read from one socket before the others get their turn; what UVMs said is answered at the end of theirs."""

TOOLS_ROUND = 32
TOOLS_ROUND_BYTES = 1_000_000
"""The same of tools, whose messages cost more than what UVMs say: a flood of them is no long silence for everybody else."""

METRICS_OFFSET = 1

_NOBLOCK = int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
"""Plain numbers: to join two of pyzmq's flags anew for each frame costs as much as to send it."""

_NO_RIGHTS: frozenset[Right] = frozenset()
"""Of a principal that was removed while its message waited."""


class StopSignal(Protocol):
    """What ends the loop: `deploy.process.Stop`, or a test's own."""

    @property
    def requested(self) -> bool: ...

    def fileno(self) -> int: ...


class _Address(Struct, frozen=True, gc=False):
    """Where an answer goes; a REQ socket wants its empty delimiter frame back."""

    identity: bytes
    delimited: bool


class _Head(Struct):
    op: str
    id: int
    type: str = ""


_head = msgspec.msgpack.Decoder(_Head)
_fields = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])


class Bridge:
    """Sockets and loop. `run` until the stop is requested, then `close`, from one thread.

    Raises SettingsError when another bridge serves the same home, or an endpoint cannot be had.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        settings = configuration.settings.bridge
        self._max_frame = settings.max_frame_bytes
        self._log = structlog.get_logger("bridge")
        # Job numbers and the events' stream start at the clock, so that none of an earlier bridge's is met again.
        start = time.time_ns()
        self._dispatch = Dispatch(
            queue=settings.queue, queue_bytes=QUEUE_BYTES, window=WINDOW, dead_after_s=settings.dead_after_s, first_job=start
        )
        self._meters = Meters()
        self._started = time.monotonic()
        self._leaving = self._anew = False
        self._to_do: list[traffic.Instruction] = []
        self._lock = listening.only_bridge(configuration)
        self._context = zmq.Context()
        try:
            self._principals = Principals(self._context, configuration)
            self._tools, self._tools_tcp = listening.for_tools(self._context, configuration)
            self._uvms = listening.for_uvms(self._context, configuration)
            self._events, self._events_tcp = listening.for_subscribers(self._context, configuration)
        except SettingsError:
            self._context.destroy(linger=0)
            raise
        self._poller = zmq.Poller()
        for socket in (self._tools, self._uvms, self._events, self._principals.socket):
            self._poller.register(socket, zmq.POLLIN)
        self._publisher = Publisher(self._events, start)
        self._peers = Peers(self._poller)
        self._names = self._principals.names()

    # --- the loop ------------------------------------------------------------------------------------------------------

    def run(self, stop: StopSignal) -> None:
        """Serve until `stop` is requested; then give what UVMs have a moment to be answered."""
        tools, events = self._configuration.bridge_socket, self._configuration.events_endpoint
        self._log.info("bridge serves", tools=tools, events=events, tools_tcp=self._tools_tcp, events_tcp=self._events_tcp)
        self._poller.register(stop.fileno(), zmq.POLLIN)
        while not stop.requested and not self._anew:
            self._round(POLL_MS)
        self._poller.unregister(stop.fileno())
        self._leaving = True
        self._to_do += self._dispatch.turn_away()
        self._carry_out()
        until = time.monotonic() + FAREWELL_S
        while self._dispatch.assigned() and time.monotonic() < until:
            self._round(POLL_MS)
        self._log.info("bridge ends", unanswered=self._dispatch.assigned())

    def close(self) -> None:
        """Close the sockets and remove their files, after at most a second for what is on its way."""
        self._peers.close()
        self._principals.close()
        for socket in (self._tools, self._uvms, self._events):
            socket.close()
        self._context.term()
        listening.remove_files(self._configuration)
        self._lock.close()

    def _round(self, wait_ms: int) -> None:
        ready = dict(self._poller.poll(wait_ms))
        if self._uvms in ready:
            self._read_uvms()
            self._carry_out()
        if self._principals.socket in ready:
            self._principals.answer()
        if self._tools in ready:
            self._read_tools()
            self._carry_out()
        if self._events in ready:
            self._read_events()
        self._watch(ready)
        if self._principals.look(time.monotonic()):
            # Their subscriptions can only be ended with all others: supervisord starts the bridge anew, and everybody comes back.
            self._log.warning("a principal that listened may not any longer; the bridge ends, to be started anew")
            self._anew = True
        if self._names != (names := self._principals.names()):
            self._names = names
            self._handle(traffic.PrincipalsChanged(names))
        self._handle(traffic.Tick())
        self._carry_out()
        self._meters.queue(self._dispatch.held())

    def _read_uvms(self) -> None:
        for _ in range(UVMS_ROUND):
            try:
                identity = self._uvms.recv(_NOBLOCK)
            except zmq.Again:
                return
            self._on_uvm_message(identity, _rest(self._uvms, self._uvms.recv()))

    def _read_events(self) -> None:
        for _ in range(ROUND):
            try:
                frames = self._events.recv_multipart(_NOBLOCK)
            except zmq.Again:
                return
            self._publisher.subscribed(frames)

    def _read_tools(self) -> None:
        size = 0
        for _ in range(TOOLS_ROUND):
            if size > TOOLS_ROUND_BYTES:
                return
            try:
                identity = self._tools.recv(_NOBLOCK)
            except zmq.Again:
                return
            principal = self._principals.known(identity)
            if principal is None:
                frame = self._tools.recv(copy=False)
                principal = self._principals.of(identity, frame)
                first = frame.bytes
            else:
                first = self._tools.recv()
            frames = _rest(self._tools, first)
            size += sum(map(len, frames))
            self._on_request(identity, frames, principal)

    def _handle(self, event: traffic.DispatchEvent) -> None:
        self._to_do += self._dispatch.handle(event, time.monotonic())

    def _carry_out(self) -> None:
        """Do what a turn of reading has led to. At its end and in one go: what is sent now and then wakes ZeroMQ's thread each time."""
        while self._to_do:
            instructions, self._to_do = self._to_do, []
            self._do(instructions)

    def _do(self, instructions: list[traffic.Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case traffic.Assign(uvm, job, payload, principal, alone, age_s):
                    self._meters.assigned(alone)
                    message = self._job(job, payload, principal, alone, age_s)
                    if not self._tell(self._peers.named(uvm).identity, message):
                        self._handle(traffic.Undelivered(uvm, job))
                        self._ending(uvm)
                case traffic.ForwardAnswer(address, id, payload, waited_s):
                    self._forward_answer(address, id, payload, waited_s)
                case traffic.RefuseMessage(address, answer):
                    self._answer(address, answer)
                case traffic.DropJob(uvm, job):
                    self._tell(self._peers.named(uvm).identity, wire.Drop(job))
                case traffic.RecallJobs(uvm):
                    self._tell(self._peers.named(uvm).identity, wire.Recall())
                case traffic.KillUvm(uvm):
                    self._log.error("a UVM is silent, and is killed", uvm=uvm, pid=self._peers.named(uvm).pid)
                    self._peers.kill(uvm)
                case traffic.UvmLost():
                    self._on_uvm_lost(instruction)

    # --- tools ---------------------------------------------------------------------------------------------------------

    def _job(self, job: int, payload: bytes, principal: str, alone: bool, age_s: float) -> wire.Deliver:
        sender = self._principals.named(principal)
        rights, quota = (sender.rights, sender.quota) if sender else (_NO_RIGHTS, self._configuration.settings.quotas)
        return wire.Deliver(job, payload, principal, alone, int(age_s * 1000), rights, quotas.limits(quota))

    def _on_request(self, identity: bytes, rest: list[bytes], principal: Principal | None) -> None:
        delimited = len(rest) == 2 and not rest[0]
        address = _Address(identity, delimited)
        if principal is None:
            self._refuse(address, refusals.not_allowed(heads.identifier(rest[-1]) if rest else 0, "this connection", "any"))
            return
        if len(rest) != 1 + delimited:
            self._refuse(address, refusals.bad_request(0, f"{len(rest)} frames; one is allowed, after an empty one or alone"))
            return
        frame = rest[-1]
        if len(frame) > self._max_frame:
            self._refuse(address, refusals.too_large(heads.identifier(frame), len(frame), self._max_frame))
            return
        try:
            request = heads.head(frame)
        except msgspec.DecodeError as error:
            self._refuse(address, refusals.bad_request(heads.identifier(frame), str(error)))
            return
        self._meters.message(type(request).__name__)
        listed, right = requests.needed(type(request))
        if not listed or (right is not None and right not in principal.rights):
            self._refuse(address, refusals.not_allowed(request.id, principal.name, right or "administer"))
            return
        match request:
            case Hello():
                self._answer(address, self._hello(request, address))
            case GetStatus():
                self._answer(address, Reply(request.id, self.status(principal)))
            case Subscribe():
                topics = [protocol.TOPIC_STATE.decode(), protocol.TOPIC_PROGRESS.decode()]
                self._answer(address, Subscribed(request.id, self._events_for(address), topics, self._publisher.newest_tid))
            case Cancel(id, session, seq):
                self._handle(traffic.MessageCancelled(address, id, (principal.name, session, seq)))
            case _ if self._leaving:
                self._answer(address, Busy(request.id, 4 * RETRY_MS))
            case _:
                arrival = requests.arrival(request, frame, address, address.identity, principal)
                if isinstance(arrival, Error):
                    self._refuse(address, arrival)
                else:
                    self._handle(arrival)

    def _hello(self, hello: Hello, address: _Address) -> Welcome | Error:
        if protocol.VERSION not in hello.versions:
            return refusals.version_mismatch(hello.id, hello.versions)
        return Welcome(hello.id, protocol.VERSION, self._events_for(address), self._max_frame)

    def _refuse(self, address: _Address, error: Error) -> None:
        self._log.warning("refused a tool's message", type=error.type, reason=error.message)
        self._meters.message("refused")
        self._answer(address, error)

    def _answer(self, address: _Address, answer: protocol.Answer) -> None:
        self._meters.reply(type(answer).__name__ if not isinstance(answer, Error) else answer.type)
        self._deliver(address, protocol.encode(answer))

    def _forward_answer(self, address: _Address, id: int, payload: bytes, waited_s: float) -> None:
        try:
            head = _head.decode(payload)
            if id != head.id:
                payload = msgspec.msgpack.encode({**_fields.decode(payload), "id": id})
        except (msgspec.DecodeError, ValueError) as error:
            self._log.error("a UVM's answer cannot be read", reason=str(error), bytes=len(payload))
            self._answer(address, refusals.unreadable_answer(id))
            return
        self._meters.reply(head.type or head.op, waited_s)
        self._deliver(address, payload)

    def _deliver(self, address: _Address, payload: bytes) -> None:
        try:
            self._tools.send(address.identity, _MORE)
            if address.delimited:
                self._tools.send(b"", _MORE)
            self._tools.send(payload, _NOBLOCK)
        except zmq.ZMQError as error:
            # The tool went away, or does not read. If it comes back and asks again, the receipt answers.
            self._meters.reply("undeliverable")
            self._log.debug("an answer could not be delivered", reason=str(error))

    def _events_for(self, address: _Address) -> str:
        """Where the tool is to listen: it can reach what it came by."""
        peer = self._principals.address(address.identity)
        if peer and self._events_tcp:
            return listening.as_seen_from(self._configuration, self._events_tcp, peer)
        return self._configuration.events_endpoint

    def status(self, principal: Principal) -> dict[str, Any]:
        """What GetStatus is answered; times in seconds. Who may not administer sees itself alone."""
        result = self._dispatch.statistics(time.monotonic())
        use = result["principals"]
        everybody = {name: {**account, **use.get(name, {})} for name, account in self._principals.statistics().items()}
        visible = everybody if "administer" in principal.rights else {principal.name: everybody[principal.name]}
        result["principals"] = visible
        for uvm in result["uvms"]:
            uvm["pid"] = self._peers.named(uvm["uvm"]).pid
        return {
            **result,
            "metrics": self._meters.numbers(),
            "pid": os.getpid(),
            "up_s": round(time.monotonic() - self._started, 3),
            "version": protocol.VERSION,
            "tid": self._publisher.newest_tid,
        }

    # --- UVMs ----------------------------------------------------------------------------------------------------------

    def _on_uvm_message(self, identity: bytes, frames: list[bytes]) -> None:
        try:
            message = wire.decode_from_uvm(b"".join(frames))
        except (msgspec.DecodeError, ValueError) as error:
            self._log.error("a UVM's message cannot be read", uvm=self._peers.name_of(identity) or repr(identity), reason=str(error))
            return
        if isinstance(message, wire.Publish) and self._publisher.publish(message.topic, message.payload):
            self._meters.event(message.topic.decode())
        if isinstance(message, wire.Ready):
            self._welcome(identity, message)
            return
        name = self._peers.name_of(identity)
        if name is None:
            if not isinstance(message, wire.Leaving | wire.Publish) and self._peers.stranger(identity, time.monotonic()):
                self._tell(identity, wire.Lost())
            return
        match message:
            case wire.Done(job, payload, spent):
                self._handle(traffic.Finished(name, job, payload, spent))
            case wire.Used(principal, spent):
                self._handle(traffic.UsageReported(name, principal, spent))
            case wire.Parked(jobs):
                self._handle(traffic.JobsParked(name, jobs, parked=True))
            case wire.Resumed(jobs):
                self._handle(traffic.JobsParked(name, jobs, parked=False))
            case wire.Returned(jobs):
                self._handle(traffic.JobsReturned(name, jobs))
            case wire.Leaving():
                self._handle(traffic.UvmLeft(name))
            case _:
                self._handle(traffic.UvmAlive(name))

    def _welcome(self, identity: bytes, ready: wire.Ready) -> None:
        if ready.version != wire.VERSION:
            self._log.error("a UVM of another version is not used", uvm=ready.uvm, version=ready.version, allowed=wire.VERSION)
            return
        try:
            pidfd = os.pidfd_open(ready.pid)
        except ProcessLookupError:
            self._log.warning("a UVM was gone before it was welcomed", uvm=ready.uvm, pid=ready.pid)
            return
        self._carry_out()
        instructions = self._dispatch.handle(traffic.UvmReady(ready.uvm, ready.incarnation), time.monotonic())
        self._do([i for i in instructions if isinstance(i, traffic.UvmLost)])
        self._peers.add(ready.uvm, identity, ready.pid, pidfd)
        self._log.info("a UVM is ready", uvm=ready.uvm, pid=ready.pid, incarnation=ready.incarnation)
        self._do([i for i in instructions if not isinstance(i, traffic.UvmLost)])

    def _tell(self, identity: bytes, message: wire.ToUvm) -> bool:
        try:
            self._uvms.send(identity, _MORE)
            self._uvms.send(wire.encode(message), _NOBLOCK)
        except zmq.ZMQError as error:
            self._log.debug("a UVM cannot be reached", uvm=self._peers.name_of(identity) or repr(identity), reason=str(error))
            return False
        return True

    def _watch(self, ready: dict[Any, int]) -> None:
        """A process that ended is buried a little later, when its last words have been read."""
        for name in self._peers.ended(ready):
            self._ending(name)
        for name in self._peers.to_bury(time.monotonic()):
            self._handle(traffic.UvmDied(name))

    def _ending(self, name: str) -> None:
        if self._peers.ending(name, time.monotonic()):
            self._handle(traffic.UvmEnding(name))

    def _on_uvm_lost(self, lost: traffic.UvmLost) -> None:
        peer = self._peers.remove(lost.uvm)
        self._meters.lost(lost.clean)
        log = self._log.info if lost.clean else self._log.warning
        log("a UVM is gone", uvm=lost.uvm, pid=peer.pid, why=lost.why, suspects=lost.suspects)
        if not lost.clean:
            # It may have committed what it did not live to publish.
            self._publisher.leave_a_hole()


def _rest(socket: zmq.Socket[bytes], first: bytes) -> list[bytes]:
    """All frames of a message but the identity, of which the first has been read: after an identity there is one always."""
    frames = [first]
    while socket.get(zmq.RCVMORE):
        frames.append(socket.recv())
    return frames


def main() -> int:
    """Run the bridge of the configuration in force; the exit status."""
    configuration = load()
    log = logs.start("bridge", configuration.settings.logs.level)
    with Stop() as stop:
        try:
            configuration.home.ensure()
            listening.prepare(configuration)
            endpoint = metrics.listen("bridge", configuration.settings.metrics.base_port, METRICS_OFFSET, configuration.home.run)
            confinement.enter("bridge", profiles.bridge_profile(configuration), configuration.home.run)
            bridge = Bridge(configuration)
        except SettingsError as error:
            log.error("the bridge cannot start", reason=str(error))
            return 2
        try:
            endpoint.start()
            # What a process is made of never becomes garbage; to look through it takes tens of milliseconds, in which nobody is served.
            gc.collect()
            gc.freeze()
            bridge.run(stop)
        finally:
            bridge.close()
    return 0

"""The Synaptic Bridge, `python -m uvm.bridge`: the one address that tools connect to.

One process, one thread, one loop: read what UVMs, tools and subscribers said, look who is gone, do what `uvm.bridge.dispatcher`
says. It owns the three sockets, the UVMs' pidfds, and `bridge.lock` in the run directory (one bridge a home). It keeps
nothing on disk: after a restart the tools send again, and the receipts in the image answer what had been done.
"""

import os
import time
from typing import Any, Protocol

import msgspec
import structlog
import zmq

from deploy.settings import Configuration, SettingsError
from uvm import protocol
from uvm.bridge import events as traffic
from uvm.bridge import protocol as wire
from uvm.bridge import quotas, refusals
from uvm.bridge import sockets as listening
from uvm.bridge.dispatcher import Dispatch
from uvm.bridge.metrics import Meters
from uvm.bridge.peers import Peers
from uvm.bridge.principals import Principal, Principals
from uvm.bridge.publisher import Publisher
from uvm.bridge.quotas import RETRY_MS
from uvm.bridge.sockets import MORE, NOBLOCK, rest
from uvm.bridge.tools import Address, Tools, arrival
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
UVMS_ROUND, UVMS_BRIEF_ROUND = 64, 8
"""Most messages read from one socket before the others get their turn; what UVMs said is answered at the end of theirs. Turns are
brief while somebody asks one quick thing after the other."""

_NO_RIGHTS: frozenset[Right] = frozenset()
"""Of a principal that was removed while its message waited."""


class StopSignal(Protocol):
    """What ends the loop: `deploy.process.Stop`, or a test's own."""

    @property
    def requested(self) -> bool: ...

    def fileno(self) -> int: ...


class Bridge:
    """Sockets and loop. `run` until the stop is requested, then `close`, from one thread.

    Raises SettingsError when another bridge serves the same home, or an endpoint cannot be had.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        settings = configuration.settings.bridge
        self._max_frame = settings.max_frame_bytes
        self._log = structlog.get_logger("bridge")
        # Numbers of deliveries and the events' stream start at the clock, so that none of an earlier bridge's is met again.
        start = time.time_ns()
        self._dispatch = Dispatch(
            queue=settings.queue, queue_bytes=QUEUE_BYTES, window=WINDOW, dead_after_s=settings.dead_after_s, first_delivery=start
        )
        self._meters = Meters()
        self._started = time.monotonic()
        self._leaving = self._anew = False
        self._to_do: list[traffic.Instruction] = []
        self._lock = listening.only_bridge(configuration)
        self._context = zmq.Context()
        try:
            self._principals = Principals(self._context, configuration)
            self._tools = Tools(self._context, configuration, self._principals, self._meters)
            self._uvms = listening.for_uvms(self._context, configuration)
            self._events, self._events_tcp = listening.for_subscribers(self._context, configuration)
        except SettingsError:
            self._context.destroy(linger=0)
            raise
        self._poller = zmq.Poller()
        for socket in (self._tools.socket, self._uvms, self._events, self._principals.socket):
            self._poller.register(socket, zmq.POLLIN)
        self._publisher = Publisher(self._events, start)
        self._peers = Peers(self._poller)
        self._names = self._principals.names()

    # --- the loop ------------------------------------------------------------------------------------------------------

    def run(self, stop: StopSignal) -> None:
        """Serve until `stop` is requested; then give what UVMs have a moment to be answered."""
        tools, events = self._configuration.bridge_socket, self._configuration.events_endpoint
        self._log.info("bridge serves", tools=tools, events=events, tools_tcp=self._tools.tcp, events_tcp=self._events_tcp)
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
        for socket in (self._tools.socket, self._uvms, self._events):
            socket.close()
        self._context.term()
        listening.remove_files(self._configuration)
        self._lock.close()

    def _round(self, wait_ms: int) -> None:
        ready = dict(self._poller.poll(0 if self._tools.waiting else wait_ms))
        brief = self._dispatch.apart(time.monotonic())
        if self._uvms in ready:
            self._read_uvms(UVMS_BRIEF_ROUND if brief else UVMS_ROUND)
            self._carry_out()
        if self._principals.socket in ready:
            self._principals.answer()
        if self._tools.socket in ready or self._tools.waiting:
            self._tools.read(self._on_request, brief)
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

    def _read_uvms(self, most: int) -> None:
        for _ in range(most):
            try:
                identity = self._uvms.recv(NOBLOCK)
            except zmq.Again:
                return
            self._on_uvm_message(identity, rest(self._uvms, self._uvms.recv()))

    def _read_events(self) -> None:
        for _ in range(ROUND):
            try:
                frames = self._events.recv_multipart(NOBLOCK)
            except zmq.Again:
                return
            self._publisher.subscribed(frames)

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
                case traffic.Assign(uvm, delivery, payload, principal, alone, age_s):
                    self._meters.assigned(alone)
                    message = self._deliver(delivery, payload, principal, alone, age_s)
                    if not self._tell(self._peers.named(uvm).identity, message):
                        self._handle(traffic.Undelivered(uvm, delivery))
                        self._ending(uvm)
                case traffic.ForwardAnswer(address, id, payload, waited_s):
                    self._tools.forward(address, id, payload, waited_s)
                case traffic.RefuseMessage(address, answer):
                    self._tools.answer(address, answer)
                case traffic.DropDelivery(uvm, delivery):
                    self._tell(self._peers.named(uvm).identity, wire.Drop(delivery))
                case traffic.RecallDeliveries(uvm):
                    self._tell(self._peers.named(uvm).identity, wire.Recall())
                case traffic.KillUvm(uvm):
                    self._log.error("a UVM is silent, and is killed", uvm=uvm, pid=self._peers.named(uvm).pid)
                    self._peers.kill(uvm)
                case traffic.UvmLost():
                    self._on_uvm_lost(instruction)

    # --- tools ---------------------------------------------------------------------------------------------------------

    def _deliver(self, delivery: int, payload: bytes, principal: str, alone: bool, age_s: float) -> wire.Deliver:
        sender = self._principals.named(principal)
        rights, quota = (sender.rights, sender.quota) if sender else (_NO_RIGHTS, self._configuration.settings.quotas)
        return wire.Deliver(delivery, payload, principal, alone, int(age_s * 1000), rights, quotas.limits(quota))

    def _on_request(self, address: Address, request: protocol.Request, frame: bytes, principal: Principal) -> None:
        match request:
            case Hello():
                self._tools.answer(address, self._hello(request, address))
            case GetStatus():
                self._tools.answer(address, Reply(request.id, self.status(principal)))
            case Subscribe():
                topics = [protocol.TOPIC_STATE.decode(), protocol.TOPIC_PROGRESS.decode()]
                self._tools.answer(address, Subscribed(request.id, self._events_for(address), topics, self._publisher.newest_tid))
            case Cancel(id, session, seq):
                self._handle(traffic.MessageCancelled(address, id, (principal.name, session, seq)))
            case _ if self._leaving:
                self._tools.answer(address, Busy(request.id, 4 * RETRY_MS))
            case _:
                arrived = arrival(request, frame, address, address.identity, principal)
                if isinstance(arrived, Error):
                    self._tools.refuse(address, arrived)
                else:
                    self._handle(arrived)

    def _hello(self, hello: Hello, address: Address) -> Welcome | Error:
        if protocol.VERSION not in hello.versions:
            return refusals.version_mismatch(hello.id, hello.versions)
        return Welcome(hello.id, protocol.VERSION, self._events_for(address), self._max_frame)

    def _events_for(self, address: Address) -> str:
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
            case wire.Done(delivery, payload, spent):
                self._handle(traffic.Finished(name, delivery, payload, spent))
            case wire.Used(principal, spent):
                self._handle(traffic.UsageReported(name, principal, spent))
            case wire.Parked(deliveries):
                self._handle(traffic.DeliveriesParked(name, deliveries, parked=True))
            case wire.Resumed(deliveries):
                self._handle(traffic.DeliveriesParked(name, deliveries, parked=False))
            case wire.Returned(deliveries):
                self._handle(traffic.DeliveriesReturned(name, deliveries))
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
            self._uvms.send(identity, MORE)
            self._uvms.send(wire.encode(message), NOBLOCK)
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

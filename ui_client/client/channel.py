"""The client's one connection to the bridge: a thread that owns a DEALER socket, and futures for whoever asks.

Any thread may call `ask` and `close`; the channel's own thread alone touches the socket. The lock guards the outbox and
the futures; a future is completed outside of it.
"""

import atexit
import threading
import time
from concurrent.futures import Future

import msgspec
import structlog
import zmq
import zmq.asyncio

from deploy.keys import ClientKey
from deploy.reconnection import Reconnections, quickly
from ui_client.client.errors import BridgeBusy, BridgeUnreachable, ClientError
from ui_client.client.outbox import Outbox, RequestSettled
from uvm.protocol import Answer, Request

MOST_PENDING = 4096
"""Requests under way of one client; past it `ask` raises BridgeBusy."""

TICK_MS = 50
JOIN_S = 2.0


class Channel:
    """Connects to `endpoint` and sends what `outbox` says. Close it when done; a forgotten one is closed at exit.

    `key`: what the bridge knows the tool by over TCP.
    """

    def __init__(self, endpoint: str, outbox: Outbox, key: ClientKey | None = None) -> None:
        self._outbox = outbox
        self._futures: dict[int, Future[Answer]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        quickly(self._socket)
        self._reconnections = Reconnections(self._socket)
        prove(self._socket, key)
        self._wake_writer = self._context.socket(zmq.PAIR)
        self._wake_reader = self._context.socket(zmq.PAIR)
        self._wake_writer.bind("inproc://wake")
        self._wake_reader.connect("inproc://wake")
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            message = f"{endpoint!r} cannot be connected to: {error}; an endpoint looks like ipc:///path or tcp://host:port"
            raise BridgeUnreachable(message) from error
        self._thread = threading.Thread(target=self._run, name="batos-client", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def ask(self, request: Request, deadline_s: float) -> Future[Answer]:
        """Send `request`; the future gets its answer, or a ClientError. Raises BridgeBusy and RemoteError."""
        future: Future[Answer] = Future()
        with self._lock:
            if self._closed:
                raise ClientError("the client is closed")
            if len(self._outbox) >= MOST_PENDING:
                raise BridgeBusy(f"{MOST_PENDING} requests of this client are under way; wait for some of them")
            self._futures[self._outbox.add(request, time.monotonic(), deadline_s)] = future
            self._wake()
        return future

    @property
    def resent(self) -> int:
        """How many requests were sent again."""
        return self._outbox.resent

    def close(self) -> None:
        """End the thread and the connection; requests under way end in a ClientError. May be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._wake()
        atexit.unregister(self.close)
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_S)

    def _wake(self) -> None:
        # Full means that a wake-up is on its way already.
        try:
            self._wake_writer.send(b"", zmq.NOBLOCK)
        except zmq.Again:
            return

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake_reader, zmq.POLLIN)
        poller.register(self._reconnections.socket, zmq.POLLIN)
        ended: list[RequestSettled] = []
        while not self._closed:
            ready = dict(poller.poll(TICK_MS if len(self._outbox) else None))
            _drain(self._wake_reader)
            arrived = _drain(self._socket)
            again = self._reconnections.socket in ready and self._reconnections.again()
            now = time.monotonic()
            with self._lock:
                if again:
                    self._outbox.reconnected()
                for frame in arrived:
                    ended += self._received(frame, now)
                ended += self._outbox.expired(now)
                frames = self._outbox.due(now)
            for frame in frames:
                self._send(frame)
            self._complete(ended)
            ended = []
        with self._lock:
            ended = self._outbox.abandon()
        self._complete(ended)
        self._context.destroy(linger=0)

    def _received(self, frame: bytes, now: float) -> list[RequestSettled]:
        try:
            return self._outbox.received(frame, now)
        except msgspec.DecodeError as error:
            structlog.get_logger("client").warning("the bridge sent what is no answer", reason=str(error), bytes=len(frame))
            return []

    def _send(self, frame: bytes) -> None:
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            # Nobody takes what is sent; the outbox sends it again, and says so when it lasts.
            return

    def _complete(self, ended: list[RequestSettled]) -> None:
        for settled in ended:
            with self._lock:
                future = self._futures.pop(settled.id)
            if not future.set_running_or_notify_cancel():
                continue
            if isinstance(settled.outcome, ClientError):
                future.set_exception(settled.outcome)
            else:
                future.set_result(settled.outcome)


def prove(socket: "zmq.Socket[bytes] | zmq.asyncio.Socket", key: ClientKey | None) -> None:
    """Have a socket that is not connected yet hold the key, and accept the server alone whose key it names."""
    if key is not None:
        socket.curve_publickey = key.public.encode()
        socket.curve_secretkey = key.secret.encode()
        socket.curve_serverkey = key.server.encode()


def _drain(socket: zmq.Socket[bytes]) -> list[bytes]:
    frames: list[bytes] = []
    while True:
        try:
            frames.append(socket.recv_multipart(zmq.NOBLOCK)[-1])
        except zmq.Again:
            return frames

"""The UVMs that the bridge talks with: routing ids, names, and the pidfds by which it sees them end.

Owned by the bridge's one thread; the pidfds are registered with the bridge's poller.
"""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import zmq
from msgspec import Struct

LOST_S = 2.0
"""Seconds between two Lost to the same stranger, who is answering the first one."""

LAST_WORDS_S = 0.05
"""Seconds between a UVM's end and its burial, in which what it said last arrives."""


class Peer(Struct, eq=False):
    """One UVM process. `ended` is the monotonic second in which its end was noticed, 0 before; `pidfd` is then closed."""

    name: str
    identity: bytes
    pid: int
    pidfd: int
    ended: float = 0.0


class Peers:
    """Who is who; every change keeps the poller's registrations in step."""

    def __init__(self, poller: zmq.Poller) -> None:
        self._poller = poller
        self._by_name: dict[str, Peer] = {}
        self._by_identity: dict[bytes, Peer] = {}
        self._strangers: dict[bytes, float] = {}

    def add(self, name: str, identity: bytes, pid: int, pidfd: int) -> None:
        """A UVM came; `pidfd` is ours from now on."""
        self._by_name[name] = self._by_identity[identity] = Peer(name, identity, pid, pidfd)
        self._strangers.pop(identity, None)
        self._poller.register(pidfd, zmq.POLLIN)

    def remove(self, name: str) -> Peer:
        """A UVM is off the list."""
        peer = self._by_name.pop(name)
        self._by_identity.pop(peer.identity, None)
        self._unwatch(peer)
        return peer

    def named(self, name: str) -> Peer:
        """The UVM that the dispatch calls so."""
        return self._by_name[name]

    def name_of(self, identity: bytes) -> str | None:
        """Who speaks; None: nobody that is on the list."""
        peer = self._by_identity.get(identity)
        return peer.name if peer else None

    def stranger(self, identity: bytes, now: float) -> bool:
        """Somebody who is not on the list spoke. True: tell it so; false: it was told just now."""
        if now - self._strangers.get(identity, -LOST_S) < LOST_S:
            return False
        self._strangers = {stranger: told_at for stranger, told_at in self._strangers.items() if now - told_at < LOST_S} | {identity: now}
        return True

    def ending(self, name: str, now: float) -> bool:
        """The UVM seems to be gone. False: that was known."""
        peer = self._by_name.get(name)
        if peer is None or peer.ended:
            return False
        self._unwatch(peer)
        peer.ended = now
        return True

    def ended(self, ready: dict[Any, int]) -> Iterable[str]:
        """UVMs whose process ended since the last poll."""
        return [peer.name for peer in self._by_name.values() if peer.pidfd in ready]

    def kill(self, name: str) -> None:
        """End the UVM's process for good, also one that is stopped: a stopped one could come back, and go on with what others have now."""
        peer = self._by_name[name]
        if peer.pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(peer.pidfd, signal.SIGKILL)

    def to_bury(self, now: float) -> Iterable[str]:
        """UVMs that ended long enough ago for their last words to have arrived."""
        return [peer.name for peer in self._by_name.values() if peer.ended and now >= peer.ended + LAST_WORDS_S]

    def close(self) -> None:
        """Close all pidfds."""
        for peer in self._by_name.values():
            self._unwatch(peer)

    def _unwatch(self, peer: Peer) -> None:
        if peer.pidfd >= 0:
            self._poller.unregister(peer.pidfd)
            os.close(peer.pidfd)
            peer.pidfd = -1

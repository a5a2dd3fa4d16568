"""Who is behind a connection: ZeroMQ's authentication (ZAP), and the principals of the home with their rights and quotas.

Owned by the bridge's one thread. ZeroMQ asks before a connection carries anything: over a Unix socket it names the peer's user, over TCP
the public key that the peer has proved to hold. The answer, a principal's name and its proof, comes with every message of the connection.
The files of `deploy.keys` are read again when they change, and each message is judged by what they say then.
"""

import re
from collections import OrderedDict
from typing import Any

import msgspec
import structlog
import zmq
from msgspec import Struct
from zmq.utils import z85

from deploy import keys
from deploy.keys import LOCAL, PrincipalRecord
from deploy.settings import Configuration, QuotaSettings
from uvm.rights import Right

TOOLS = b"tools"
EVENTS = b"events"
"""ZAP domains: what a connection is for. Events are for those who may read."""

LOOK_EVERY_S = 0.5
REMEMBERED = 10_000
"""Connections whose principal is remembered; of others it is read from each message."""

_ENDPOINT = "inproc://zeromq.zap.01"

_UNIX_PEER = re.compile(r"[^:]*:(\d+):\d+:\d+", re.ASCII)
"""How libzmq names the peer of a Unix socket: host, uid, gid, pid."""


class Principal(Struct, frozen=True):
    """What a principal is allowed. `proof`: what its connections have shown."""

    name: str
    proof: str
    rights: frozenset[Right]
    quota: QuotaSettings


class Principals:
    """Answers ZAP on `socket`, and knows everybody."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", configuration: Configuration) -> None:
        self._configuration = configuration
        self._log = structlog.get_logger("bridge")
        self._owners = {0, configuration.home.path.stat().st_uid}
        self._all: dict[str, Principal] = {}
        self._names: frozenset[str] = frozenset()
        self._by_proof: dict[str, Principal] = {}
        self._of: OrderedDict[bytes, str] = OrderedDict()
        self._from: OrderedDict[bytes, str] = OrderedDict()
        self._listening: set[str] = set()
        self._stamp = -1
        self._look_at = 0.0
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(_ENDPOINT)
        self.look(0.0)

    def look(self, now: float) -> bool:
        """Read the files if they changed. True: somebody who may listen to events until now may not any longer."""
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY_S
        stamp = keys.stamp(self._configuration.home)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        defaults = self._configuration.settings.quotas
        records, faults = keys.read(self._configuration.home, defaults)
        for fault in faults:
            self._log.error("a principal is left out", reason=fault)
        own = records.pop(LOCAL, PrincipalRecord(rights=frozenset(self._configuration.settings.bridge.rights)))
        self._all = {LOCAL: Principal(LOCAL, LOCAL, own.rights, own.quota(defaults))}
        for name, record in records.items():
            self._all[name] = Principal(name, record.proof, record.rights, record.quota(defaults))
        self._names = frozenset(self._all)
        self._by_proof = {principal.proof: principal for principal in self._all.values()}
        self._log.info("principals", names=sorted(self._all))
        lost = {proof for proof in self._listening if not self._may_listen(proof)}
        self._listening -= lost
        return bool(lost)

    def answer(self) -> None:
        """Answer what ZeroMQ asks about connections that are being made."""
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._look_at = 0.0
            self.look(0.0)
            asker, empty, version, request, domain, address, _, mechanism, *credentials = frames
            peer = address.decode("utf-8", "replace")
            proof = self._proof(peer, mechanism, credentials)
            principal = self._by_proof.get(proof)
            if principal is None or (domain == EVENTS and "read" not in principal.rights):
                self._log.warning("a connection is refused", purpose=domain.decode(), address=peer, proof=proof)
                verdict = [b"400", b"not a principal of this service, or without the right to read", b"", b""]
            else:
                if domain == EVENTS:
                    self._listening.add(proof)
                verdict = [b"200", b"", proof.encode(), b""]
            self.socket.send_multipart([asker, empty, version, request, *verdict])

    def known(self, identity: bytes) -> Principal | None:
        """Who this connection was when it spoke last; None: read it from the message."""
        # An id that the tool chose itself can be another tool's tomorrow.
        proof = self._of.get(identity) if identity[:1] == b"\0" else None
        return None if proof is None else self._by_proof.get(proof)

    def of(self, identity: bytes, frame: zmq.Frame) -> Principal | None:
        """Who sent this frame; None: somebody who is no principal any more."""
        proof = self._of[identity] = str(frame.get("User-Id"))
        self._from[identity] = str(frame.get("Peer-Address"))
        for remembered in (self._of, self._from):
            if len(remembered) > REMEMBERED:
                remembered.popitem(last=False)
        return self._by_proof.get(proof)

    def address(self, identity: bytes) -> str:
        """The host from which this connection came over TCP; empty: it came through a Unix socket, or is not remembered."""
        address = self._from.get(identity, "")
        return "" if _UNIX_PEER.fullmatch(address) else address

    def named(self, name: str) -> Principal | None:
        """The principal as of now."""
        return self._all.get(name)

    def names(self) -> frozenset[str]:
        """Everybody's name, as of now."""
        return self._names

    def statistics(self) -> dict[str, dict[str, Any]]:
        """Everybody's rights and quotas, by name, as GetStatus shows them."""
        return {
            name: {"rights": sorted(principal.rights), "quota": msgspec.structs.asdict(principal.quota)}
            for name, principal in self._all.items()
        }

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def _proof(self, address: str, mechanism: bytes, credentials: list[bytes]) -> str:
        if mechanism == b"CURVE":
            return z85.encode(credentials[0]).decode()
        peer = _UNIX_PEER.fullmatch(address)
        uid = int(peer[1]) if peer else -1
        if f"uid:{uid}" in self._by_proof:
            return f"uid:{uid}"
        return LOCAL if uid in self._owners else f"uid:{uid}"

    def _may_listen(self, proof: str) -> bool:
        principal = self._by_proof.get(proof)
        return principal is not None and "read" in principal.rights

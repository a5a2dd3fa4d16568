"""An adapter fetched from another inference worker, by its digest (the other side is shelf.py).

Called and owned by the event loop; each fetch has a DEALER socket of its own, and whatever touches the disk runs in threads.

Nothing a peer says is believed. The list of files must hash to the digest that was asked for, before anything is
downloaded; each file must hash to what the list says, before the directory gets its name. Sizes are no part of the
digest, so they are bounded, and each chunk must have the length that was asked for. Until then all of it lies in a
directory `.fetching-…`, which is removed when the fetch fails, and swept by the next Fetcher when the process died.
An adapter that was fetched holds a file `.fetched` with the peer's address.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import structlog
import zmq
import zmq.asyncio
from msgspec import Struct

from deploy.digest import file_digest, listing_digest
from inference_worker import protocol
from inference_worker.adapters.adapter import CONFIG, MOST_FILES, WEIGHTS, check_file
from inference_worker.adapters.catalogue import FETCHED
from inference_worker.concurrency import together
from inference_worker.errors import BadAdapter
from inference_worker.protocol import Answer, AskChunk, AskFiles, Chunk, File, Files, RequestFailed

log = structlog.get_logger(__name__)

CHUNK = 1 << 20
"""Bytes asked for at a time; the protocol allows no more."""

_LARGEST_FRAME = 2 * CHUNK
_MOST_STRAY = 100
_SPARE_DISK = 64 << 20
_STAGING = ".fetching-"


class FetchFailed(BadAdapter):
    """No peer gave the adapter; the message says why each did not. To a client it is BadAdapter."""

    @property
    def type(self) -> str:
        return BadAdapter.__name__


class FetchLimits(Struct, frozen=True):
    """What a fetch may take: bytes of an adapter, chunks in flight, and how long a peer may take for its list and for a chunk, seconds."""

    size: int = 4 << 30
    window: int = 4
    list_s: float = 5.0
    chunk_s: float = 15.0


class Offer(Struct, frozen=True):
    """A peer that has an adapter: its address, the files, whose list hashes to the digest, and their bytes as the peer says."""

    peer: str
    files: list[File]
    size: int


class Fetched(Struct, frozen=True):
    """An adapter that came. `size`: bytes of its files; `seconds`: from the first question to its place; `peer`: who gave it."""

    digest: str
    path: Path
    size: int
    seconds: float
    peer: str


class _PeerFailed(Exception):
    """This peer does not give the adapter; another may."""


class Fetcher:
    """Brings adapters from `peers` (addresses of inference workers) into the directory `into`. Owned by one event loop."""

    def __init__(self, peers: list[str], into: Path, limits: FetchLimits | None = None) -> None:
        self._peers = peers
        self._into = into
        self._limits = limits or FetchLimits()
        self._context = zmq.asyncio.Context()
        for staging in into.glob(f"{_STAGING}*"):
            shutil.rmtree(staging, ignore_errors=True)

    def close(self) -> None:
        """End all sockets. Fetches under way must have been cancelled before."""
        self._context.destroy(linger=0)

    async def find(self, digest: str) -> Offer:
        """The first peer that answers that it has the adapter; all are asked at once. Raises FetchFailed."""
        reasons: list[str] = []
        async with self._offers(digest, reasons) as offers:
            async for offer in offers:
                return offer
        raise self._failed(digest, reasons)

    async def fetch(self, digest: str) -> Fetched:
        """Bring an adapter here, verified and on disk, from the first peer that has it, or the next when it fails.

        Raises FetchFailed when no peer gave it or this disk does not take it. Cancelled, it leaves nothing behind.
        """
        began = time.monotonic()
        reasons: list[str] = []
        async with self._offers(digest, reasons) as offers:
            async for offer in offers:
                try:
                    await self._take(digest, offer)
                except _PeerFailed as error:
                    log.warning("a peer did not give an adapter", adapter=digest, peer=offer.peer, reason=str(error))
                    reasons.append(f"{offer.peer}: {error}")
                    continue
                except OSError as error:
                    raise FetchFailed(f"adapter {digest} cannot be stored in {self._into}: {error}") from error
                seconds = time.monotonic() - began
                log.info("adapter fetched", adapter=digest, peer=offer.peer, bytes=offer.size, seconds=round(seconds, 3))
                return Fetched(digest, self._into / digest, offer.size, seconds, offer.peer)
        raise self._failed(digest, reasons)

    @contextlib.asynccontextmanager
    async def _offers(self, digest: str, reasons: list[str]) -> AsyncIterator[AsyncIterator[Offer]]:
        """Offers as the peers make them; why others made none is added to `reasons`."""
        asking = [asyncio.create_task(self._offer(address, digest)) for address in self._peers]

        async def answers() -> AsyncIterator[Offer]:
            for answered in asyncio.as_completed(asking):
                try:
                    yield await answered
                except _PeerFailed as error:
                    reasons.append(str(error))

        try:
            yield answers()
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _offer(self, address: str, digest: str) -> Offer:
        try:
            async with self._connected(address) as peer:
                answer = await peer.ask(AskFiles(id=peer.name(), adapter=digest), self._limits.list_s)
            if not isinstance(answer, Files):
                raise _PeerFailed(f"it answered a question for files with {type(answer).__name__}")
            return _checked_offer(address, answer, digest, self._limits.size)
        except _PeerFailed as error:
            raise _PeerFailed(f"{address}: {error}") from error

    async def _take(self, digest: str, offer: Offer) -> None:
        staging = self._into / f"{_STAGING}{digest[:16]}-{secrets.token_hex(4)}"
        try:
            await _in_thread(_make_room, staging, offer)
            async with self._connected(offer.peer) as peer:
                for file in offer.files:
                    await self._download(peer, digest, file, staging / file.path)
            await _in_thread(_place, staging, self._into / digest, offer)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    async def _download(self, peer: "_Peer", digest: str, file: File, into: Path) -> None:
        await _in_thread(into.touch)
        offsets = iter(range(0, file.size, CHUNK))
        await together(self._download_some(peer, digest, file, into, offsets) for _ in range(self._limits.window))

    async def _download_some(self, peer: "_Peer", digest: str, file: File, into: Path, offsets: Iterator[int]) -> None:
        for offset in offsets:
            length = min(CHUNK, file.size - offset)
            question = AskChunk(id=peer.name(), adapter=digest, path=file.path, offset=offset, length=length)
            answer = await peer.ask(question, self._limits.chunk_s)
            if not isinstance(answer, Chunk) or len(answer.data) != length:
                got = f"{len(answer.data)} bytes" if isinstance(answer, Chunk) else type(answer).__name__
                raise _PeerFailed(f"it listed {file.path} with {file.size} bytes, but gave {got} at {offset} instead of {length}")
            await _in_thread(_write_at, into, offset, answer.data)

    @contextlib.asynccontextmanager
    async def _connected(self, address: str) -> AsyncIterator["_Peer"]:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, _LARGEST_FRAME)
        socket.setsockopt(zmq.RCVHWM, 2 * self._limits.window)
        try:
            socket.connect(address)
            peer = _Peer(socket, address)
            try:
                yield peer
            finally:
                await peer.close()
        except zmq.ZMQError as error:
            raise _PeerFailed(f"it cannot be connected: {error}") from error
        finally:
            socket.close()

    def _failed(self, digest: str, reasons: list[str]) -> FetchFailed:
        reason = "; ".join(reasons)[:2000] or "none is configured (inference.peers)"
        return FetchFailed(f"adapter {digest} is neither here nor given by a peer: {reason}")


class _Peer:
    """Questions to one worker, several at once; a task of its own hands each answer to who asked."""

    def __init__(self, socket: zmq.asyncio.Socket, address: str) -> None:
        self.address = address
        self._socket = socket
        self._count = 0
        self._questions: dict[str, asyncio.Future[Answer]] = {}
        self._reading = asyncio.create_task(self._read())

    def name(self) -> str:
        self._count += 1
        return str(self._count)

    async def ask(self, question: AskFiles | AskChunk, deadline_s: float) -> Answer:
        """The answer. Raises _PeerFailed when there is none in time, or when it is a RequestFailed."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._questions[question.id] = future
        try:
            async with asyncio.timeout(deadline_s):
                await self._socket.send(protocol.encode(question))
                waited: list[asyncio.Future[Any]] = [future, self._reading]
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise _PeerFailed(f"it did not answer {type(question).__name__} within {deadline_s:g} s") from None
        finally:
            self._questions.pop(question.id, None)
        if not future.done():
            # The reader only ends with an exception: the one that says what the peer did.
            self._reading.result()
        answer = future.result()
        if isinstance(answer, RequestFailed):
            raise _PeerFailed(f"{answer.type}: {answer.message[:500]}")
        return answer

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        stray = 0
        while stray < _MOST_STRAY:
            frame = await self._socket.recv()
            try:
                answer = protocol.decode_answer(frame)
            except msgspec.DecodeError as error:
                raise _PeerFailed(f"it sent what is no message of the protocol: {error}") from error
            future = self._questions.get(answer.id)
            if future is None or future.done():
                stray += 1
            else:
                future.set_result(answer)
        raise _PeerFailed(f"it sent {stray} answers to which there was no question")


def _checked_offer(peer: str, answer: Files, digest: str, largest: int) -> Offer:
    names = [file.path for file in answer.files]
    if not 0 < len(names) <= MOST_FILES or len(set(names)) != len(names):
        raise _PeerFailed(f"it lists {len(names)} files; allowed: 1 to {MOST_FILES}, each once")
    if (actual := _listing_digest(answer.files)) != digest:
        raise _PeerFailed(f"its list of files has the digest {actual}, not the one that was asked for")
    size = sum(file.size for file in answer.files)
    if min(file.size for file in answer.files) < 0 or size > largest:
        raise _PeerFailed(f"it lists {size} bytes; allowed: {largest}")
    try:
        for file in answer.files:
            check_file(file.path, file.size)
    except BadAdapter as error:
        raise _PeerFailed(str(error)) from error
    if not {CONFIG, WEIGHTS} <= set(names):
        raise _PeerFailed(f"what it has under this digest is no adapter: {', '.join(sorted(names))[:200]}")
    return Offer(peer, sorted(answer.files, key=lambda file: file.path), size)


def _listing_digest(files: list[File]) -> str:
    return listing_digest({file.path: file.sha256 for file in files})


async def _in_thread(function: Callable[..., None], *arguments: object) -> None:
    """Run `function` in a thread, which cancelling does not stop: then its end is awaited too, before anybody removes its files."""
    task = asyncio.create_task(asyncio.to_thread(function, *arguments))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


# --- in threads -------------------------------------------------------------------------------------------------------


def _make_room(staging: Path, offer: Offer) -> None:
    free = shutil.disk_usage(staging.parent).free
    if free < offer.size + _SPARE_DISK:
        raise OSError(f"{offer.size} bytes are needed, and {free} are free")
    staging.mkdir(mode=0o755)


def _write_at(file: Path, offset: int, content: bytes) -> None:
    with file.open("r+b") as stream:
        stream.seek(offset)
        stream.write(content)


def _place(staging: Path, target: Path, offer: Offer) -> None:
    """Verify every file, bring it to the disk, and give the directory its name."""
    for file in offer.files:
        place = staging / file.path
        _sync(place)
        if (actual := file_digest(place)) != file.sha256:
            raise _PeerFailed(f"its {file.path} has the sha256 {actual}, but it listed {file.sha256}")
        place.chmod(0o444)
    (staging / FETCHED).write_text(f"{offer.peer}\n")
    _sync(staging / FETCHED)
    _sync(staging)
    try:
        staging.rename(target)
    except OSError:
        # Somebody put it there meanwhile; under the same digest it is the same.
        if not target.is_dir():
            raise
    _sync(target.parent)


def _sync(place: Path) -> None:
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""The adapters as files, behind one face: what lies in the home, what is in quarantine, and what peers have.

The worker's event loop calls it; whatever reads files runs in threads of its own, `LOADERS` at a time for what the scheduler
asked for and `SERVERS` for peers, so that neither makes the other wait, nor anybody else.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from msgspec import Struct

from deploy.settings import Home, InferenceSettings
from inference_worker.adapters.adapter import Adapter, BaseModel
from inference_worker.adapters.catalogue import Catalogue, CatalogueEntry
from inference_worker.adapters.exports import Shelf
from inference_worker.adapters.fetcher import Fetcher, FetchFailed
from inference_worker.adapters.quarantine import Quarantine, Quarantined
from inference_worker.errors import BadAdapter
from inference_worker.protocol import Chunk, Files

T = TypeVar("T")

LOADERS = 2
SERVERS = 2


class LocatedAdapter(Struct, frozen=True):
    """Where an adapter was found, as the scheduler wants it. `remote`: only a peer has it; sizes are then what the peer says.

    `fetched`: it is here, and came from a peer, which will have it again when it is deleted.
    """

    digest: str
    size: int
    rank: int
    remote: bool = False
    fetched: bool = False


class AdapterStore:
    """The adapters of one home. `open` comes first, `close` last."""

    def __init__(self, home: Home, settings: InferenceSettings) -> None:
        self._home = home
        self._max_rank = settings.max_lora_rank
        self._peers = settings.peers
        self._loaders = ThreadPoolExecutor(LOADERS, thread_name_prefix="load")
        self._servers = ThreadPoolExecutor(SERVERS, thread_name_prefix="serve")
        self._index = home.path / "cache" / "adapters.index"
        self._quarantine = Quarantine(home.adapters)
        # Empty until it is opened, which may take a while.
        self._catalogue = Catalogue(home.adapters, self._index, self._quarantine)
        self._quarantined: list[Quarantined] = []
        self._shelf = Shelf(home.adapters)
        self._fetcher: Fetcher | None = None

    async def open(self) -> list[LocatedAdapter]:
        """What lies in the home, which a restart knows at once and a first start looks through. Raises OSError."""
        self._catalogue = await self._load(lambda: Catalogue.open(self._home.adapters, self._index, self._quarantine))
        self._quarantined = await self._load(self._quarantine.entries)
        self._fetcher = Fetcher(self._peers, self._home.adapters) if self._peers else None
        return [_located(entry) for entry in self._catalogue.entries()]

    async def close(self) -> None:
        """Remember what is known for the next start; work under way is given up."""
        # Not in the threads that load: one may be at it for long.
        await asyncio.to_thread(self._catalogue.save)
        if self._fetcher is not None:
            self._fetcher.close()
        self._loaders.shutdown(wait=False, cancel_futures=True)
        self._servers.shutdown(wait=False, cancel_futures=True)

    async def refresh(self) -> tuple[list[LocatedAdapter], list[str]]:
        """What its owner put into the home since the last time, and the digests of what is gone; what is known is remembered."""
        changes = await self._load(self._catalogue.refresh)
        await self._load(self._catalogue.save)
        # What a peer gave is told by who asked for it.
        return [_located(entry) for entry in changes.appeared if not entry.fetched], changes.vanished

    # --- for the scheduler --------------------------------------------------------------------------------------------

    def knows(self, digest: str) -> bool:
        """Whether its files are here, to be read or judged."""
        return self._catalogue.lookup(digest) is not None

    async def find(self, digest: str) -> LocatedAdapter:
        """Where an adapter is that was put there just now, or that a peer has. Raises BadAdapter when nobody has it."""
        if (entry := await self._load(lambda: self._catalogue.lookup(digest))) is not None:
            return _located(entry)
        if self._fetcher is not None:
            offer = await self._fetcher.find(digest)
            # What its rank is, only its files say.
            return LocatedAdapter(digest, max(1, offer.size), rank=0, remote=True)
        reason = next((entry.reason for entry in reversed(self._quarantined) if entry.digest == digest), "")
        hint = f"; what lay there is in quarantine: {reason.removeprefix(f'adapter {digest}: ')}" if reason else ""
        raise BadAdapter(f"adapter {digest}: {self._home.adapters / digest} does not exist; its files must be put there first{hint}")

    async def check(self, digest: str, model: BaseModel) -> Adapter:
        """Read and judge it for a base model. Raises BadAdapter; what is damaged is in quarantine then."""
        try:
            return await self._load(lambda: self._catalogue.check(digest, model, self._max_rank))
        except BadAdapter:
            self._quarantined = await self._load(self._quarantine.entries)
            raise

    async def fetch(self, digest: str) -> LocatedAdapter:
        """Bring it here from a peer, verified. Raises BadAdapter."""
        if self._fetcher is None:
            raise FetchFailed(f"adapter {digest} is not here, and no peer is configured (inference.peers)")
        fetched = await self._fetcher.fetch(digest)
        entry = await self._load(lambda: self._catalogue.lookup(digest))
        return _located(entry) if entry is not None else LocatedAdapter(digest, max(1, fetched.size), rank=0, fetched=True)

    async def delete(self, digest: str) -> None:
        """Delete the files of one that came from a peer."""
        await self._load(lambda: self._catalogue.delete(digest))

    def quarantined(self) -> list[Quarantined]:
        """What is in quarantine, the latest last."""
        return self._quarantined

    # --- for peers ----------------------------------------------------------------------------------------------------

    async def files(self, identifier: str, digest: str) -> Files:
        """The list of an adapter's files. Raises BadAdapter."""
        return Files(id=identifier, adapter=digest, files=await self._serve(lambda: self._shelf.files(digest)))

    async def chunk(self, identifier: str, digest: str, path: str, offset: int, length: int) -> Chunk:
        """A part of one of them. Raises BadAdapter."""
        return Chunk(id=identifier, data=await self._serve(lambda: self._shelf.read(digest, path, offset, length)))

    # --- threads ------------------------------------------------------------------------------------------------------

    async def _load(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._loaders, function)

    async def _serve(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._servers, function)


def _located(entry: CatalogueEntry) -> LocatedAdapter:
    return LocatedAdapter(entry.digest, max(1, entry.size), entry.rank, fetched=entry.fetched)

"""An adapter comes from another worker by its digest, or not at all: whatever the peer says, sends, or leaves out."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import zmq
import zmq.asyncio

from deploy.digest import file_digest
from inference_worker import protocol
from inference_worker.adapters.adapter import BaseModel
from inference_worker.adapters.catalogue import Catalogue
from inference_worker.adapters.exports import Shelf
from inference_worker.adapters.fetcher import CHUNK, Fetched, Fetcher, FetchFailed, FetchLimits
from inference_worker.errors import BadAdapter
from inference_worker.protocol import Answer, AskChunk, AskFiles, Chunk, File, Files, RequestFailed
from tests.inference_worker import files

QUICK = FetchLimits(list_s=0.4, chunk_s=0.4)
Answering = Callable[[AskFiles | AskChunk, Answer], Awaitable[Answer | bytes | None]]


async def honestly(_request: AskFiles | AskChunk, answer: Answer) -> Answer | bytes | None:
    return answer


@asynccontextmanager
async def peer(directory: Path, answering: Answering = honestly, bind: str = "tcp://127.0.0.1:*") -> AsyncIterator[str]:
    """A ROUTER that answers from the shelf of `directory`; `answering` may say something else, bytes as they are, or nothing."""
    shelf = Shelf(directory)
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(bind)

    async def serve() -> None:
        while True:
            client, frame = await socket.recv_multipart()
            request = protocol.decode_request(frame)
            assert isinstance(request, AskFiles | AskChunk)
            response = await answering(request, honest(shelf, request))
            if response is not None:
                await socket.send_multipart([client, response if isinstance(response, bytes) else protocol.encode(response)])

    serving = asyncio.create_task(serve())
    try:
        yield socket.getsockopt_string(zmq.LAST_ENDPOINT)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        context.destroy(linger=0)


def honest(shelf: Shelf, request: AskFiles | AskChunk) -> Answer:
    try:
        if isinstance(request, AskFiles):
            return Files(id=request.id, adapter=request.adapter, files=shelf.files(request.adapter))
        return Chunk(id=request.id, data=shelf.read(request.adapter, request.path, request.offset, request.length))
    except BadAdapter as error:
        return RequestFailed(id=request.id, type=error.type, message=str(error))


@pytest.fixture
def model(tmp_path: Path) -> BaseModel:
    return files.read(files.toy_model(tmp_path / "model"))


@pytest.fixture
def there(tmp_path: Path, model: BaseModel) -> tuple[Path, str]:
    """A peer's home, and the digest of an adapter in it whose files take several chunks."""
    source = files.random_adapter(tmp_path / "source", model, scale=1.0)
    (source / "tokenizer.json").write_bytes(bytes(range(256)) * (CHUNK * 5 // 512) + b"the end")
    (source / "LICENSE").write_bytes(b"")
    home = tmp_path / "there"
    return home, files.put(source, home)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    directory = tmp_path / "here"
    directory.mkdir()
    return directory


async def fetched(here: Path, digest: str, *peers: str, limits: FetchLimits = QUICK) -> Fetched:
    fetcher = Fetcher(list(peers), here, limits)
    try:
        return await fetcher.fetch(digest)
    finally:
        fetcher.close()


def left(here: Path) -> list[str]:
    return sorted(entry.name for entry in here.iterdir())


@pytest.mark.parametrize("over", ["tcp", "ipc"])
def test_an_adapter_comes_whole_and_is_known_as_fetched(
    here: Path, there: tuple[Path, str], model: BaseModel, tmp_path: Path, over: str
) -> None:
    home, digest = there

    async def scene() -> Fetched:
        async with peer(home, bind="tcp://127.0.0.1:*" if over == "tcp" else f"ipc://{tmp_path}/peer.sock") as address:
            return await fetched(here, digest, address)

    came = asyncio.run(scene())
    assert came.path == here / digest and came.size == sum(file.stat().st_size for file in (home / digest).iterdir())
    assert all((here / digest / file.name).read_bytes() == file.read_bytes() for file in (home / digest).iterdir())
    catalogue = Catalogue.open(here, tmp_path / "index")
    assert catalogue.check(digest, model, 8).rank == 4
    entry = catalogue.lookup(digest)
    assert entry is not None and entry.fetched and entry.verified
    assert left(here) == [digest]


def test_what_was_fetched_can_be_given_on(here: Path, there: tuple[Path, str], tmp_path: Path) -> None:
    home, digest = there
    third = tmp_path / "third"
    third.mkdir()

    async def scene() -> Fetched:
        async with peer(home) as first, peer(here) as second:
            await fetched(here, digest, first)
            return await fetched(third, digest, second)

    assert asyncio.run(scene()).path == third / digest


def test_an_adapter_is_found_without_being_fetched(here: Path, there: tuple[Path, str]) -> None:
    home, digest = there

    async def scene() -> int:
        async with peer(here) as without, peer(home) as has:
            fetcher = Fetcher([without, has], here, QUICK)
            try:
                offer = await fetcher.find(digest)
                assert offer.peer == has
                return offer.size
            finally:
                fetcher.close()

    assert asyncio.run(scene()) == sum(file.stat().st_size for file in (home / digest).iterdir())
    assert left(here) == []


# --- peers that fail or lie -------------------------------------------------------------------------------------------


def listing(change: Callable[[list[File]], list[File]]) -> Answering:
    async def answering(_request: AskFiles | AskChunk, answer: Answer) -> Answer:
        return Files(id=answer.id, adapter=answer.adapter, files=change(answer.files)) if isinstance(answer, Files) else answer

    return answering


def chunks(change: Callable[[AskChunk, bytes], Answer | bytes | None]) -> Answering:
    async def answering(request: AskFiles | AskChunk, answer: Answer) -> Answer | bytes | None:
        if isinstance(request, AskChunk) and isinstance(answer, Chunk) and answer.data:
            return change(request, answer.data)
        return answer

    return answering


def resized(size: int) -> Answering:
    return listing(lambda listed: [msgspec.structs.replace(file, size=size) if file.path == "tokenizer.json" else file for file in listed])


async def dies_in_the_middle(request: AskFiles | AskChunk, answer: Answer) -> Answer | None:
    return None if isinstance(request, AskChunk) and request.offset >= CHUNK else answer


async def says_nothing(_request: AskFiles | AskChunk, _answer: Answer) -> None:
    return None


async def says_rubbish(_request: AskFiles | AskChunk, _answer: Answer) -> bytes:
    return b"\xc1 no message"


async def answers_another_question(request: AskFiles | AskChunk, answer: Answer) -> Answer:
    return (
        RequestFailed(id=request.id, type="BadAdapter", message="who asks?")
        if isinstance(request, AskChunk)
        else Chunk(id=request.id, data=b"x")
    )


FAULTS: dict[str, tuple[Answering, str]] = {
    "is silent": (says_nothing, "did not answer AskFiles within"),
    "sends rubbish": (says_rubbish, "no message of the protocol"),
    "answers another question": (answers_another_question, "answered a question for files with Chunk"),
    "dies in the middle": (dies_in_the_middle, "did not answer AskChunk within"),
    "truncates": (chunks(lambda request, content: Chunk(id=request.id, data=content[:-1])), "but gave .* instead of"),
    "sends more than was asked": (chunks(lambda request, content: Chunk(id=request.id, data=content + b"x")), "but gave .* instead of"),
    "sends nothing": (chunks(lambda request, content: Chunk(id=request.id, data=b"")), "but gave 0 bytes"),
    "sends wrong bytes": (
        chunks(lambda request, content: Chunk(id=request.id, data=content[:-1] + bytes([content[-1] ^ 1]))),
        "has the sha256",
    ),
    "sends a giant": (chunks(lambda request, content: Chunk(id=request.id, data=bytes(8 * CHUNK))), "did not answer AskChunk|but gave"),
    "refuses a chunk": (
        chunks(lambda request, content: RequestFailed(id=request.id, type="BadAdapter", message="no more")),
        "BadAdapter: no more",
    ),
    "lists a size that is too small": (resized(17), "has the sha256"),
    "lists a size that is too large": (resized(10 * CHUNK), "but gave"),
    "lists a size beyond all bounds": (resized(2**50), "allowed"),
    "lists a negative size": (resized(-5), "allowed"),
    "lists other files": (listing(lambda listed: listed[1:]), "not the one that was asked for"),
    "lists other digests": (listing(lambda listed: [File(f.path, f.size, "0" * 64) for f in listed]), "not the one that was asked for"),
    "lists nothing": (listing(lambda listed: []), "lists 0 files"),
    "lists a file twice": (listing(lambda listed: [*listed, listed[0]]), "each once"),
    "lists a thousand files": (listing(lambda listed: [File(f"{n}.json", 1, "0" * 64) for n in range(1000)]), "lists 1000 files"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_peer_that_fails_or_lies_gives_nothing_and_the_next_one_is_asked(here: Path, there: tuple[Path, str], fault: str) -> None:
    home, digest = there
    answering, message = FAULTS[fault]

    async def scene() -> Fetched:
        turn = asyncio.Event()

        async def after_the_other_failed(request: AskFiles | AskChunk, answer: Answer) -> Answer:
            await turn.wait()
            return answer

        async with peer(home, answering) as bad, peer(home, after_the_other_failed) as good:
            with pytest.raises(FetchFailed, match=message) as failed:
                await fetched(here, digest, bad)
            assert failed.value.type == "BadAdapter" and digest in str(failed.value)
            assert left(here) == []
            turn.set()
            return await fetched(here, digest, bad, good)

    assert asyncio.run(scene()).path == here / digest
    assert left(here) == [digest]


def test_the_next_peer_is_asked_once_the_first_died_in_the_middle(here: Path, there: tuple[Path, str]) -> None:
    home, digest = there

    async def scene() -> tuple[str, Fetched]:
        dying = asyncio.Event()

        async def dies(request: AskFiles | AskChunk, answer: Answer) -> Answer | None:
            if isinstance(request, AskChunk):
                dying.set()
            return await dies_in_the_middle(request, answer)

        async def waits(_request: AskFiles | AskChunk, answer: Answer) -> Answer:
            await dying.wait()
            return answer

        async with peer(home, dies) as bad, peer(home, waits) as good:
            return good, await fetched(here, digest, bad, good, limits=FetchLimits(list_s=10, chunk_s=0.4))

    good, came = asyncio.run(scene())
    assert came.peer == good and left(here) == [digest]


def test_a_peer_that_is_not_there_costs_no_time_while_another_has_it(here: Path, there: tuple[Path, str]) -> None:
    home, digest = there

    async def scene() -> Fetched:
        async with asyncio.timeout(30), peer(home) as address:
            return await fetched(here, digest, "tcp://127.0.0.1:9", "no address", address, limits=FetchLimits(list_s=1000))

    assert asyncio.run(scene()).path == here / digest


def test_a_peer_whose_own_files_are_damaged_gives_nothing(here: Path, there: tuple[Path, str]) -> None:
    home, digest = there
    (home / digest / "LICENSE").write_text("changed")

    async def scene() -> None:
        async with peer(home) as address:
            await fetched(here, digest, address)

    with pytest.raises(FetchFailed, match="damaged here"):
        asyncio.run(scene())


def test_what_is_no_adapter_is_not_even_downloaded(here: Path, tmp_path: Path) -> None:
    model = files.toy_model(tmp_path / "another")
    (model / "adapter_model.bin").write_text("a pickle")
    home = tmp_path / "there"
    home.mkdir()
    digest = files.put(model, home)
    requests: list[object] = []

    async def answering(question: AskFiles | AskChunk, _answer: Answer) -> Answer:
        requests.append(question)
        listed = [File(path.name, path.stat().st_size, file_digest(path)) for path in sorted((home / digest).iterdir())]
        return Files(id=question.id, adapter=digest, files=listed)

    async def scene() -> None:
        async with peer(home, answering) as address:
            await fetched(here, digest, address)

    with pytest.raises(FetchFailed, match="pickled"):
        asyncio.run(scene())
    assert len(requests) == 1


def test_a_fetch_that_is_cancelled_leaves_nothing(here: Path, there: tuple[Path, str]) -> None:
    home, digest = there

    async def scene() -> None:
        stalled = asyncio.Event()

        async def stalls(question: AskFiles | AskChunk, answer: Answer) -> Answer | None:
            if isinstance(question, AskChunk) and question.offset:
                stalled.set()
                return None
            return answer

        async with peer(home, stalls) as address:
            fetching = asyncio.create_task(fetched(here, digest, address, limits=FetchLimits()))
            await asyncio.wait_for(stalled.wait(), 30)
            assert left(here) != []
            fetching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetching

    asyncio.run(scene())
    assert left(here) == []


def test_what_a_killed_worker_left_is_swept(here: Path) -> None:
    (here / ".fetching-0123-4567").mkdir()
    Fetcher([], here).close()
    assert left(here) == []


def test_without_peers_the_refusal_names_the_setting(here: Path) -> None:
    with pytest.raises(FetchFailed, match=r"inference\.peers"):
        asyncio.run(fetched(here, "a" * 64))


# --- what a peer may ask ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "LICENSE/../../secret", ".fetched", "nothing.json", "."])
def test_only_files_of_the_list_are_given(there: tuple[Path, str], path: str) -> None:
    home, digest = there
    (home / "secret").write_text("secret")
    (home / digest / ".fetched").write_text("tcp://internal:1")
    with pytest.raises(BadAdapter, match="has no file"):
        Shelf(home).read(digest, path, 0, 100)


def test_a_file_that_became_a_link_is_not_followed(there: tuple[Path, str]) -> None:
    home, digest = there
    shelf = Shelf(home)
    shelf.files(digest)
    (home / "secret").write_text("secret")
    (home / digest / "LICENSE").unlink()
    (home / digest / "LICENSE").symlink_to(home / "secret")
    with pytest.raises(BadAdapter, match="which is a link"):
        shelf.read(digest, "LICENSE", 0, 100)


def test_the_end_of_a_file_is_a_shorter_chunk_and_then_none(there: tuple[Path, str]) -> None:
    home, digest = there
    size = (home / digest / "adapter_config.json").stat().st_size
    shelf = Shelf(home)
    assert len(shelf.read(digest, "adapter_config.json", size - 3, 100)) == 3
    assert shelf.read(digest, "adapter_config.json", size + 9, 100) == b""


def test_an_adapter_that_was_replaced_is_listed_anew(there: tuple[Path, str]) -> None:
    home, digest = there
    shelf = Shelf(home)
    assert shelf.files(digest) == shelf.files(digest)
    shutil.rmtree(home / digest)
    with pytest.raises(BadAdapter, match="no directory"):
        shelf.files(digest)

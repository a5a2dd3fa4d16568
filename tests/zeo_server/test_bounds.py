"""What no client can do to the image's server: fill its memory, or keep others from committing."""

import resource
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import transaction
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import FileIterator
from ZODB.POSException import ConflictError, StorageError
from zodbpickle.pickle import UnpicklingError

from tests.uvm.images import Bench, awakened
from tests.zeo_server.server import Server, fresh_root, running_server
from uvm.errors import ImageFull
from uvm.image.image import Database
from uvm.image.transactor import Transactor
from uvm.machine.delivery import Answered, Failed
from uvm.objects import MergingVector, UvmObject
from uvm.protocol import decode_value
from zeo_server.connection import FrameLengths
from zeo_server.resolvable import LARGEST, resolvable
from zeo_server.unpickling import stored_class
from zeo_server.verify import verify

HEAD = b"\x80\x03cuvm.objects\nUvmObject\nq\x00."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    bounds = {"BATOS_IMAGE_TRANSACTION_TIMEOUT_S": "1", "BATOS_IMAGE_RECORD_MB": "1"}
    with running_server(tmp_path_factory.mktemp("bounds") / "home", bounds) as running:
        yield running


def slots(value: bytes) -> bytes:
    """A record of an object whose slot `a` is what these opcodes make."""
    return HEAD + b"\x80\x03}X\x06\x00\x00\x00_slots}X\x01\x00\x00\x00a" + value + b"ss."


BOMBS = {
    "bytes by number": slots(b"cbuiltins\nbytes\nJ\x00\x94\x35\x77\x85R"),
    "binary by number": slots(b"czodbpickle\nbinary\nJ\x00\x94\x35\x77\x85R"),
    "a long vector": slots(b"cuvm.objects\nMergingVector\nJ\x00\x94\x35\x77\x85R"),
    "a memo of a billion places": slots(b"Nr\xff\xff\xff\x3f"),
    "a list shared twice at each of forty levels": slots(b"]q\x05" + b"".join(b"]q%c(h%ch%ce" % (i + 1, i, i) for i in range(5, 45))),
    "a tuple shared as a key": slots(b"}K\x01q\x05" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(5, 45)) + b"Ns"),
    "a class called without end": slots(b"]" + b"cuvm.objects\nMergingVector\nq\x05M\x00\x40\x85Ra0" + b"h\x05M\x00\x40\x85R0" * 20_000),
    "an integer of a megabyte": slots(b"\x8b" + struct.pack("<i", 300_000) + b"\x01" * 300_000),
    "a length that nothing backs": slots(b"X\xff\xff\xff\x7fabc"),
    "decimal digits": slots(b"L" + b"9" * 300_000 + b"L\n"),
    "too large": slots(b"X" + struct.pack("<I", LARGEST) + b"x" * LARGEST),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_record_that_asks_for_more_than_it_is_conflicts_and_takes_no_memory(server: Server, bomb: str) -> None:
    database = server.client()
    with fresh_root(database) as root:
        root["thing"] = UvmObject({"a": 1, "b": 1})
    with fresh_root(database) as root:
        oid, before = root["thing"]._p_oid, root["thing"]._p_serial
        root["thing"].put("b", 2)
    memory = psutil.Process(server.process.pid).memory_info().rss
    began = time.monotonic()
    begun = TransactionMetaData()
    storage = database.storage
    storage.tpc_begin(begun)
    storage.store(oid, before, BOMBS[bomb], "", begun)
    with pytest.raises(ConflictError):
        storage.tpc_vote(begun)
    storage.tpc_abort(begun)
    assert time.monotonic() - began < 5
    assert psutil.Process(server.process.pid).memory_info().rss - memory < 50_000_000
    database.close()


def test_every_record_that_the_image_writes_may_be_resolved(tmp_path: Path) -> None:
    file = tmp_path / "image.fs"
    with awakened(Database(FileStorage(str(file)))) as image:
        bench = Bench(image)
        for number in range(20):
            bench.send("genesis_obj", "setSlot_value_", f"n{number}", [{"k": [1.5, None, "x" * 300]}] * 3, session="s", seq=number + 1)
    records = [record.data for transaction_ in FileIterator(str(file)) for record in transaction_]
    assert len(records) > 400 and all(resolvable(record) for record in records)


def test_a_vector_and_plain_bytes_cannot_be_made_from_a_number():
    with pytest.raises(ValueError, match="at most"):
        MergingVector(10**9)
    with pytest.raises(ValueError, match="at most"):
        MergingVector(1, zlib.compress(bytes(10_000_000)))
    for module, name in (("builtins", "bytes"), ("zodbpickle", "binary")):
        with pytest.raises(UnpicklingError):
            stored_class(module, name)(2 * 10**9)


def test_a_client_that_votes_and_goes_silent_keeps_others_waiting_for_its_turn_alone(server: Server) -> None:
    silent, other = server.client(), server.client()
    with fresh_root(other) as root:
        root["thing"] = UvmObject({"a": 1})
    begun = TransactionMetaData()
    silent.storage.tpc_begin(begun)
    silent.storage.store(silent.storage.new_oid(), b"\0" * 8, HEAD + b"\x80\x03}.", "", begun)
    silent.storage.tpc_vote(begun)
    began = time.monotonic()
    with fresh_root(other) as root:
        root["thing"].put("a", 2)
    assert 0.5 < time.monotonic() - began < 10
    server.wait_for("a client voted and went silent; its transaction is aborted")
    silent.storage.tpc_abort(begun)
    other.close()
    silent.close()


def test_a_record_over_the_bound_fails_its_transaction_alone_and_the_connection_goes_on(server: Server) -> None:
    database = server.client()
    manager = transaction.TransactionManager(explicit=True)
    connection = database.open(manager)
    manager.begin()
    connection.root()["large"] = UvmObject({"text": "x" * 1_500_000})
    with pytest.raises(TypeError, match="the image takes 1000000"):
        manager.commit()
    manager.abort()
    manager.begin()
    connection.root()["small"] = UvmObject({"text": "x"})
    manager.commit()
    connection.close()
    database.close()


def test_a_disk_without_room_refuses_commits_until_there_is_room_and_the_server_stays(server: Server) -> None:
    database = server.client()
    with fresh_root(database) as root:
        root["kept"] = UvmObject({"a": 1})
    size = server.home.image_file.stat().st_size
    before = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size + 100, before[1]))
    for _ in range(2):
        with pytest.raises(StorageError), fresh_root(database) as root:
            root["kept"].put("a", "x" * 5000)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, before)
    with fresh_root(database) as root:
        assert root["kept"].own("a") == 1
        root["kept"].put("a", 2)
    assert server.process.poll() is None and verify(server.home).problems == []
    database.close()


def test_a_message_for_which_the_disk_has_no_room_fails_with_a_remedy_and_those_that_read_are_answered(server: Server) -> None:
    with awakened(server.client(Database)) as image:
        bench = Bench(image)
        assert isinstance(bench.send("genesis_obj", "setSlot_value_", "n", 1), Answered)
        writing = [bench.delivery("genesis_obj", "setSlot_value_", "n", "x" * 9000, session="s", seq=seq) for seq in (1, 2)]
        reading = bench.delivery("genesis_obj", "n")
        before = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (server.home.image_file.stat().st_size + 100, before[1]))
        try:
            first, read, second = bench.run(writing[0], reading, writing[1])
            small = bench.send("genesis_obj", "setSlot_value_", "n", 2)
            with pytest.raises(ImageFull):
                Transactor(image, "uvm-1").run(lambda: image.named("genesis_obj").put("n", 3))
        finally:
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, before)
        assert isinstance(read, Answered) and decode_value(read.result) == 1
        for refused in (first, second, small):
            assert isinstance(refused, Failed) and refused.error.type == "ImageFull" and "make room" in refused.error.remedy
        assert all(isinstance(one, Answered) for one in bench.run(*writing)), "the same numbers, once there is room"
        assert isinstance(bench.run(writing[0])[0], Answered)


def test_a_client_that_the_server_hangs_up_on_leaves_no_transaction_behind(server: Server) -> None:
    client, other = server.client(), server.client()
    with fresh_root(other) as root:
        root["mine"] = UvmObject({"a": 1})
    since = len(server.events)
    begun = TransactionMetaData()
    client.storage.tpc_begin(begun)
    client.storage.store(client.storage.new_oid(), b"\0" * 8, HEAD + b"\x80\x03}.", "", begun)
    client.storage.tpc_vote(begun)
    client.storage._async("no_method_of_the_server")
    with fresh_root(other) as root:
        root["mine"].put("a", 2)
    assert not any(event["event"] == "a client voted and went silent; its transaction is aborted" for event in server.events[since:])
    client.storage.tpc_abort(begun)
    client.close()
    other.close()


def test_a_message_that_claims_to_be_too_long_is_hung_up_on_before_it_arrives(server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(30)
        raw.connect(server.address)
        raw.recv(64)
        raw.sendall(struct.pack(">I", 2) + b"M5" + struct.pack(">I", 1 << 31) + b"x" * 10)
        assert raw.recv(64) == b""
    server.wait_for("a client sends a message that is too long, refused")


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_lengths_are_followed_however_the_stream_is_cut(step: int) -> None:
    stream = b"".join(struct.pack(">I", size) + b"x" * size for size in (0, 5, 100, 1))
    fits, breaks = FrameLengths(100), FrameLengths(99)
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
    assert all(fits.fit(piece) for piece in pieces)
    assert not all(breaks.fit(piece) for piece in pieces)

"""The image's server, as its clients and supervisord see it."""

import os
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import transaction
import ZODB
import ZODB.blob
from ZODB.POSException import ConflictError

from tests.zeo_server.server import ROOT, Server, fresh_root, running_server
from uvm.objects import Counter, UvmObject


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "home") as running:
        yield running


def _store(database: ZODB.DB, **objects: object) -> None:
    with fresh_root(database) as root:
        root.update(objects)


def _two_clients(server: Server) -> tuple[ZODB.DB, ZODB.DB]:
    return server.client(), server.client()


def test_what_one_client_commits_another_reads(server: Server) -> None:
    one, other = _two_clients(server)
    _store(one, thing=UvmObject({"price": 3}))
    with fresh_root(other) as root:
        assert root["thing"].price == 3
    one.close()
    other.close()


def test_two_clients_that_change_different_slots_of_one_object_both_win(server: Server) -> None:
    one, other = _two_clients(server)
    _store(one, thing=UvmObject({"price": 1, "tags": [], "sold": Counter(2)}))
    first, mine = _begun(one)
    second, theirs = _begun(other)
    mine.price = 5
    mine.sold.add(1)
    mine._p_changed = True
    theirs.tags = ["new"]
    theirs.sold.add(10)
    theirs._p_changed = True
    first.commit()
    second.commit()
    with fresh_root(one) as root:
        thing = root["thing"]
        assert (thing.price, thing.tags, thing.sold.total) == (5, ["new"], 13)
    port = (server.home.run / "metrics" / "image.port").read_text().strip()
    measured = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    assert "batos_image_conflicts_resolved_total 1.0" in measured
    _close(one, other)


def test_two_clients_that_change_the_same_slot_conflict(server: Server) -> None:
    one, other = _two_clients(server)
    _store(one, thing=UvmObject({"price": 1}))
    first, mine = _begun(one)
    second, theirs = _begun(other)
    mine.price = 5
    theirs.price = 5
    first.commit()
    with pytest.raises(ConflictError):
        second.commit()
    second.abort()
    _close(one, other)


def test_a_kill_loses_no_commit_and_the_next_server_starts_over_the_stale_socket(server: Server) -> None:
    database = server.client()
    _store(database, thing=UvmObject({"price": 7}))
    server.kill()
    assert server.home.zeo_socket.exists()
    server.start()
    again = server.client()
    with fresh_root(again) as root:
        assert root["thing"].price == 7
    _close(database, again)


def test_sigterm_ends_with_status_0_removes_the_socket_and_leaves_an_index(server: Server) -> None:
    database = server.client()
    _store(database, thing=UvmObject({"price": 7}))
    assert server.stop() == 0
    assert not server.home.zeo_socket.exists()
    assert server.home.image_file.with_name("live_image.fs.index").exists()
    assert not [event for event in server.events if event.get("level") in ("error", "critical")]
    database.close()


def test_a_second_server_on_the_same_home_is_refused_and_disturbs_nobody(server: Server) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "zeo_server"],
        cwd=ROOT,
        env={**os.environ, "BATOS_HOME": str(server.home.path), "BATOS_METRICS_BASE_PORT": "0"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 2
    assert str(server.home.image_file) in second.stderr.decode()
    assert str(server.process.pid) in second.stderr.decode()
    database = server.client()
    _store(database, thing=UvmObject({"price": 7}))
    database.close()


def test_the_socket_is_out_of_reach_for_other_users(server: Server) -> None:
    assert stat.S_IMODE(server.home.run.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.home.zeo_socket.stat().st_mode) & 0o077 == 0


def test_a_blob_is_in_its_place_when_the_commit_returns_and_is_shared_without_a_copy(server: Server) -> None:
    one, other = _two_clients(server)
    _store(one, model=ZODB.blob.Blob(b"weights"))
    with fresh_root(other) as root, root["model"].open("r") as file:
        assert file.read() == b"weights"
        assert Path(root["model"].committed()).is_relative_to(server.home.blobs)
    _close(one, other)


def test_the_server_is_confined(server: Server) -> None:
    layers = {event["layer"]: event for event in server.events if event["event"] == "confinement"}
    assert {"limits", "files", "system calls"} <= set(layers), server.events
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    assert "Seccomp:\t2" in status
    assert "NoNewPrivs:\t1" in status


def test_a_client_that_asks_for_the_pickle_protocol_is_hung_up_on(server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(30)
        raw.connect(server.address)
        assert raw.recv(64)[4:] == b"M5"
        raw.sendall(b"\0\0\0\x02Z5")
        assert raw.recv(64) == b""
    server.wait_for("a client asked for another protocol than MessagePack, refused")


def _begun(database: ZODB.DB) -> tuple[transaction.TransactionManager, UvmObject]:
    manager = transaction.TransactionManager()
    connection = database.open(manager)
    manager.begin()
    return manager, connection.root()["thing"]


def _close(*databases: ZODB.DB) -> None:
    for database in databases:
        database.close()

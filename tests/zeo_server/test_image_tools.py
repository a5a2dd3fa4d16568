"""Packing, backing up, restoring and verifying, as a person runs them: over the command, on real files."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction
from BTrees.OOBTree import OOBTree
from ZODB.blob import Blob

from tests.zeo_server.server import ROOT, Server, fresh_root, running_server
from uvm.objects import Counter, UvmObject
from zeo_server.verify import verify


def run(home: Path, *arguments: str) -> tuple[int, Any]:
    """The tool's status and what it printed as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "zeo_server.image", *arguments, "--json"],
        cwd=ROOT,
        env={**os.environ, "BATOS_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "home") as running:
        yield running


def fill(server: Server, words: str = "weights") -> None:
    """An image with a named object, a reference, a merging value, and a blob with its digest."""
    database = server.client()
    with fresh_root(database) as root:
        root["names"] = OOBTree()
        shelf = UvmObject({"label": "shelf", "sold": Counter(3)})
        blob = Blob(words.encode())
        model = UvmObject(
            {"shelf": shelf, "blobs": {"model.bin": blob}, "digests": {"model.bin": hashlib.sha256(words.encode()).hexdigest()}}
        )
        root["names"].update({"shelf": shelf, "model": model})
    database.close()


def grow(server: Server, name: str) -> None:
    database = server.client()
    with fresh_root(database) as root:
        root["names"][name] = UvmObject({"label": name})
    database.close()


def names(server: Server) -> set[str]:
    database = server.client()
    with fresh_root(database) as root:
        found = set(root["names"])
    database.close()
    return found


def flip(file: Path, at: int) -> None:
    """Change one bit of a file."""
    file.chmod(0o600)
    with file.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 0x04]))


def the_blob(home: Path) -> Path:
    return next((home / "blobs").rglob("*.blob"))


def test_a_sound_image_verifies_while_the_server_runs(server: Server) -> None:
    fill(server)
    status, answer = run(server.home.path, "verify")
    assert (status, answer["result"]["problems"]) == (0, [])
    assert answer["result"]["digests"] == 1
    assert answer["result"]["blobs"] == 1
    assert answer["result"]["objects"] >= 5


def test_an_image_that_is_being_written_to_verifies_every_time(server: Server) -> None:
    fill(server)
    database = server.client()
    done = threading.Event()

    def write() -> None:
        with fresh_root(database) as root:
            root["names"]["growing"] = UvmObject({})
        number = 0
        while not done.is_set():
            number += 1
            with fresh_root(database) as root:
                root["names"]["growing"].put("label", "x" * (number % 7 * 5000))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            assert verify(server.home).problems == []
    finally:
        done.set()
        writer.join()
        database.close()


def test_verify_finds_a_flipped_bit_in_a_blob_and_names_its_owner(server: Server) -> None:
    fill(server)
    flip(the_blob(server.home.path), 3)
    status, answer = run(server.home.path, "verify")
    assert status == 1
    assert "model.bin" in answer["result"]["problems"][0]["where"]


def test_verify_finds_a_missing_blob(server: Server) -> None:
    fill(server)
    the_blob(server.home.path).unlink()
    status, answer = run(server.home.path, "verify")
    assert status == 1
    assert "missing" in answer["result"]["problems"][0]["what"]


@pytest.mark.parametrize("what", [b"cuvm.objects\nUvmObject", b"X\x06\x00\x00\x00_slots"])
def test_verify_finds_a_flipped_bit_in_a_record(server: Server, what: bytes) -> None:
    fill(server)
    server.stop()
    flip(server.home.image_file, server.home.image_file.read_bytes().index(what) + 8)
    status, answer = run(server.home.path, "verify")
    assert status == 1
    assert answer["result"]["problems"], answer


def test_verify_finds_a_flipped_bit_in_the_length_of_a_transaction(server: Server) -> None:
    fill(server)
    grow(server, "more")
    server.stop()
    flip(server.home.image_file, 4 + 8 + 6)
    status, answer = run(server.home.path, "verify")
    assert status == 1
    assert answer["result"]["problems"], answer


def test_verify_finds_a_reference_to_an_object_that_is_gone(server: Server) -> None:
    fill(server)
    database = server.client()
    with fresh_root(database) as root:
        shelf = root["names"]["shelf"]._p_oid
    storage = database.storage
    manager = transaction.TransactionManager()
    record = manager.begin()
    storage.tpc_begin(record)
    storage.deleteObject(shelf, storage.getTid(shelf), record)
    storage.tpc_vote(record)
    storage.tpc_finish(record)
    manager.abort()
    database.close()
    status, answer = run(server.home.path, "verify")
    assert status == 1
    assert any("gone" in problem["what"] for problem in answer["result"]["problems"])


def test_verify_reports_a_foreign_class_without_importing_it(server: Server, tmp_path: Path) -> None:
    fill(server)
    server.stop()
    witness = tmp_path / "imported"
    (tmp_path / "evil_objects.py").write_text(f"open({str(witness)!r}, 'w')\nclass UvmObjec: pass\n")
    content = server.home.image_file.read_bytes()
    stored = b"cuvm.objects\nUvmObject\n"
    assert stored in content
    server.home.image_file.write_bytes(content.replace(stored, b"cevil_objects\nUvmObjec\n"[:-1] + b"\n"))
    server.home.image_file.with_name("live_image.fs.index").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "zeo_server.image", "verify"],
        cwd=ROOT,
        env={**os.environ, "BATOS_HOME": str(server.home.path), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "evil_objects.UvmObjec" in done.stdout
    assert not witness.exists()


def test_pack_through_the_server_drops_what_nothing_refers_to(server: Server) -> None:
    fill(server)
    database = server.client()
    with fresh_root(database) as root:
        del root["names"]["model"]
    time_of_removal = time.time()
    while time.time() <= time_of_removal:
        pass  # a pack keeps what was current at its own time, which has to be later
    status, answer = run(server.home.path, "pack")
    assert status == 0
    assert answer["result"]["after"] < answer["result"]["before"]
    assert answer["result"]["blobs_after"] == 0
    with fresh_root(database) as root:
        assert set(root["names"]) == {"shelf"}
    database.close()
    assert run(server.home.path, "verify")[0] == 0


def test_pack_works_without_a_server(server: Server) -> None:
    fill(server)
    server.kill()
    assert run(server.home.path, "pack")[0] == 0
    server.start()
    assert names(server) == {"shelf", "model"}


def test_a_backup_grows_by_what_changed_and_restores_to_another_home(server: Server, tmp_path: Path) -> None:
    fill(server)
    saved = tmp_path / "saved here"
    first = run(server.home.path, "backup", str(saved))[1]["result"]
    grow(server, "later")
    second = run(server.home.path, "backup", str(saved))[1]["result"]
    third = run(server.home.path, "backup", str(saved))[1]["result"]
    assert (first["kind"], first["blobs"]) == ("full", 1)
    assert (second["kind"], second["blobs"]) == ("incremental", 0)
    assert second["database_bytes"] < first["database_bytes"]
    assert third["kind"] == "unchanged"
    other = tmp_path / "other"
    status, answer = run(other, "restore", str(saved))
    assert status == 0, answer
    assert run(other, "verify")[1]["result"]["digests"] == 1
    with running_server(other) as restored:
        assert names(restored) == {"shelf", "model", "later"}
        database = restored.client()
        with fresh_root(database) as root, root["names"]["model"].blobs["model.bin"].open() as file:
            assert file.read() == b"weights"
        database.close()


def test_restore_refuses_a_running_image_and_an_existing_one_and_sets_it_aside_when_forced(server: Server, tmp_path: Path) -> None:
    fill(server)
    saved = tmp_path / "saved"
    assert run(server.home.path, "backup", str(saved))[0] == 0
    grow(server, "later")
    status, answer = run(server.home.path, "restore", str(saved), "--force")
    assert status == 2
    assert answer["error"]["type"] == "ImageInUse"
    server.stop()
    status, answer = run(server.home.path, "restore", str(saved))
    assert status == 2
    assert "--force" in answer["error"]["message"]
    status, answer = run(server.home.path, "restore", str(saved), "--force")
    assert status == 0, answer
    aside = Path(answer["result"]["before"])
    assert (aside / "live_image.fs").exists()
    server.start()
    assert names(server) == {"shelf", "model"}


def test_a_damaged_backup_is_not_put_in_place(server: Server, tmp_path: Path) -> None:
    fill(server)
    saved = tmp_path / "saved"
    assert run(server.home.path, "backup", str(saved), "--copy")[0] == 0
    whole = shutil.copytree(saved, tmp_path / "whole")
    full = next((saved / "database").glob("*.fs"))
    flip(full, full.stat().st_size // 2)
    other = tmp_path / "other"
    status, answer = run(other, "restore", str(saved))
    assert status == 2
    assert "checksum" in answer["error"]["message"]
    flip(the_blob(whole), 2)
    status, answer = run(other, "restore", str(whole))
    assert status == 2
    assert "does not verify" in answer["error"]["message"]
    assert not (other / "live_image.fs").exists()


def test_a_copied_backup_shares_no_file_with_the_image(server: Server, tmp_path: Path) -> None:
    fill(server)
    assert run(server.home.path, "backup", str(tmp_path / "copied"), "--copy")[0] == 0
    assert run(server.home.path, "backup", str(tmp_path / "linked"))[0] == 0
    original = the_blob(server.home.path).stat().st_ino
    assert the_blob(tmp_path / "copied").stat().st_ino != original
    assert the_blob(tmp_path / "linked").stat().st_ino == original


def test_a_home_without_an_image_is_told_so(tmp_path: Path) -> None:
    for command in (["verify"], ["pack"], ["backup", str(tmp_path / "saved")]):
        status, answer = run(tmp_path / "nothing", *command)
        assert status == 2
        assert "no image" in answer["error"]["message"]

"""Nothing that a client or a file says makes the image's server import or call what it chooses.

Each attack runs in a process of its own, since closing the unpicklers holds for the process.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ZODB.Connection import TransactionMetaData

from tests.zeo_server.server import ROOT, fresh_root, running_server
from uvm.objects import UvmObject

# Pickles that, loaded by an open unpickler, create the file named in the environment.
PREPARE = """
import io, os, pickle, sys
from pathlib import Path
import zodbpickle.pickle
from zeo_server.unpickling import close_unpicklers

class Attack:
    def __reduce__(self):
        return (open, (os.environ["WITNESS"], "w"))

attack = zodbpickle.pickle.dumps(Attack(), 3)
works = zodbpickle.pickle.dumps({"user": "me", "parts": [1, b"two", {3.0}]}, 3)
close_unpicklers()
def refused(act):
    try:
        act()
    except Exception as error:
        print(type(error).__name__)
    else:
        sys.exit("not refused")
"""

ATTACKS = {
    "the extension of a transaction": """
from ZODB.Connection import TransactionMetaData
refused(lambda: TransactionMetaData("", "", attack).extension)
assert TransactionMetaData("", "", works).extension["parts"][1] == b"two"
""",
    "the log of what can be undone": """
from ZODB.FileStorage import FileStorage
from ZODB.Connection import TransactionMetaData
storage = FileStorage("f.fs")
begun = TransactionMetaData("", "", attack)
storage.tpc_begin(begun); storage.store(b"\\0" * 8, b"\\0" * 8, b"x", "", begun); storage.tpc_vote(begun); storage.tpc_finish(begun)
for look in (lambda: storage.undoLog(0, 9), lambda: storage.history(b"\\0" * 8)):
    try:
        look()  # ZODB passes over what it cannot load
    except Exception as error:
        print(type(error).__name__)
refused(lambda: next(iter(storage.iterator())).extension)
""",
    "the index beside the image": """
from ZODB.fsIndex import fsIndex
Path("i.index").write_bytes(attack)
refused(lambda: fsIndex.load("i.index"))
index = fsIndex({b"\\0" * 8: 4}); index.save(9, "j.index")
assert fsIndex.load("j.index")["index"][b"\\0" * 8] == 4
""",
    "the commit log": """
from ZEO.StorageServer import CommitLog
log = CommitLog(); log.file.write(attack); log.stores = 1
refused(lambda: list(log))
log = CommitLog(); log.store(b"\\0" * 8, b"\\1" * 8, b"\\xff\\x00data"); log.checkread(b"o" * 8, b"s" * 8)
assert list(log)[0] == ("_store", (b"\\0" * 8, b"\\1" * 8, b"\\xff\\x00data"))
""",
    "a message of the pickle protocol": """
from ZEO.asyncio.marshal import pickle_server_decode
refused(lambda: pickle_server_decode(zodbpickle.pickle.dumps(__import__("os").system, 3)))
""",
    "the metadata of a record": """
from ZODB.utils import get_pickle_metadata
from ZODB._compat import Unpickler
refused(lambda: Unpickler(io.BytesIO(attack)).load())
""",
    "the references of a record": """
from ZODB.serialize import referencesf
try:
    referencesf(attack + attack)
except Exception as error:
    print(type(error).__name__)
""",
    "a conflict": """
import ZODB.ConflictResolution as resolution
from ZODB.POSException import ConflictError
class Storage:
    _crs_untransform_record_data = _crs_transform_record_data = staticmethod(lambda data: data)
    loadSerial = staticmethod(lambda oid, serial: attack + attack)
refused(lambda: resolution.tryToResolveConflict(Storage(), b"o" * 8, b"1" * 8, b"2" * 8, attack + attack))
assert resolution.find_global("uvm.objects", "UvmObject").__name__ == "UvmObject"
assert not isinstance(resolution.find_global("os", "system"), type(os.system))
""",
}


def _run(script: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    witness = directory / "witness"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "WITNESS": str(witness)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not witness.exists()
    return done


@pytest.mark.parametrize("way", ATTACKS)
def test_a_pickle_that_would_open_a_file_is_refused_in(way: str, tmp_path: Path) -> None:
    _run(PREPARE + ATTACKS[way], tmp_path)


def test_the_attack_works_where_nothing_is_closed(tmp_path: Path) -> None:
    open_one = PREPARE.replace("\nclose_unpicklers()\n", "\n")
    _run(open_one + "import ZODB._compat\nZODB._compat.loads(attack)\nPath(os.environ['WITNESS']).unlink()\n", tmp_path)


def test_a_record_of_a_foreign_class_conflicts_in_a_running_server_instead_of_being_called(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    with running_server(tmp_path / "home") as server:
        database = server.client()
        with fresh_root(database) as root:
            root["thing"] = UvmObject({"n": 1})
        storage = database.storage
        path = str(witness).encode()
        evil = b"\x80\x03cbuiltins\nopen\n(X" + len(path).to_bytes(4, "little") + path + b"X\x01\x00\x00\x00wtR."
        with fresh_root(database) as root:
            oid, first = root["thing"]._p_oid, root["thing"]._p_serial
            root["thing"].n = 2
        with pytest.raises(Exception, match="conflict"):
            _store_raw(storage, oid, first, evil + evil)
        assert server.process.poll() is None
        database.close()
    assert not witness.exists()


def _store_raw(storage: Any, oid: bytes, serial: bytes, data: bytes) -> None:
    begun = TransactionMetaData()
    storage.tpc_begin(begun)
    try:
        storage.store(oid, serial, data, "", begun)
        storage.tpc_vote(begun)
    finally:
        storage.tpc_abort(begun)

"""SIGKILL in the middle of an import leaves the image before it or after it, and the same number once more ends after it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import ZEO

from tests.uvm.images import awakened
from tests.uvm.transporter.killed import POINTS, TESTING
from tests.uvm.transporter.world import World, changed
from tests.zeo_server.server import ROOT, running_server
from uvm.image.image import Database
from uvm.machine.delivery import Answered
from uvm.protocol import Bundle, Import, decode_document, encode
from uvm.trial.client import TrialServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_server(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture(scope="module")
def bundle() -> Iterator[Any]:
    with awakened() as image:
        world = World(image)
        world.clone("genesis_obj", "shop", items=[world.clone("genesis_obj") for _ in range(4)])
        world.install("shop", "twice_", "def twice_(self, a):\n    return a * 2\n", 1)
        yield world.bundle()


@pytest.fixture(scope="module")
def bundle_with_examples(bundle: Bundle) -> Any:
    documents = [decode_document(packed) for packed in bundle.objects]
    record = {"next": 2, "kept": [{"number": 1, "args": [2], "result": 4}]}
    methods = {"twice_": msgspec.structs.replace(documents[0].methods["twice_"], examples=record)}
    return changed(bundle, "shop", methods=methods)


@pytest.mark.parametrize("point", [*POINTS, TESTING])
def test_a_process_that_is_killed_leaves_before_or_after(
    server: Any, bundle: Bundle, bundle_with_examples: Any, trials: TrialServer, point: Any
) -> None:
    bundle = bundle_with_examples if point == TESTING else bundle
    with awakened(Database(ZEO.client(server.address, wait_timeout=10, server_sync=True))) as image:
        world = World(image, trials=trials)
        upload = world.upload(encode(bundle), piece=500)
        before = world.picture()
        killed = subprocess.run(
            [sys.executable, "-m", "tests.uvm.transporter.killed", server.address, point],
            cwd=ROOT,
            input=str(upload).encode(),
            timeout=60,
            check=False,
            capture_output=True,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        happened = point == "finished"
        assert (world.picture() != before) == happened
        assert holds_upload(world, upload) != happened  # what was uploaded is there for as long as nothing was imported
        outcome = world.ask(Import(id=1, upload=upload, rename={"shop": f"shop {point}"}, session=point, seq=1))
        assert isinstance(outcome, Answered) and (outcome.replayed_tid is not None) == happened
        assert world.do(f"shop {point}", "twice_", 4) == 8 and len(world.do(f"shop {point}", "items")) == 4
        assert not holds_upload(world, upload)


def holds_upload(world: World, upload: Any) -> Any:
    """Whether the nursery holds the upload."""
    with world.looking():
        return upload.oid.hex() in world.image.shard("nursery", upload.oid.hex()).names()

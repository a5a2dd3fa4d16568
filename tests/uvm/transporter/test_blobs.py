"""Files of objects: by digest, once, on a real image server; left out, and found again in the image that has them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ZODB.blob import Blob

from tests.uvm.images import awakened
from tests.uvm.transporter.world import World
from tests.zeo_server.server import running_server
from uvm import errors
from uvm.image import model_registry
from uvm.image.image import Database
from uvm.objects import CHARGED, KIND, PARENTS, UvmObject
from uvm.protocol import Export, Import, Upload, encode
from uvm.rights import Limits

WEIGHTS = bytes(range(256)) * 10_000
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
ADAPTER = hashlib.sha256(WEIGHTS + b"adapter").hexdigest()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_server(tmp_path_factory.mktemp("here")) as here, running_server(tmp_path_factory.mktemp("there")) as there:
        yield here, there


@pytest.fixture
def worlds(servers: Any) -> Iterator[Any]:
    with awakened(servers[0].client(Database)) as here, awakened(servers[1].client(Database)) as there:
        yield World(here), World(there)


def blob(image: Any, content: Any = WEIGHTS) -> Any:
    file_blob = Blob()
    image.connection.add(file_blob)
    with file_blob.open("w") as file:
        file.write(content)
    return file_blob


def adapter(world: World, content: Any = WEIGHTS) -> Any:
    """An adapter as the kernel makes one, held by a persona."""
    digests = {"adapter_model.safetensors": hashlib.sha256(content).hexdigest()}
    return UvmObject(
        {
            KIND: "adapter",
            "name": "covenant",
            "digest": hashlib.sha256(content + b"adapter").hexdigest(),
            "digests": digests,
            "blobs": {"adapter_model.safetensors": blob(world.image, content)},
        }
    )


def give(world: World, name: str, **slots: Any) -> Any:
    with world.changing():
        owner = UvmObject({PARENTS: [world.image.named("traits_obj")], **{slot: factory(world) for slot, factory in slots.items()}})
        for value in owner._slots.values():
            if isinstance(value, UvmObject):
                model_registry.enter(world.image, "adapter", value)
        world.image.give_name(owner, name)
    return owner


def bytes_of(world: World, name: str, slot: Any) -> Any:
    with world.looking():
        stored = world.image.named(name).own(slot)
        with stored.open("r") as file:
            return file.read()


def exported_file(world: World, target: Any) -> Any:
    content, offset = b"", 0
    first = world.answer(Export(1, [target]))
    while True:
        answer = world.answer(Export(1, [target], tid=first.tid, blob=DIGEST, offset=offset))
        content += answer.data[0]
        if not answer.offset:
            return content
        offset = answer.offset


def test_a_file_goes_along_by_its_digest_and_is_one_file_for_all_who_have_it(worlds: Any) -> None:
    here, there = worlds
    shared: list[Any] = []

    def shared_blob(world: World) -> Any:
        shared.append(shared[0] if shared else blob(world.image))
        return shared[-1]

    give(here, "box", weights=shared_blob, again=shared_blob)
    bundle = here.bundle("box")
    assert exported_file(here, "box") == WEIGHTS
    upload = there.upload(WEIGHTS, DIGEST, there.upload(encode(bundle)))
    there.limits = Limits(stored=100_000_000)
    there.answer(Import(id=1, upload=upload))
    assert bytes_of(there, "box", "weights") == WEIGHTS == bytes_of(there, "box", "again")
    with there.looking():
        box = there.image.named("box")
        assert box.own("weights") is box.own("again")
        assert box.own(CHARGED)["local"] > len(WEIGHTS)
    assert [msgspec.msgpack.decode(document)["slots"] for document in there.bundle("box").objects] == [
        {"weights": {"blob": DIGEST}, "again": {"blob": DIGEST}}
    ]


def test_a_file_that_was_left_out_must_be_there(worlds: Any) -> None:
    here, there = worlds
    give(here, "left", weights=lambda world: blob(world.image, b"left out"))
    bundle = here.bundle("left")
    with pytest.raises(errors.MissingReference, match="blob"):
        there.answer(Import(id=1, bundle=encode(bundle)))
    give(there, "owner", file=lambda world: blob(world.image, b"left out"))
    there.answer(Import(id=1, bundle=encode(bundle)))
    assert bytes_of(there, "left", "weights") == b"left out"
    with there.looking():
        assert there.image.named("left").own("weights") is there.image.named("owner").own("file")


def test_a_file_is_found_among_those_of_an_adapter(worlds: Any) -> None:
    here, there = worlds
    give(there, "persona", adapter=lambda world: adapter(world, b"of an adapter"))
    give(here, "copy", weights=lambda world: blob(world.image, b"of an adapter"))
    there.answer(Import(id=1, bundle=encode(here.bundle("copy"))))
    assert bytes_of(there, "copy", "weights") == b"of an adapter"


def test_an_adapter_is_named_by_its_digest_and_stays(worlds: Any) -> None:
    here, there = worlds
    give(here, "dana", adapter=adapter)
    bundle = here.bundle("dana")
    assert msgspec.msgpack.decode(bundle.objects[0])["slots"] == {"adapter": {"adapter": ADAPTER}}
    with pytest.raises(errors.MissingReference) as caught:
        there.answer(Import(id=1, bundle=encode(bundle), rename={"dana": "erin"}))
    assert caught.value.details["missing"] == [{"reference": f"adapter {ADAPTER}", "from": ["dana"]}]
    here.answer(Import(id=1, bundle=encode(bundle), rename={"dana": "erin"}))
    with here.looking():
        assert here.image.named("erin").own("adapter") is here.image.named("dana").own("adapter")


def test_a_file_with_another_digest_changes_nothing_and_leaves_nothing(worlds: Any, servers: Any) -> None:
    here, there = worlds
    give(here, "false", weights=lambda world: blob(world.image))
    upload = there.upload(WEIGHTS[:-1] + b"!", DIGEST, there.upload(encode(here.bundle("false"))))
    before = files(servers[1])
    with pytest.raises(errors.BadExport, match="digest"):
        there.answer(Import(id=1, upload=upload))
    there.do("genesis_obj", "clone")  # what comes after it in the process takes nothing of it along
    assert files(servers[1]) == before
    with pytest.raises(errors.NoSuchObject):
        there.do("false", "slotNames")


def files(server: Any) -> set[Path]:
    return {path for path in server.home.blobs.rglob("*") if path.is_file()}


def test_files_count_as_what_a_message_stores(worlds: Any) -> None:
    here, there = worlds
    give(here, "heavy", weights=lambda world: blob(world.image))
    bundle = encode(here.bundle("heavy"))
    there.limits = Limits(bytes=len(WEIGHTS) - 1)
    upload = there.upload(WEIGHTS, DIGEST, there.upload(bundle))
    with pytest.raises(errors.QuotaExceeded):
        there.answer(Import(id=1, upload=upload))
    with pytest.raises(errors.BadArguments):
        there.answer(Upload(id=1, data=b"x", upload=upload, blob=DIGEST, offset=5))

"""Models and adapters that exported objects refer to: named once each, with files whose bytes the export has."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.digest import listing_digest
from tests.uvm.images import awakened
from tests.uvm.transporter.world import World
from tests.zeo_server.server import running_server
from uvm import errors
from uvm.image import model_registry
from uvm.image.image import Database
from uvm.objects import KIND, UvmObject
from uvm.protocol import Export, ExportedWeights
from uvm.transporter import survey
from uvm.transporter.blobs import written

BYTES = bytes(range(256)) * 400


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two personas with one adapter of the image's model, and one whose adapter was removed."""
    with running_server(tmp_path_factory.mktemp("image")) as server, awakened(server.client(Database)) as image:
        world = World(image)
        image.manager.begin()
        model = enter(image, "model", "toy", {"config.json": b"{}", "model.safetensors": BYTES})
        tone = enter(image, "adapter", "tone", {"adapter_model.safetensors": BYTES[::-1]}, base=model.own("digest"))
        removed = enter(image, "adapter", "gone", {"adapter_model.safetensors": b""}, base=model.own("digest"))
        for name, adapter in (("wren", tone), ("lark", tone), ("owl", removed)):
            persona = UvmObject({"parents*": [image.named("robin")], "adapter": adapter})
            image.give_name(persona, name)
        image.manager.commit()
        yield world


def enter(image: Any, kind: Any, name: str, files: Any, **facts: Any) -> Any:
    blobs = {path: written(image, [content]) for path, content in files.items()}
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    proxy = UvmObject({KIND: kind, "name": name, "digest": listing_digest(digests), "digests": digests, "blobs": blobs, **facts})
    model_registry.enter(image, kind, proxy)
    return proxy


def test_an_export_names_the_weights_once_each_and_has_their_bytes(world: World) -> None:
    part, documents = world.export("wren", "lark")
    adapter, model = part.weights
    assert (adapter.kind, adapter.name, adapter.base) == ("adapter", "tone", model.digest)
    assert (model.kind, model.name, sorted(model.files)) == ("model", "toy", ["config.json", "model.safetensors"])
    assert all(document.slots["adapter"] == {"adapter": adapter.digest} for document in documents)
    for weights in part.weights:
        assert listing_digest(weights.files) == weights.digest
    assert read(world, part, adapter.files["adapter_model.safetensors"]) == BYTES[::-1]
    assert read(world, part, model.files["model.safetensors"]) == BYTES


def read(world: World, part: Any, digest: str) -> Any:
    content, offset = b"", 0
    while True:
        piece = world.answer(Export(1, ["wren", "lark"], tid=part.tid, blob=digest, offset=offset))
        content += b"".join(piece.data)
        if piece.offset <= offset:
            return content
        offset = piece.offset


def test_weights_whose_files_are_gone_are_named_without_them(world: World) -> None:
    with world.changing():
        adapter = world.image.named("owl").own("adapter")
        digest = adapter.own("digest")
        model_registry.remove(world.image, "adapter", adapter)
    first = world.export("owl")[0].weights[0]
    assert first == ExportedWeights("adapter", digest, "gone", first.base, {})


def test_more_weights_than_an_export_may_name_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "WEIGHTS", 1)
    with pytest.raises(errors.BadValue, match="more than 1 models and adapters"):
        world.export("lark")

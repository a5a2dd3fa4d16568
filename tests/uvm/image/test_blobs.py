"""The blob-proxy: a directory goes into the image and comes out the same, under its digest."""

import os
import time

import pytest
from ZODB.blob import BlobStorage
from ZODB.MappingStorage import MappingStorage

from tests.uvm.images import awakened
from uvm.image.blobs import directory_digest, files_of, import_directory, materialize, sweep, sweep_unfinished, unnamed
from uvm.image.image import Database


@pytest.fixture
def directory(tmp_path):
    model = tmp_path / "model"
    (model / "deep").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "deep" / "weights").write_bytes(b"\x00" * 100_000)
    (model / ".hidden").write_text("left out")
    return model


def test_a_directory_survives_the_way_through_the_image(directory, tmp_path):
    database = Database(BlobStorage(str(tmp_path / "blobs"), MappingStorage()))
    with awakened(database) as image:
        image.manager.begin()
        names = []
        proxy = import_directory("model", directory, image.named("traits_obj"), tmp_path / "blobs" / "tmp", {"name": "m"}, names.append)
        image.named("pLLM_obj").put("model", proxy)
        image.manager.commit()
        image.manager.begin()
        materialized = materialize(image, image.named("pLLM_obj").own("model"), "model", tmp_path)
        assert materialized.name == proxy.own("digest") and names == ["config.json", "deep/weights"]
        assert [path.relative_to(materialized).as_posix() for path in files_of(materialized)] == ["config.json", "deep/weights"]
        assert (materialized / "deep" / "weights").read_bytes() == b"\x00" * 100_000
        assert materialize(image, image.named("pLLM_obj").own("model"), "model", tmp_path) == materialized
        image.manager.abort()


def test_the_digest_is_of_names_and_contents():
    digest = directory_digest({"a": "1", "b": "2"})
    assert digest == directory_digest({"b": "2", "a": "1"}) != directory_digest({"a": "2", "b": "1"})


def test_sweeping_leaves_what_is_named(tmp_path):
    for name in ("keep", "go", ".being-made"):
        (tmp_path / name).mkdir()
    assert sweep(unnamed({"keep"}, tmp_path)) == ["go"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".being-made", "keep"]


def test_files_of_processes_that_died_go_after_a_day(tmp_path):
    directory = tmp_path / "tmp"
    directory.mkdir()
    for name, age in (("BUCold", 90_000), ("BUCyoung", 10), ("somebody's", 90_000)):
        (directory / name).write_text(name)
        os.utime(directory / name, (time.time() - age,) * 2)
    assert sweep_unfinished(tmp_path) == 1
    assert sorted(path.name for path in directory.iterdir()) == ["BUCyoung", "somebody's"]

"""A model or an adapter comes into a real image whole, or not at all: whatever ends the import, whenever."""

import os
import pwd
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.digest import directory_digest
from deploy.settings import Home
from inference_worker.adapters.inspection import of_adapter, of_model
from inference_worker.protocol import Manifest
from tests.inference_worker import files
from tests.zeo_server.server import ROOT, Server, running_server
from uvm.awakening.rewind import look
from uvm.image import model_registry, pages
from uvm.image.image import Database, Image
from uvm.image.journal import Journal
from uvm.image.staging import staging, sweep_staging

MB = 1_000_000
_numbers = count(1)


def toy(path: Path) -> Path:
    """A model that the check takes for one."""
    made = files.toy_model(path)
    (made / "tokenizer.json").write_text("{}")
    return made


def quiet(step: str, detail: str, done: bool) -> None:
    pass


class Place:
    """A running image server with an image that was born with the toy model, and directories to import."""

    def __init__(self, server: Server, sources: Path, settings: dict[str, str] | None = None, *, born_with_model: bool = True) -> None:
        self.home: Home = server.home
        self.server = server
        self.settings = settings or {}
        self.base = toy(sources / "toy")
        self.sources = sources
        awakening = self.start("uvm.awakening", "--json", *(["--model", str(self.base)] if born_with_model else []))
        _, err = awakening.communicate(timeout=60)
        assert awakening.returncode == 0, err

    def adapter(self, padding: int = 0) -> tuple[Path, Manifest]:
        """A new adapter and what its check says; `padding`: bytes of a file that comes along."""
        number = next(_numbers)
        made = files.random_adapter(self.sources / f"tone{number}", files.read(self.base), seed=number)
        if padding:
            (made / "README.md").write_bytes(os.urandom(padding))
        return made, of_adapter(made, "", [self.home.models / directory_digest(self.base)], 16, quiet)

    def start(self, module: str, *arguments: str, given: bytes = b"", **options: Any) -> "subprocess.Popen[bytes]":
        """A program of ours, as the command starts it."""
        return self._started("-m", module, *arguments, given=given, **options)

    def start_code(self, code: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """A program that is written here."""
        return self._started("-c", code, *arguments)

    def _started(self, *words: str, given: bytes = b"", **options: Any) -> "subprocess.Popen[bytes]":
        with tempfile.TemporaryFile() as reads:
            reads.write(given)
            reads.seek(0)
            return subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env={**os.environ, "BATOS_HOME": str(self.home.path), **self.settings},
                stdin=reads,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                **options,
            )

    def begin(self, directory: Path, manifest: Manifest, **options: Any) -> "subprocess.Popen[bytes]":
        """An import as the command starts it."""
        return self.start("uvm.awakening.importer", str(directory), given=msgspec.json.encode(manifest), **options)

    def bring_in(self, directory: Path, manifest: Manifest, **options: Any) -> dict[str, Any]:
        """What an import says in the end."""
        out, err = self.begin(directory, manifest, **options).communicate(timeout=60)
        assert out, err
        said: dict[str, Any] = msgspec.json.decode(out.splitlines()[-1])
        return said

    def kept(self, kind: model_registry.Kind) -> list[str]:
        """The digests that the image keeps."""
        image = Image(self.server.client(Database))
        try:
            image.manager.begin()
            return model_registry.digests(image, kind)
        finally:
            image.close()

    def chronicled(self) -> list[dict[str, Any]]:
        """The facts of the newest two imports in the chronicle."""
        image = Image(self.server.client(Database))
        try:
            image.manager.begin()
            head = image.shard("chronicle", "import").own("import")
            return [located.entry["facts"] for located, _ in zip(pages.newest_first(head), range(2), strict=False)]
        finally:
            image.close()

    def left(self) -> list[str]:
        """Files on their way into the image, and such as ZODB made of them."""
        found = [path for path in (self.home.blobs / "tmp").rglob("*") if path.is_file()]
        return [str(path) for path in [*found, *self.home.blobs.rglob("*.tmp*"), *(self.home.path / "tmp").glob("BUC*")]]

    def assert_sound(self) -> None:
        """The image boots, and every blob is there with the digest that was recorded."""
        checked = look(self.home)
        assert checked.awake and checked.problems == [], checked.problems


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    sources = tmp_path_factory.mktemp("importer")
    with running_server(sources / "home") as server:
        yield Place(server, sources)


@pytest.fixture
def place(shared: Place) -> Place:
    """The one place of all tests, with the settings that it was born with."""
    shared.settings = {}
    return shared


def test_an_adapter_and_a_model_come_in_under_their_digests_with_their_files(place):
    directory, manifest = place.adapter()
    result = place.bring_in(directory, manifest)["result"]
    assert (result["name"], result["rank"], result["base"]) == (directory.name, 4, directory_digest(place.base))
    assert manifest.digest in place.kept("adapter") and directory_digest(place.home.adapters / manifest.digest) == manifest.digest
    other = toy(place.sources / "other")
    (other / "config.json").write_text('{"model_type": "toy", "other": true}')
    (other / "train.py").write_text("left out: no engine reads it")
    told = of_model(other, "", quiet)
    assert place.bring_in(other, told)["result"]["name"] == "other" and told.digest in place.kept("model")
    assert sorted(path.name for path in (place.home.models / told.digest).iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert place.bring_in(directory, manifest)["result"]["already"] is True
    assert [facts["name"] for facts in place.chronicled()] == ["other", directory.name]
    place.assert_sound()
    assert place.left() == []


@pytest.mark.parametrize("line", [0, 1, 2, 3, 4])
def test_an_import_that_is_killed_leaves_the_image_before_or_after(place, line):
    directory, manifest = place.adapter(padding=20 * MB)
    before = place.kept("adapter")
    importer = place.begin(directory, manifest)
    for _ in range(line):
        importer.stdout.readline()
    importer.kill()
    importer.communicate(timeout=60)
    assert place.kept("adapter") in (before, sorted([*before, manifest.digest]))
    place.assert_sound()
    assert "result" in place.bring_in(directory, manifest)
    assert place.kept("adapter") == sorted([*before, manifest.digest])
    place.assert_sound()
    assert not [path for path in place.left() if "/import" in path or "BUC" in path]


def test_what_changes_after_its_check_is_not_taken_in(place):
    directory, manifest = place.adapter()
    before = place.kept("adapter")
    config = directory / "adapter_config.json"
    config.write_text(config.read_text().replace('"r": 4', '"r": 5'))
    assert place.bring_in(directory, manifest)["error"]["type"] == "SourceChanged"
    config.write_text("{")
    assert place.bring_in(directory, manifest)["error"]["type"] == "SourceChanged"
    shutil.rmtree(directory)
    assert place.bring_in(directory, manifest)["error"]["type"] == "FileNotFoundError"
    assert place.kept("adapter") == before and place.left() == [] and not (place.home.adapters / manifest.digest).exists()


def test_a_disk_that_fills_leaves_nothing_of_an_import(place):
    directory, manifest = place.adapter(padding=9 * MB)
    place.settings = {"BATOS_IMAGE_CACHE_MB": "4"}
    said = place.bring_in(directory, manifest, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6 * MB, 6 * MB)))
    assert said["error"]["type"] == "ImageFull" and said["error"]["remedy"]
    assert manifest.digest not in place.kept("adapter") and place.left() == []
    assert "result" in place.bring_in(directory, manifest)


def test_what_may_not_come_in_is_refused_by_type(place):
    directory, manifest = place.adapter()
    assert "result" in place.bring_in(directory, manifest)
    before = place.kept("adapter")
    twin, twins = place.adapter()
    named_alike = msgspec.structs.replace(twins, name=manifest.name)
    assert place.bring_in(twin, named_alike)["error"]["type"] == "NameTaken"
    assert place.bring_in(twin, msgspec.structs.replace(twins, base="e" * 64))["error"]["type"] == "NoSuchModel"
    assert place.bring_in(twin, msgspec.structs.replace(twins, digest="e" * 64))["error"]["type"] == "SourceChanged"
    outside = [msgspec.structs.replace(file, path=f"../{directory.name}/{file.path}") for file in twins.files]
    assert place.bring_in(twin, msgspec.structs.replace(twins, files=outside))["error"]["type"] == "SourceChanged"
    with staging(place.home):
        assert place.bring_in(twin, twins)["error"]["type"] == "ImportUnderWay"
    place.settings = {"BATOS_IMAGE_MODELS_GIB": "0.000001"}
    assert place.bring_in(twin, twins)["error"]["type"] == "QuotaExceeded"
    place.settings = {"BATOS_BRIDGE_RIGHTS": "read,send,create,policy"}
    assert place.bring_in(twin, twins)["error"]["type"] == "NotAllowed"
    assert place.kept("adapter") == before and place.left() == []


USING = """
import sys
from pathlib import Path
from deploy.settings import load
from tests.uvm.images import Bench
from uvm.image.client import open_image
bench = Bench(open_image(load(directory=Path("/")), 30.0), "uvm-9")
for number in range(100_000):
    outcome = bench.send("pLLM_obj", "useModel_", sys.argv[1 + number % 2])
    assert hasattr(outcome, "result"), outcome.error
    print(number, flush=True)
"""


def test_a_uvm_that_is_killed_while_it_changes_the_model_leaves_it_before_or_after(place):
    other = toy(place.sources / "another")
    (other / "config.json").write_text('{"model_type": "toy", "another": true}')
    manifest = of_model(other, "", quiet)
    assert "result" in place.bring_in(other, manifest)
    digests = [manifest.digest, directory_digest(place.base)]
    for lines in range(1, 4):
        uvm = place.start_code(USING, *digests)
        for _ in range(lines):
            assert uvm.stdout.readline(), uvm.stderr.read()
        uvm.kill()
        uvm.communicate(timeout=60)
    image = Image(place.server.client(Database))
    image.manager.begin()
    entries = [entry for entry in Journal(image, "uvm-9").entries() if entry["selector"] == "useModel_" and entry["effects"]]
    taken = sum(model_registry.at(image, "model", digest).own("taken", 0) for digest in digests)
    assert len(entries) == taken >= 3 and image.named("pLLM_obj").own("model").own("digest") in digests
    image.close()
    place.assert_sound()


def test_what_a_dead_import_left_is_swept_by_who_comes_next(tmp_path):
    home = Home(tmp_path)
    left = home.blobs / "tmp" / "import" / "weights"
    left.parent.mkdir(parents=True)
    left.write_text("x")
    young = home.blobs / "0x00" / "a.tmp-"
    young.parent.mkdir()
    young.write_text("of a commit that may still come")
    assert sweep_staging(home) and not left.exists() and young.exists()
    assert sweep_staging(home), "it comes again, until what was young then is old"
    young.unlink()
    assert sweep_staging(home) and not sweep_staging(home)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start the service as another account")
def test_what_only_root_may_read_comes_into_an_image_of_another_account():
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        home, sources = Path(directory, "home"), Path(directory, "sources")
        home.mkdir()
        sources.mkdir(mode=0o700)
        Home(home).ensure()
        account = pwd.getpwnam("nobody")
        for path in (home, *home.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid)
        settings = {"BATOS_CONFINEMENT_USER": "nobody"}
        with running_server(home, settings) as server:
            place = Place(server, sources, settings, born_with_model=False)
            result = place.bring_in(place.base, of_model(place.base, "", quiet))
            assert "result" in result, result
            assert {path.stat().st_uid for path in (place.home.models / result["result"]["digest"]).iterdir()} == {account.pw_uid}

"""A model or an adapter comes into a real image whole, or not at all: whatever ends the import, whenever."""

import os
import pwd
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from types import MappingProxyType
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
SHIPPED = ROOT / "inference_worker" / "shipped" / "covenant"
_numbers = count(1)


def toy(path: Path) -> Path:
    """A model that the check takes for one."""
    directory = files.toy_model(path)
    (directory / "tokenizer.json").write_text("{}")
    return directory


def quiet(step: str, detail: str, done: bool) -> None:
    pass


class ImportSite:
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

    def adapter(self, padding: int = 0, beside: Mapping[str, bytes] = MappingProxyType({})) -> tuple[Path, Manifest]:
        """A new adapter and what its check says; `padding`: bytes of a file that comes along; `beside`: further files."""
        number = next(_numbers)
        directory = files.random_adapter(self.sources / f"tone{number}", files.read(self.base), seed=number)
        if padding:
            (directory / "README.md").write_bytes(os.urandom(padding))
        for name, octets in beside.items():
            (directory / name).write_bytes(octets)
        return directory, of_adapter(directory, "", [self.home.models / directory_digest(self.base)], 16, quiet)

    def start(self, module: str, *arguments: str, stdin: bytes = b"", **options: Any) -> "subprocess.Popen[bytes]":
        """A program of ours, as the command starts it."""
        return self._started("-m", module, *arguments, stdin=stdin, **options)

    def start_code(self, code: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """A program that is written here."""
        return self._started("-c", code, *arguments)

    def _started(self, *words: str, stdin: bytes = b"", **options: Any) -> "subprocess.Popen[bytes]":
        with tempfile.TemporaryFile() as reads:
            reads.write(stdin)
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
        return self.start("uvm.awakening.importer", str(directory), stdin=msgspec.json.encode(manifest), **options)

    def bring_in(self, directory: Path, manifest: Manifest, **options: Any) -> dict[str, Any]:
        """What an import says in the end."""
        out, err = self.begin(directory, manifest, **options).communicate(timeout=60)
        assert out, err
        answer: dict[str, Any] = msgspec.json.decode(out.splitlines()[-1])
        return answer

    def digests(self, kind: model_registry.Kind) -> list[str]:
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
        staged = [path for path in (self.home.blobs / "tmp").rglob("*") if path.is_file()]
        return [str(path) for path in [*staged, *self.home.blobs.rglob("*.tmp*"), *(self.home.path / "tmp").glob("BUC*")]]

    def assert_sound(self) -> None:
        """The image boots, and every blob is there with the digest that was recorded."""
        checked = look(self.home)
        assert checked.awake and checked.problems == [], checked.problems


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImportSite]:
    sources = tmp_path_factory.mktemp("importer")
    with running_server(sources / "home") as server:
        yield ImportSite(server, sources)


@pytest.fixture
def site(shared: ImportSite) -> ImportSite:
    """The one site of all tests, with the settings that it was born with."""
    shared.settings = {}
    return shared


def test_an_adapter_and_a_model_come_in_under_their_digests_with_their_files(site):
    directory, manifest = site.adapter()
    result = site.bring_in(directory, manifest)["result"]
    assert (result["name"], result["rank"], result["base"]) == (directory.name, 4, directory_digest(site.base))
    assert manifest.digest in site.digests("adapter") and directory_digest(site.home.adapters / manifest.digest) == manifest.digest
    model = toy(site.sources / "other")
    (model / "config.json").write_text('{"model_type": "toy", "other": true}')
    (model / "train.py").write_text("left out: no engine reads it")
    model_manifest = of_model(model, "", quiet)
    assert site.bring_in(model, model_manifest)["result"]["name"] == "other" and model_manifest.digest in site.digests("model")
    assert sorted(path.name for path in (site.home.models / model_manifest.digest).iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert site.bring_in(directory, manifest)["result"]["already"] is True
    assert [facts["name"] for facts in site.chronicled()] == ["other", directory.name]
    site.assert_sound()
    assert site.left() == []


@pytest.mark.parametrize("line", [0, 1, 2, 3, 4])
def test_an_import_that_is_killed_leaves_the_image_before_or_after(site, line):
    directory, manifest = site.adapter(padding=20 * MB)
    before = site.digests("adapter")
    importer = site.begin(directory, manifest)
    for _ in range(line):
        importer.stdout.readline()
    importer.kill()
    importer.communicate(timeout=60)
    assert site.digests("adapter") in (before, sorted([*before, manifest.digest]))
    site.assert_sound()
    assert "result" in site.bring_in(directory, manifest)
    assert site.digests("adapter") == sorted([*before, manifest.digest])
    site.assert_sound()
    assert not [path for path in site.left() if "/import" in path or "BUC" in path]


def test_what_changes_after_its_check_is_not_taken_in(site):
    directory, manifest = site.adapter()
    before = site.digests("adapter")
    config = directory / "adapter_config.json"
    config.write_text(config.read_text().replace('"r": 4', '"r": 5'))
    assert site.bring_in(directory, manifest)["error"]["type"] == "SourceChanged"
    config.write_text("{")
    assert site.bring_in(directory, manifest)["error"]["type"] == "SourceChanged"
    shutil.rmtree(directory)
    assert site.bring_in(directory, manifest)["error"]["type"] == "FileNotFoundError"
    assert site.digests("adapter") == before and site.left() == [] and not (site.home.adapters / manifest.digest).exists()


def test_a_judgement_that_cannot_be_used_keeps_its_adapter_out_and_one_that_can_comes_in(site):
    directory, manifest = site.adapter(beside={"decision.json": b'{"bias": 1}'})
    before = site.digests("adapter")
    error = site.bring_in(directory, manifest)["error"]
    assert error["type"] == "BadJudgement" and "missing required field" in error["message"] and "leave it out" in error["remedy"]
    assert site.digests("adapter") == before and site.left() == []
    directory, manifest = site.adapter(beside={"decision.json": (SHIPPED / "decision.json").read_bytes()})
    assert site.bring_in(directory, manifest)["result"]["judgement"] is True


def test_a_disk_that_fills_leaves_nothing_of_an_import(site):
    directory, manifest = site.adapter(padding=9 * MB)
    site.settings = {"BATOS_IMAGE_CACHE_MB": "4"}
    answer = site.bring_in(directory, manifest, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6 * MB, 6 * MB)))
    assert answer["error"]["type"] == "ImageFull" and answer["error"]["remedy"]
    assert manifest.digest not in site.digests("adapter") and site.left() == []
    assert "result" in site.bring_in(directory, manifest)


def test_what_may_not_come_in_is_refused_by_type(site):
    directory, manifest = site.adapter()
    assert "result" in site.bring_in(directory, manifest)
    before = site.digests("adapter")
    twin, twins = site.adapter()
    named_alike = msgspec.structs.replace(twins, name=manifest.name)
    assert site.bring_in(twin, named_alike)["error"]["type"] == "NameTaken"
    assert site.bring_in(twin, msgspec.structs.replace(twins, base="e" * 64))["error"]["type"] == "NoSuchModel"
    assert site.bring_in(twin, msgspec.structs.replace(twins, digest="e" * 64))["error"]["type"] == "SourceChanged"
    outside = [msgspec.structs.replace(file, path=f"../{directory.name}/{file.path}") for file in twins.files]
    assert site.bring_in(twin, msgspec.structs.replace(twins, files=outside))["error"]["type"] == "SourceChanged"
    with staging(site.home):
        assert site.bring_in(twin, twins)["error"]["type"] == "ImportUnderWay"
    site.settings = {"BATOS_IMAGE_MODELS_GIB": "0.000001"}
    assert site.bring_in(twin, twins)["error"]["type"] == "QuotaExceeded"
    site.settings = {"BATOS_BRIDGE_RIGHTS": "read,send,create,policy"}
    assert site.bring_in(twin, twins)["error"]["type"] == "NotAllowed"
    assert site.digests("adapter") == before and site.left() == []


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


def test_a_uvm_that_is_killed_while_it_changes_the_model_leaves_it_before_or_after(site):
    model = toy(site.sources / "another")
    (model / "config.json").write_text('{"model_type": "toy", "another": true}')
    manifest = of_model(model, "", quiet)
    assert "result" in site.bring_in(model, manifest)
    digests = [manifest.digest, directory_digest(site.base)]
    for lines in range(1, 4):
        uvm = site.start_code(USING, *digests)
        for _ in range(lines):
            assert uvm.stdout.readline(), uvm.stderr.read()
        uvm.kill()
        uvm.communicate(timeout=60)
    image = Image(site.server.client(Database))
    image.manager.begin()
    entries = [entry for entry in Journal(image, "uvm-9").entries() if entry["selector"] == "useModel_" and entry["effects"]]
    changes = sum(model_registry.at(image, "model", digest).own("taken", 0) for digest in digests)
    assert len(entries) == changes >= 3 and image.named("pLLM_obj").own("model").own("digest") in digests
    image.close()
    site.assert_sound()


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
            site = ImportSite(server, sources, settings, born_with_model=False)
            result = site.bring_in(site.base, of_model(site.base, "", quiet))
            assert "result" in result, result
            assert {path.stat().st_uid for path in (site.home.models / result["result"]["digest"]).iterdir()} == {account.pw_uid}

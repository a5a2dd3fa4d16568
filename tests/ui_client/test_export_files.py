"""The files of an export: they come back as they were, a change is a line, and what is cut off, changed or foreign is told."""

import difflib
import hashlib
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.digest import listing_digest
from ui_client import export_files
from ui_client.export_files import ExportWriter, WeightsEntry, file_name
from ui_client.report import Failure
from uvm.protocol import MethodDocument, ObjectDocument, decode_document

SHOP = ObjectDocument(
    key="shop",
    names=["shop", "store"],
    parents=[{"ref": "traits_obj"}],
    slots={"price": 4, "ref": {"map": [["ref", 1]]}, "tags": ["a", "b"], "total_price": {"method": ["shop", "total_price"]}},
    methods={
        "total_price": MethodDocument(
            "total_price",
            "def total_price(self):\n    return 1",
            0,
            author="robin",
            proof={"seed": 1},
            examples={"kept": [{"result": 1}]},
            quarantined="why",
        )
    },
)
ITEM = ObjectDocument(key="@2a", parents=[{"ref": "shop"}], slots={"file": {"blob": "x"}})
DATA = b"weights"
DIGEST = hashlib.sha256(DATA).hexdigest()


def write(directory: Path, *documents: ObjectDocument, blobs: bool = True) -> None:
    writer = ExportWriter(directory)
    for document in documents:
        writer.add(document)
    if blobs:
        with writer.blob(DIGEST) as file:
            if file is not None:
                file.write(DATA)
    writer.end("an image", bytes(range(8)), ["shop"], [])


def lines(directory: Path) -> dict[str, list[str]]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes().decode().split("\n") for path in files}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    write(tmp_path / "out", SHOP, ITEM)
    return tmp_path / "out"


def failure(directory: Path, **options: bool) -> Failure:
    with pytest.raises(Failure) as caught:
        export_files.read(directory, **options)
    assert caught.value.remedy
    return caught.value


def test_what_is_written_is_read(export: Path) -> None:
    contents = export_files.read(export)
    documents = {document.key: document for document in map(decode_document, contents.bundle.objects)}
    assert documents == {"shop": SHOP, "@2a": ITEM}
    assert (contents.bundle.image, contents.bundle.tid, contents.bundle.roots) == ("an image", bytes(range(8)), ["shop"])
    assert {digest: path.read_bytes() for digest, path in contents.blobs.items()} == {DIGEST: DATA}
    assert contents.methods == 1


def test_a_method_is_its_source_as_it_is(export: Path) -> None:
    assert (export / "objects/shop/methods/total_price.py").read_text() == "def total_price(self):\n    return 1"


def test_a_changed_slot_is_a_changed_line_of_one_file(export: Path) -> None:
    before = lines(export)
    write(export, msgspec.structs.replace(SHOP, slots={**SHOP.slots, "price": 5}), ITEM)
    after = lines(export)
    changed = [path for path in after if before.get(path) != after[path] and path != "manifest.json"]
    assert changed == ["objects/shop/object.json"] and set(before) == set(after)
    (path,) = changed
    difference = list(difflib.unified_diff(before[path], after[path], n=0, lineterm=""))[2:]
    assert [line for line in difference if line[0] in "+-"] == ['-  "price": 4,', '+  "price": 5,']


def test_the_same_objects_are_the_same_bytes(export: Path) -> None:
    before = lines(export)
    write(export, ITEM, SHOP)
    assert lines(export) == before


def test_a_later_export_takes_the_place_of_the_earlier_one_and_leaves_the_rest_alone(export: Path) -> None:
    (export / "README").write_text("mine")
    write(export, ITEM, blobs=False)
    assert sorted(path for path in lines(export)) == [".gitattributes", "README", "manifest.json", "objects/@2a/object.json"]
    assert len(export_files.read(export).bundle.objects) == 1


def test_an_export_that_was_cut_off_says_so_and_is_written_over(tmp_path: Path) -> None:
    writer = ExportWriter(tmp_path)
    writer.add(SHOP)
    assert failure(tmp_path).kind == "BrokenExport" and failure(tmp_path, edited=True).kind == "BrokenExport"
    write(tmp_path, ITEM)
    assert len(export_files.read(tmp_path).bundle.objects) == 1


def all_files(directory: Path) -> list[str]:
    return sorted(path for path in lines(directory) if path != ".gitattributes")


PATHS = (
    "manifest.json",
    "objects/shop/object.json",
    "objects/shop/methods/total_price.py",
    "objects/shop/methods/total_price.json",
    "objects/@2a/object.json",
    f"blobs/{DIGEST}",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_file_that_is_gone_or_shorter_is_told(export: Path, path: str) -> None:
    assert all_files(export) == sorted(PATHS)
    content = (export / path).read_bytes()
    for left in {0, 1, len(content) // 2, len(content) - 2}:
        (export / path).write_bytes(content[:left])
        assert failure(export).kind in ("BrokenExport", "NotAnExport")
    (export / path).unlink()
    error = failure(export)
    assert error.kind == ("NotAnExport" if path == "manifest.json" else "BrokenExport")
    assert path == "manifest.json" or path in error.message


@pytest.mark.parametrize("path", ["objects/yard/object.json", "blobs/1", "objects/shop/methods/more.py"])
def test_a_file_that_was_not_exported_is_told(export: Path, path: str) -> None:
    (export / path).parent.mkdir(exist_ok=True)
    (export / path).write_text("{}")
    assert path in failure(export).message


def test_edited_files_are_taken_as_they_are(export: Path) -> None:
    (export / "objects/shop/methods/total_price.py").write_text("def total_price(self):\n    return 2\n")
    (export / "objects/@2a/object.json").unlink()
    (export / "objects/yard").mkdir()
    (export / "objects/yard/object.json").write_text('{"object": "yard", "names": ["yard"]}')
    assert failure(export).kind == "BrokenExport"
    documents = {document.key: document for document in map(decode_document, export_files.read(export, edited=True).bundle.objects)}
    assert sorted(documents) == ["shop", "yard"] and documents["shop"].methods["total_price"].source.endswith("2\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"object": 7}',
        '{"object": "a", "object": "b"}',
        '{"object": "a", "slots": {"x": NaN}}',
        '{"object": "a", "slots": []}',
        '{"object": "a", "else": 1}',
        '{"object": "' + "a" * 300 + '"}',
        "[" * 100_000,
        "\ud800",
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_a_file_that_is_no_object_is_told_by_its_path(export: Path, text: str) -> None:
    (export / "objects/@2a/object.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    error = failure(export, edited=True)
    assert error.kind == "BrokenExport" and "objects/@2a/object.json" in error.message


@pytest.mark.parametrize(
    "manifest",
    ["", "[]", "{}", '{"format": 2}', '{"format": 1, "files": []}', '{"format": "1"}', '{"format": 1, "more": 1}'],
    ids=lambda text: text or "empty",
)
def test_a_directory_that_is_no_export_is_told(export: Path, manifest: str) -> None:
    (export / "manifest.json").write_text(manifest)
    assert failure(export).kind in ("NotAnExport", "BrokenExport")


def test_a_link_leads_nowhere(export: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (export / "objects/linked").symlink_to(tmp_path / "secret")
    assert "link" in failure(export, edited=True).message


def test_nothing_of_somebody_else_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "objects").mkdir()
    with pytest.raises(Failure, match="manifest"):
        ExportWriter(tmp_path)
    (tmp_path / "manifest.json").write_text('{"name": "a web application"}')
    with pytest.raises(Failure):
        ExportWriter(tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text()) == {"name": "a web application"}


def test_a_file_with_another_digest_is_not_kept(tmp_path: Path) -> None:
    writer = ExportWriter(tmp_path)
    with pytest.raises(Failure, match="digest"), writer.blob(DIGEST) as file:
        assert file is not None
        file.write(b"else")
    assert not list((tmp_path / "blobs").iterdir())


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256), unique=True, min_size=2, max_size=20))
@settings(max_examples=50)
def test_names_of_files_are_different_safe_and_short(texts: list[str]) -> None:
    names = [file_name(text) for text in texts]
    assert len(set(names)) == len(names)
    for name in names:
        assert name not in ("", ".", "..") and "/" not in name and "\0" not in name and len(name.encode()) < 200


def with_weights(directory: Path, files: dict[str, bytes], **fields: bool) -> WeightsEntry:
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    entry = WeightsEntry("adapter", listing_digest(digests), "tone", "b" * 64, along=fields.get("along", True))
    writer = ExportWriter(directory)
    writer.add(SHOP)
    for path, digest in digests.items() if entry.along else ():
        with writer.weights(entry, path, digest) as file:
            if file is not None:
                file.write(files[path])
    writer.end("an image", bytes(8), ["shop"], [], [entry])
    return entry


TONE = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"numbers" * 100}


def test_an_adapter_comes_along_by_digest_and_is_read_whole(tmp_path: Path) -> None:
    entry = with_weights(tmp_path / "out", TONE)
    ((read, place),) = export_files.read(tmp_path / "out").weights
    assert read == entry and place == tmp_path / "out" / "adapters" / entry.digest
    assert {path.name: path.read_bytes() for path in place.iterdir()} == TONE
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    with_weights(tmp_path / "out", TONE)
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == before, "what is there already is not written again"
    with_weights(tmp_path / "out", TONE, along=False)
    assert not place.exists() and export_files.read(tmp_path / "out").weights == [(msgspec.structs.replace(entry, along=False), None)]


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("harm", ["cut", "gone", "more"])
def test_an_adapter_that_is_not_whole_is_refused_edited_or_not(tmp_path: Path, harm: str, edited: bool) -> None:
    entry = with_weights(tmp_path / "out", TONE)
    file = tmp_path / "out" / "adapters" / entry.digest / "adapter_model.safetensors"
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif harm == "gone":
        file.unlink()
    else:
        file.with_name("more.json").write_text("{}")
    assert failure(tmp_path / "out", edited=edited).kind == "BrokenExport"


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", ".hidden", "a//b", "", "a/.b"])
def test_a_file_of_weights_stays_in_its_place(tmp_path: Path, path: str) -> None:
    writer = ExportWriter(tmp_path / "out")
    entry = WeightsEntry("adapter", "a" * 64, "tone", along=True)
    with pytest.raises(Failure), writer.weights(entry, path, DIGEST):
        pass
    assert all_files(tmp_path) == ["out/.gitattributes", "out/manifest.json"]

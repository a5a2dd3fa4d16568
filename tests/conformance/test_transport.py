"""Exports and imports over the real bridge: as docs/export.md says it, by the command, by both clients, and while a UVM dies."""

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import service as supervised
from deploy.settings import Configuration
from tests.ui_client.commands.conftest import Answer, invoke
from ui_client import AsyncClient, Client, Reference, RemoteError
from ui_client.export_files import read
from uvm.protocol import Bundle, Import, ObjectDocument, Upload, encode

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def client(running: Configuration) -> Iterator[Client]:
    with Client(configuration=running, connect_timeout=30.0) as connected:
        yield connected


@pytest.fixture
def batos(running: Configuration) -> Any:
    def run(*arguments: str) -> Answer:
        return invoke(running.home.path, *arguments)

    return run


@pytest.fixture
def name() -> str:
    return f"shop-{uuid.uuid4().hex[:8]}"


def make(client: Client, name: str) -> Reference:
    shop: Reference = client.send("genesis_obj", "clone")
    client.send(shop, "nameAs_", name)
    client.send(shop, "setSlot_value_", "items", [client.send("genesis_obj", "clone"), {"bytes": b"\0\xff", "n": 2.5}])
    return shop


def bundle_of(*documents: ObjectDocument) -> Bundle:
    return Bundle("elsewhere", bytes(8), [], [encode(one) for one in documents])


def test_the_commands_of_the_document_do_what_it_says(running: Configuration, tmp_path: Path) -> None:
    (commands,) = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
    (tmp_path / "batos").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m ui_client.cli "$@"\n')
    (tmp_path / "batos").chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "BATOS_HOME": str(running.home.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "refused: a file is not as it was exported" in done.stdout and done.stdout.splitlines()[-1] == "1999"
    assert "['Mind']" in done.stdout and "1 examples held in this image" in done.stdout and "imported" in done.stdout
    assert "refused: titles does not do what its example says" in done.stdout and "ExampleFailed" in done.stderr
    assert "1 held to their examples" in done.stderr
    assert "objects/shelf/object.json" in done.stderr


def test_the_command_takes_a_directory_out_and_in_again(client: Client, batos: Any, name: str, tmp_path: Path) -> None:
    shop = make(client, name)
    directory = str(tmp_path / "out")
    told = batos("export", directory, name, "--json").json["result"]
    assert (told["objects"], told["methods"], told["blobs"]) == (2, 0, [])
    refused = batos("import", directory, "--json")
    assert refused.status == 1 and refused.json["error"]["type"] == "NotAllowed" and refused.json["error"]["details"] == {"names": [name]}
    previewed = batos("import", directory, "--as", f"{name}={name}-2", "--preview", "--json").json["result"]
    assert previewed["preview"] is True and previewed["names"] == [f"{name}-2"]
    with pytest.raises(RemoteError):
        client.inspect(f"{name}-2")
    batos("import", directory, "--as", f"{name}={name}-2", "--json")
    assert client.send(f"{name}-2", "items")[1] == {"bytes": b"\0\xff", "n": 2.5}
    again = batos("import", directory, "--replace", "--json").json["result"]
    assert again["new"] == 0 and not any(again["replaced"].values())
    assert client.send(name, "items") == client.send(shop, "items")


def test_methods_that_do_not_hold_keep_the_whole_import_out_by_name(client: Client, batos: Any, name: str, tmp_path: Path) -> None:
    make(client, name)
    (tmp_path / "pairs.py").write_text("def pairs(self):\n    return self.half() * 2\n")
    (tmp_path / "half.py").write_text("def half(self):\n    return len(self.items)\n")
    for selector, example in (("half", '{"result": 2}'), ("pairs", '{"result": 4}')):
        assert batos("method", name, selector, str(tmp_path / f"{selector}.py"), "--example", example).status == 0
    directory = tmp_path / "out"
    batos("export", str(directory), name)
    held = batos("import", str(directory), "--as", f"{name}={name}-2", "--json").json["result"]
    assert (held["held"], held["untested"]) == (2, 0) and client.send(f"{name}-2", "pairs") == 4
    source = directory / "objects" / name / "methods" / "half.py"
    source.write_text(source.read_text().replace("len(self.items)", "len(self.items) + 1"))
    newest = client.newest_tid()
    for options in (("--preview",), ()):
        answer = batos("import", str(directory), "--as", f"{name}={name}-3", "--edited", *options, "--json")
        error = answer.json["error"]
        assert answer.status == 1 and error["type"] == "ExampleFailed" and error["remedy"]
        assert sorted((each["object"], each["selector"]) for each in error["details"]["failed"]) == [(name, "half"), (name, "pairs")]
    assert client.newest_tid() == newest


def test_a_truncated_directory_changes_nothing(client: Client, batos: Any, name: str, tmp_path: Path) -> None:
    make(client, name)
    batos("export", str(tmp_path), name)
    next(iter((tmp_path / "objects").glob("@*/object.json"))).unlink()
    newest = client.newest_tid()
    for options in ([], ["--edited"]):  # as it is, and even taken as it is: an object that another one refers to is not there
        answer = batos("import", str(tmp_path), "--as", f"{name}=other", *options, "--json")
        error = answer.json["error"]
        assert answer.status == 1 and error["type"] == ("MissingReference" if options else "BrokenExport") and error["remedy"]
    assert error["details"]["missing"][0]["from"] == [name]
    assert client.newest_tid() == newest


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["import", "DIR", "--as", "shop"], "OLD=NEW"),
        (["import", "DIR", "--as", "a=b", "--as", "a=c"], "once"),
        (["import"], "Missing argument"),
        (["export", "DIR", "@nothex"], "not a reference"),
    ],
)
def test_wrong_usage_is_said(batos: Any, tmp_path: Path, arguments: list[str], word: str) -> None:
    answer = batos(*(str(tmp_path / "no") if one == "DIR" else one for one in arguments))
    assert answer.status == 2 and word in " ".join(answer.err.split())


def test_a_directory_that_is_no_export_is_said_for_people_in_a_line(batos: Any, tmp_path: Path) -> None:
    answer = batos("import", str(tmp_path))
    assert answer.status == 1 and answer.out == "" and "manifest.json" in answer.err.splitlines()[-1]
    refused = batos("export", str(tmp_path / "new"), "genesis_obj")
    assert refused.status == 1 and "batos image backup" in refused.err


def test_what_is_larger_than_a_frame_comes_in_pieces_and_at_once(client: Client, name: str, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    slots = {f"s{number}": "x" * 900_000 for number in range(6)}
    big = bundle_of(ObjectDocument(key=name, names=[name], parents=[{"ref": "traits_obj"}], slots=slots))
    answer = client.import_objects(big, tell=lambda done, whole: told.append((done, whole)))
    assert answer["new"] == 1 and told[-1][0] == told[-1][1] > 5_000_000 and len(told) == 6
    exported = client.export(name)
    assert exported.documents[0].slots == slots and exported.roots == [name]


def test_the_asynchronous_client_does_the_same(running: Configuration, client: Client, name: str) -> None:
    make(client, name)

    async def through() -> dict[str, Any]:
        async with AsyncClient(configuration=running, connect_timeout=30.0) as other:
            exported = await other.export(name)
            with pytest.raises(RemoteError, match="BadArguments"):
                await other.export_blob(exported, "ab" * 32, io.BytesIO())
            bundle = Bundle(exported.image, exported.tid, exported.roots, [encode(one) for one in exported.documents])
            with pytest.raises(RemoteError, match="NotAllowed"):
                await other.import_objects(bundle)
            return await other.import_objects(bundle, rename={name: f"{name}-async"})

    assert asyncio.run(through())["new"] == 2
    assert client.send(f"{name}-async", "names") == [f"{name}-async"]


def test_an_import_that_fails_lets_go_of_what_was_uploaded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = {"a": "x" * 1_100_000, "b": {"ref": "nobody-here"}}
    uploads: list[Any] = []
    ask = client._ask

    def asked(request: Any, deadline_s: float) -> Any:
        uploads.extend([request.upload] if isinstance(request, Import) else [])
        return ask(request, deadline_s)

    monkeypatch.setattr(client, "_ask", asked)
    with pytest.raises(RemoteError, match="MissingReference"):
        client.import_objects(bundle_of(ObjectDocument(key="x", names=["x"], parents=[{"ref": "traits_obj"}], slots=slots)))
    (upload,) = uploads
    assert client.release([upload]) == 0  # it was released by then


def test_an_import_on_which_a_uvm_dies_is_carried_out_once(running: Configuration, client: Client, name: str) -> None:
    documents = [
        ObjectDocument(key=f"{name}-{number}", names=[f"{name}-{number}"], parents=[{"ref": "traits_obj"}]) for number in range(3000)
    ]
    data = encode(bundle_of(*documents))
    future = client._channel.ask(Import(id=0, bundle=data, via="uvm-1"), 120.0)
    killed = False
    while not future.done() and not killed:
        states = {one["uvm"]: one for one in client.status()["uvms"]}
        if states.get("uvm-1", {}).get("outstanding"):
            os.kill(states["uvm-1"]["pid"], signal.SIGKILL)
            killed = True
    answer: Any = future.result(120.0)
    assert killed and answer.result["new"] == 3000
    again = client.import_objects(bundle_of(*documents), replace=True, preview=True)
    assert again["new"] == 0
    assert supervised.statuses(running)


def test_uploads_without_an_import_are_nothing(client: Client, name: str) -> None:
    before = client.export().documents
    answer: Any = client._channel.ask(Upload(id=0, data=b"x" * 1000), 30.0).result(30.0)
    assert isinstance(answer.result, Reference)
    with pytest.raises(RemoteError, match="NoSuchObject"):
        client.inspect(answer.result)
    assert client.export().documents == before


def test_the_files_of_an_export_are_what_the_client_exports(client: Client, batos: Any, name: str, tmp_path: Path) -> None:
    make(client, name)
    batos("export", str(tmp_path), name)
    exported = client.export(name)
    assert sorted(read(tmp_path).bundle.objects) == sorted(encode(one) for one in exported.documents)
    assert json.loads((tmp_path / "manifest.json").read_text())["image"] == exported.image

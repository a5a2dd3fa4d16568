"""Models and adapters come into the real service, are used, and leave again: as docs/operations.md says it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save_file

from deploy.digest import directory_digest
from tests.inference_worker import files
from tests.model import converted_model
from tests.system.conftest import ROOT, House
from tests.system.test_readme import script

pytestmark = pytest.mark.model

PROMPT = "The four personas of the image are"
TOKENS = 8
"""Of an answer: the adapter changes what is said from the first one on."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny`, a model that no engine is asked to load, and `tone`, an adapter that changes what the default model says."""
    directory = tmp_path_factory.mktemp("sources")
    tiny = directory / "tiny"
    tiny.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(converted_model() / name, tiny / name)
    save_file({"model.embed_tokens.weight": numpy.zeros((4, 4), numpy.float32)}, tiny / "model.safetensors")
    files.random_adapter(directory / "tone", files.read(converted_model()), seed=5, scale=0.5)
    return directory


def test_the_commands_of_the_page_do_what_they_say(house: House, sources: Path, tmp_path: Path):
    for name in ("tiny", "tone"):
        (tmp_path / name).symlink_to(sources / name)
    batos = tmp_path / "batos"
    batos.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m ui_client.cli "$@"\n')
    batos.chmod(0o755)
    (model,) = house.ask("model", "list")["result"]
    (commands,) = script("docs/operations.md", "sh")
    before = house.ask("adapters", "list")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands.replace("SmolLM2-135M-Instruct", model["name"])],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "COLUMNS": "120", **house.environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "robin speaks with tone@" in done.stderr and f"tiny thinks in place of {model['name']}" in done.stderr
    assert house.ask("model", "list")["result"] == [model] and house.ask("adapters", "list") == before


def test_a_persona_speaks_with_an_adapter_that_came_in_while_the_service_ran(house: House, sources: Path):
    with house.client() as client:
        plain = {name: client.send(name, "infer_", PROMPT, TOKENS) for name in ("robin", "brick")}
        adapter = house.ask("adapters", "import", str(sources / "tone"))["result"]
        assert adapter["rank"] == 4 and not adapter["already"]
        house.ask("adapters", "assign", "robin", adapter["digest"])
        said = {name: client.send(name, "infer_", PROMPT, TOKENS) for name in ("robin", "brick")}
        assert said["robin"] != plain["robin"] and said["brick"] == plain["brick"]
        refused = house.ask("adapters", "remove", "tone")["error"]
        assert refused["type"] == "InUse" and refused["details"]["users"] == ["robin"] and refused["remedy"]
        assert house.ask("model", "import", str(sources / "tiny"))["result"]["chat"] is True
        asked = house.ask("model", "use", "tiny")["error"]
        assert asked["type"] == "NotConfirmed" and "tone" in [one["name"] for one in asked["details"]["unfit"]]
        assert house.ask("model", "remove", "tiny")["result"]["name"] == "tiny"
        house.ask("adapters", "assign", "robin", "none")
        assert client.send("robin", "infer_", PROMPT, TOKENS) == plain["robin"]
        assert house.ask("adapters", "remove", "tone")["result"]["digest"] == adapter["digest"]


def test_what_cannot_come_in_says_why_and_leaves_the_image_as_it_was(house: House, sources: Path, tmp_path: Path):
    before = house.ask("model", "list"), house.ask("adapters", "list")
    cut = tmp_path / "cut"
    shutil.copytree(sources / "tiny", cut)
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:-1])
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    other = tmp_path / "other"
    shutil.copytree(sources / "tone", other)
    (other / "training.json").write_text(json.dumps({"base_model_digest": "e" * 64}))
    for kind, directory, error in (
        ("model", cut, "BadModel"),
        ("model", broken, "ChildFailed"),
        ("model", sources / "tone", "BadModel"),
        ("model", tmp_path / "nothing", "NoSuchFile"),
        ("adapters", other, "BadAdapter"),
        ("adapters", sources / "tiny", "BadAdapter"),
    ):
        told = house.ask(kind, "import", str(directory))["error"]
        assert told["type"] == error and told["remedy"], told
    home = house.configuration.home
    assert (house.ask("model", "list"), house.ask("adapters", "list")) == before
    assert not [*home.path.glob(".converted-*"), *(home.blobs / "tmp").rglob("*.*")]


def test_an_adapter_travels_with_what_refers_to_it(house: House, sources: Path, tmp_path: Path):
    """Out of the image and in again, whole: left out it is missing by name, damaged it is refused, killed it is before or after."""
    adapter = house.ask("adapters", "import", str(sources / "tone"))["result"]
    with house.client() as client:
        client.send(client.send("robin", "clone"), "nameAs_", "wren")
        house.ask("adapters", "assign", "wren", adapter["digest"])
        exported = house.ask("export", str(tmp_path / "wren"), "wren")["result"]
        along = {entry["kind"]: (entry["digest"], entry["along"]) for entry in exported["weights"]}
        assert along["adapter"] == (adapter["digest"], True) and along["model"] == (adapter["base"], False)
        assert directory_digest(tmp_path / "wren" / "adapters" / adapter["digest"]) == adapter["digest"]
        house.ask("export", str(tmp_path / "bare"), "wren", "--without-weights")
        house.ask("adapters", "assign", "wren", "none")
        client.send("wren", "forgetName_", "wren")
        house.ask("adapters", "remove", adapter["digest"])

        missing = house.ask("import", str(tmp_path / "bare"))["error"]
        assert missing["type"] == "MissingReference" and f"adapter tone@{adapter['digest'][:12]}" in missing["message"]
        damaged = tmp_path / "damaged"
        shutil.copytree(tmp_path / "wren", damaged)
        file = next(path for path in (damaged / "adapters").rglob("*.safetensors"))
        file.write_bytes(file.read_bytes()[:-1])
        for options in ((), ("--edited",)):
            assert house.ask("import", str(damaged), *options)["error"]["type"] == "BrokenExport"
        preview = house.ask("import", str(tmp_path / "wren"), "--preview")["result"]
        assert [entry["name"] for entry in preview["weights"]] == ["tone"]
        digests = [row["digest"] for row in house.ask("adapters", "list")["result"]]
        assert adapter["digest"] not in digests and "wren" not in client.send("genesis_obj", "objects")

        for line in (1, 2, 3, 4):
            with house.begin("import", str(tmp_path / "wren")) as killed:
                for _ in range(line):
                    killed.stderr.readline()
                killed.kill()
            rows = {row["digest"]: row for row in house.ask("adapters", "list")["result"]}
            assert rows.get(adapter["digest"], adapter)["bytes"] == adapter["bytes"]
        house.ask("import", str(tmp_path / "wren"), "--replace")
        assert client.send(client.send("wren", "adapter"), "digest") == adapter["digest"]
        assert directory_digest(house.configuration.home.adapters / adapter["digest"]) == adapter["digest"]
        again = house.ask("export", str(tmp_path / "again"), "wren")["result"]
        assert {path: text for path, text in texts(tmp_path / "again").items() if path != "manifest.json"} == {
            path: text for path, text in texts(tmp_path / "wren").items() if path != "manifest.json"
        }
        assert again["weights"] == exported["weights"]
        house.ask("adapters", "assign", "wren", "none")
        house.ask("adapters", "remove", adapter["digest"])


def texts(directory: Path) -> dict[str, bytes]:
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()}

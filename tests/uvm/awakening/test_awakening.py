"""The awakening is one transaction, whoever else comes to the image at the same time, and whenever it is killed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.settings import Configuration, load
from tests.inference_worker import files
from tests.uvm.images import Bench, awakened
from tests.zeo_server.server import ROOT, Server, fresh_root, running_server
from uvm.awakening.renewal import kernel_slots, renew
from uvm.awakening.rewind import look
from uvm.image import judgement
from uvm.image.image import KERNEL_ROOTS, Database, Image
from uvm.image.methods import install, method
from uvm.language.compiler import POLICY


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path / "home") as running:
        yield running


def configuration(server: Server) -> Configuration:
    return load({"BATOS_HOME": str(server.home.path)}, server.home.path)


def begin(server: Server, *arguments: str) -> "subprocess.Popen[str]":
    """An awakening as `batos up` starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "uvm.awakening", "--json", *arguments],
        cwd=ROOT,
        env={**os.environ, "BATOS_HOME": str(server.home.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def steps(awakening: "subprocess.Popen[str]") -> list[str]:
    """The steps that it told, after it has ended well."""
    out, err = awakening.communicate(timeout=60)
    assert awakening.returncode == 0, err
    return [json.loads(line)["step"] for line in out.splitlines()]


def test_the_server_has_made_the_root_before_any_client_can(server):
    database = server.client()
    with fresh_root(database) as root:
        assert list(root) == []
    history = database.storage.history(b"\0" * 8, size=10)
    assert len(history) == 1, "a client stored the root again"
    database.close()


def test_of_awakenings_at_the_same_time_one_makes_the_image_and_the_others_find_it(server):
    all_steps = [steps(awakening) for awakening in [begin(server) for _ in range(3)]]
    assert sum("awake" in names for names in all_steps) == 1
    assert sum("image found" in names for names in all_steps) == 2


def test_a_configured_adapter_brings_its_own_judgement_and_one_that_cannot_be_used_is_no_birth(server, tmp_path):
    model = files.toy_model(tmp_path / "toy")
    adapter = files.random_adapter(tmp_path / "tone", files.read(model), seed=1)
    decision = adapter / "decision.json"
    decision.write_text('{"bias": "much"}')
    awakening = begin(server, "--model", str(model), "--adapter", str(adapter))
    out, err = awakening.communicate(timeout=60)
    assert awakening.returncode == 1 and str(decision) in err and "forge.calibrate" in err and not look(server.home).awake, out
    own = {name: value for name, value in judgement.shipped().items() if name != "digest"} | {"bias": 0.25}
    decision.write_text(json.dumps(own))
    assert "judgement" in steps(begin(server, "--model", str(model), "--adapter", str(adapter)))
    image = Image(server.client(Database))
    image.manager.begin()
    mind = image.named("pLLM_obj")
    assert mind.own("judgement")["bias"] == 0.25 and judgement.in_force(image, mind).of == "adapter"
    image.close()


def test_what_a_new_version_adds_to_the_kernel_an_older_image_gets_once():
    with awakened() as image:
        bench = Bench(image)
        image.manager.begin()
        assert renew(image) == []
        image.named("traits_obj").drop("now")
        del image.root["chronicle"]
        image.manager.commit()
        image.manager.begin()
        assert renew(image) == ["chronicle", "now"]
        image.manager.commit()
        assert bench.send("genesis_obj", "now").result
        image.manager.begin()
        assert renew(image) == []


def test_a_method_that_took_a_new_primitives_name_makes_room_and_stays_reachable():
    with awakened() as image:
        Bench(image).install("traits_obj", "names", "def names(self):\n    return 1\n")
        image.manager.begin()
        assert renew(image) == ["names"]
        assert image.named("traits_obj").own("names").own("replaced").own("author") == "test"
        assert all(name in image.root for name in KERNEL_ROOTS) and len(list(kernel_slots(image))) > 20


def test_an_image_that_does_not_boot_is_not_awakened_and_says_object_by_object_why(server):
    assert steps(begin(server)) == ["first run", "awake"]
    database = server.client(Database)
    with fresh_root(database) as root:
        root["fence"].put("token", "mine")
        root["codex"].put("content", {})
    database.close()
    awakening = begin(server)
    assert awakening.communicate(timeout=60)[1].count("the Codex: ") == 1 and awakening.returncode == 1


def test_an_image_of_another_policy_has_its_methods_audited_again_once(server):
    assert steps(begin(server)) == ["first run", "awake"]
    database = server.client(Database)
    with fresh_root(database) as root:
        install(root["names"]["genesis_obj"], method("spy", "def spy(self):\n    import os\n", 0, "ann", {}))
        root["policy"] = 0
    assert "1 put out of use" in begin(server).communicate(timeout=60)[0]
    with fresh_root(database) as root:
        assert root["policy"] == POLICY
    database.close()


@pytest.mark.parametrize("line", range(4))
def test_an_awakening_that_is_killed_leaves_nothing_or_a_whole_image(server, tmp_path, line):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(os.urandom(3_000_000))
    awakening = begin(server, "--model", str(model))
    for _ in range(line):
        awakening.stdout.readline()
    awakening.kill()
    awakening.communicate(timeout=60)
    left = look(server.home)
    assert not left.awake or left.problems == []
    assert steps(begin(server, "--model", str(model)))[-1] in ("awake", "image found")

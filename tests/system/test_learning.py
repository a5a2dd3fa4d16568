"""The autotelic loop on a service: heartbeat and forge as supervisord runs them, confined; a model of a few thousand weights.

From the lessons that a message gives to an adapter in service, and back by hand. Such a model does nothing right, before as after, so the
gate refuses what it learns. What is tried here is the way, not the gate (tests/uvm/autotelic/test_gate.py): the image's policy lets
everything pass that is not worse by half, without a gain (`margin`, `alpha`, `epsilon`).
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import supervision
from inference_worker.forge.render import COVENANT
from tests.inference_worker.forge.test_train import model as model
from tests.running import ROOT, Running
from ui_client.client.client import Client
from ui_client.client.errors import RemoteError
from uvm.autotelic.lessons import is_held

_LONGEST_S = 600.0
_TOML = """
[uvm]
processes = 1
[heartbeat]
interval_s = 1
[forge]
process = true
"""
LENIENT = {"enabled": True, "rest_s": 0, "steps": 2, "tasks": 3, "margin": 0, "alpha": 1, "epsilon": 0.5, "shadow": 1, "shadow_s": 0}
"""A policy that trains for two steps, whose gate lets a candidate pass that gains nothing, and whose shadow is over at once."""

pytestmark = pytest.mark.timeout(2 * _LONGEST_S)


class LearningService:
    """A service with a forge and a tiny model."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.environment = supervision.environment(running.configuration, dict(os.environ))

    def ask(self, *words: str) -> Any:
        """What a `batos` command answers with `--json`."""
        command = [sys.executable, "-P", "-m", "ui_client.cli", *words, "--json"]
        done = subprocess.run(command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def logs(self) -> str:
        return "\n".join(self.running.log(program)[-3000:] for program in ("forge", "heartbeat"))

    def until(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _LONGEST_S
        while not holds():
            assert time.monotonic() < deadline, f"{what}\n{self.logs()}"
            time.sleep(0.2)


@pytest.fixture
def service(tmp_path: Path, model: Path) -> Iterator[LearningService]:
    with Running(tmp_path / "home", _TOML) as running:
        learning = LearningService(running)
        imported = learning.ask("model", "import", str(model), "--name", "tiny")
        assert "result" in imported, imported
        with running.client() as client:
            client.send("pLLM_obj", "useModel_", "tiny")
        yield learning


def phases(client: Client) -> list[str]:
    """How far each round is."""
    return [client.send(entered, "phase") for entered in client.send("autotelic_obj", "rounds")]


def lessons() -> list[dict[str, str]]:
    """Lessons that prove themselves, some of which are set aside for the exam."""
    prompts = [
        f"{COVENANT}\nObject:\nprice = {price}\nMessage: worth()\nExample: worth() -> {price}\ndef worth(self):\n" for price in range(2, 20)
    ]
    assert 0 < sum(map(is_held, prompts)) < len(prompts)
    return [{"prompt": prompt, "answer": "    return self.price"} for prompt in prompts]


def test_lessons_become_an_adapter_in_service_and_a_rollback_takes_it_out_again(service: LearningService) -> None:
    with service.running.client() as client:
        with pytest.raises(RemoteError) as off:
            client.send("pLLM_obj", "fineTuneWith_", lessons())
        assert off.value.type == "ForgeOff" and '"enabled": true' in off.value.remedy
        client.send("autotelic_obj", "setSlot_value_", "policy", LENIENT)
        service.until("the heartbeat says that a forge runs", lambda: client.send("autotelic_obj", "forge") is True)
        client.send("pLLM_obj", "fineTuneWith_", lessons())

        service.until("it was judged", lambda: phases(client) not in ([], ["forging"], ["shadow"]))
        (row,) = service.ask("forge", "list")["result"]
        assert row["verdict"]["fate"] == "accepted" and row["phase"] == "probation", f"{row}\n{service.logs()}"
        assert "only 0 of 1 messages" in row["verdict"]["reasons"][-1] and row["report"]["distance"] > 0
        assert row["report"]["step"] == 2 and row["report"]["items"]["lesson"] > 0 and row["report"]["planted"] > 0
        (adapter,) = service.ask("adapters", "list")["result"]
        assert adapter["digest"] == row["digest"] and adapter["used_by"] == ["pLLM_obj"] and adapter["state"] == "ready"
        lineage = service.ask("lineage", row["digest"][:12])["result"]
        assert lineage["round"]["id"] == row["id"] and lineage["methods"] == []

        assert service.ask("adapters", "rollback")["result"] == {"rolled_back": row["digest"], "serving": None}
        (adapter,) = service.ask("adapters", "list")["result"]
        assert adapter["used_by"] == [] and adapter["state"] == "revoked"
        service.until("the round ended", lambda: phases(client) == ["ended"])
        assert service.ask("adapters", "rollback")["error"]["type"] == "NothingToRollBack"

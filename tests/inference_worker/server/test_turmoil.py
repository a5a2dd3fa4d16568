"""Whatever happens at once, every request gets exactly one answer, and the worker is as good as new afterwards."""

import random
import time
from pathlib import Path
from typing import Any

import pytest

from inference_worker.protocol import Completed, RequestFailed, WorkerBusy
from tests.inference_worker.conftest import LONG, fake_scene
from tests.inference_worker.service import drawn

ALLOWED = {"Cancelled", "DeadlineExceeded", "EngineDied"}


def fair(failed: RequestFailed) -> bool:
    """Whether an engine that died, or the client, explains the failure. An adapter whose load two engines did not survive is suspect."""
    return failed.type in ALLOWED or (failed.type == "BadAdapter" and "the engine died 2 times" in failed.message)


@pytest.mark.parametrize("seed", range(2))
def test_everybody_is_answered_once_while_engines_die_adapters_swap_and_clients_give_up(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    rules: list[dict[str, object]] = [{"contains": "fatal", "dies": 6, "text": " alive"}]
    script: dict[str, object] = {"slots": 2, "read_s": 0.01, "commit_s": 0.005, "tokens_per_s": 2000}
    scarce: dict[str, Any] = {"max_loras": 2, "max_streams": 6, "ram_gib": 3000 / 2**30, "idle_s": 0.2, "queue": 1000}
    for scene in fake_scene(tmp_path, rules, script, adapters=5, **scarce):
        client, watcher, kinds = scene.client, scene.worker.client(), [None, *scene.adapters]
        adapters: dict[str, str | None] = {}
        answers: dict[str, list[object]] = {}
        for n in range(180):
            adapter = chance.choice(kinds)
            name = client.start(
                scene.model,
                chance.choice([LONG] * 30 + ["fatal"]),
                adapter=adapter,
                max_tokens=chance.randrange(4, 60),
                samplings=drawn(chance.randrange(1, 4)),
                priority=chance.choice(["interactive", "normal", "background"]),
                session=f"s{n % 4}",
                deadline_ms=chance.choice([0, 0, 0, 0, 0, 200]),
            )
            adapters[name] = adapter
            if chance.random() < 0.15:
                client.cancel(chance.choice(list(adapters)))
            if n % 60 == 59:
                watcher.health_until(60, engine="unloaded")
        until = time.monotonic() + 60
        while len(answers) < len(adapters):
            answer = client.receive(until - time.monotonic())
            answers.setdefault(answer.id, []).append(answer)
        for name, got in answers.items():
            assert len(got) == 1
            assert not isinstance(got[0], WorkerBusy)
            if isinstance(got[0], RequestFailed):
                assert fair(got[0]), got[0]
            elif isinstance(got[0], Completed) and (adapter := adapters[name]) is not None:
                says = ("first", "second", "third", "fourth", "fifth")[scene.adapters.index(adapter)]
                assert all(output.text.startswith(f" written under the {says}") or " alive" in output.text for output in got[0].outputs)
        assert sum(isinstance(got[0], Completed) for got in answers.values()) > 100
        health = watcher.health_until(10, waiting=0, running=0)
        assert health.engine_starts >= 3
        suspect = {adapters[name] for name, got in answers.items() if isinstance(got[0], RequestFailed) and got[0].type == "BadAdapter"}
        assert len(suspect) < len(scene.adapters)
        for n, adapter in enumerate(scene.adapters):
            assert adapter in suspect or client.text(scene.model, LONG, adapter=adapter, max_tokens=4), n
        log = scene.worker.log.read_text()
        assert "reason of ours" not in log
        assert "did not give up" not in log
        with pytest.raises(TimeoutError):
            client.receive(0.2)
        watcher.close()

"""One worker with a fake engine and one with the real one, each started once, for the suite that both must pass."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.inference import files
from tests.inference.service import Client, WorkerProcess, running_worker
from tests.model import converted_model

QUEUE = 8
LONG = "Once upon a time there was a"
"""A prompt that every engine here goes on about for hundreds of tokens."""


@dataclass
class Scene:
    """A worker with a model and two adapters that change what it says, and a client."""

    worker: WorkerProcess
    client: Client
    model: str
    adapters: list[str]
    real: bool

    @property
    def home(self) -> Path:
        return self.worker.home


def fake_scene(home: Path, rules: list[dict[str, object]], **settings: object) -> Iterator[Scene]:
    base = files.toy_model(home / "source" / "model")
    model = files.put(base, home / "models")
    adapters = [files.put(files.random_adapter(home / "source" / f"a{n}", files.read(base), seed=n), home / "adapters") for n in range(2)]
    script = {
        "tokens_per_s": 200,
        "rules": [
            *rules,
            {"adapter": adapters[0], "text": " written under the first adapter" * 60},
            {"adapter": adapters[1], "text": " written under the second adapter" * 60},
            {"contains": LONG, "text": " little cat that went on and on" * 60},
        ],
        "default": "    return self.price * self.quantity",
    }
    (home / "script.json").write_text(json.dumps(script))
    with running_worker(home, "--engine", "fake", "--script", str(home / "script.json"), **settings) as worker, worker.client() as client:
        yield Scene(worker, client, model, adapters, real=False)


def real_scene(home: Path, **settings: object) -> Iterator[Scene]:
    base = converted_model()
    model = files.put(base, home / "models")
    shapes = files.read(base)
    adapters = [
        files.put(files.random_adapter(home / "source" / f"a{n}", shapes, seed=n, scale=1.0, rank=8), home / "adapters") for n in range(2)
    ]
    # In bfloat16 the size of a batch decides near ties, and a random adapter has many.
    options = {"dtype": "float32", "max_loras": 2, "kv_cache_gib": 0.25, "max_model_len": 1024} | settings
    with running_worker(home, **options) as worker, worker.client() as client:
        yield Scene(worker, client, model, adapters, real=True)


@pytest.fixture(scope="session")
def real_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from real_scene(tmp_path_factory.mktemp("real"), queue=QUEUE)


@pytest.fixture(scope="session")
def fake_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from fake_scene(tmp_path_factory.mktemp("fake"), [], queue=QUEUE)


@pytest.fixture(params=["fake_worker", pytest.param("real_worker", marks=pytest.mark.model)])
def scene(request: pytest.FixtureRequest) -> Scene:
    """The conformance suite's worker, with a client of its own and nothing under way."""
    found: Scene = request.getfixturevalue(request.param)
    return found

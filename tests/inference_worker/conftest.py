"""Workers for the suite that all must pass, each started once: with a fake engine, the real one, and one that asks vLLM's server."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.inference_worker import files
from tests.inference_worker.service import Client, WorkerProcess, running_worker
from tests.inference_worker.vllm_server import KEY, ModelServer, running_server
from tests.model import converted_model

QUEUE = 8
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
LONG = "Once upon a time there was a"
"""A prompt that every engine here goes on about for hundreds of tokens."""


@dataclass
class Scene:
    """A worker with a model and adapters that change what it says, and a client."""

    worker: WorkerProcess
    client: Client
    model: str
    adapters: list[str]
    real: bool

    @property
    def home(self) -> Path:
        return self.worker.home


def fake_scene(
    home: Path,
    rules: list[dict[str, object]],
    script: dict[str, object] | None = None,
    adapters: int = 2,
    arguments: tuple[str, ...] = (),
    **settings: object,
) -> Iterator[Scene]:
    """A worker whose fake engine follows `rules`, then says something of its own under each adapter; `script`: its further keys."""
    base = files.toy_model(home / "source" / "model")
    model = files.put(base, home / "models")
    directories = [files.random_adapter(home / "source" / f"a{n}", files.read(base), seed=n) for n in range(adapters)]
    digests = [files.put(directory, home / "adapters") for directory in directories]
    text = {
        "tokens_per_s": 200,
        "rules": [
            *rules,
            *({"adapter": digest, "text": f" written under the {ORDINALS[n]} adapter" * 60} for n, digest in enumerate(digests)),
            {"contains": LONG, "text": " little cat that went on and on" * 60},
        ],
        "default": "    return self.price * self.quantity",
    }
    (home / "script.json").write_text(json.dumps(text | (script or {})))
    fake = ("--engine", "fake", "--script", str(home / "script.json"), *arguments)
    with running_worker(home, *fake, **settings) as worker, worker.client() as client:
        yield Scene(worker, client, model, digests, real=False)


def real_scene(home: Path, **settings: object) -> Iterator[Scene]:
    model, adapters = real_files(home)
    # In bfloat16 the size of a batch decides near ties, and a random adapter has many.
    options = {"dtype": "float32", "max_loras": 2, "kv_cache_gib": 0.25, "max_model_len": 1024} | settings
    with running_worker(home, **options) as worker, worker.client() as client:
        yield Scene(worker, client, model, adapters, real=True)


def endpoint_scene(home: Path, server: ModelServer, **settings: object) -> Iterator[Scene]:
    """A worker whose texts are written by vLLM's server."""
    model, adapters = real_files(home)
    key = home / "endpoint.key"
    key.write_text(KEY)
    key.chmod(0o600)
    with running_worker(home, endpoint=server.url, endpoint_key=key, max_loras=2, **settings) as worker, worker.client() as client:
        yield Scene(worker, client, model, adapters, real=True)


def real_files(home: Path) -> tuple[str, list[str]]:
    """The default model, and three adapters that make it say something else, put into a home."""
    base = converted_model()
    shapes = files.read(base)
    directories = [files.random_adapter(home / "source" / f"a{n}", shapes, seed=n, scale=1.0, rank=8) for n in range(3)]
    return files.put(base, home / "models"), [files.put(directory, home / "adapters") for directory in directories]


@pytest.fixture(scope="session")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    model = converted_model()
    with running_server(tmp_path_factory.mktemp("server"), model, ["tiny", files.read(model).digest]) as server:
        yield server


@pytest.fixture(scope="session")
def endpoint_worker(tmp_path_factory: pytest.TempPathFactory, model_server: ModelServer) -> Iterator[Scene]:
    yield from endpoint_scene(tmp_path_factory.mktemp("endpoint"), model_server, queue=QUEUE)


@pytest.fixture(scope="session")
def real_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from real_scene(tmp_path_factory.mktemp("real"), queue=QUEUE)


@pytest.fixture(scope="session")
def fake_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from fake_scene(tmp_path_factory.mktemp("fake"), [], {"slots": 2}, adapters=3, queue=QUEUE, max_loras=2)


@pytest.fixture(params=["fake_worker", *(pytest.param(name, marks=pytest.mark.model) for name in ("real_worker", "endpoint_worker"))])
def scene(request: pytest.FixtureRequest) -> Scene:
    """The conformance suite's worker, with a client of its own and nothing under way."""
    requested: Scene = request.getfixturevalue(request.param)
    return requested

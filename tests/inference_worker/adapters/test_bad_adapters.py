"""No adapter brings the engine down: each of the corpus is refused by type, by the check alone and by a worker with a real engine."""

import shutil
from collections import deque
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.digest import directory_digest
from inference_worker.adapters.adapter import BaseModel, Unsound, check_adapter
from inference_worker.errors import BadAdapter
from inference_worker.protocol import Completed, RequestFailed
from tests.inference_worker import files
from tests.inference_worker.bad_adapters import BAD, spoil
from tests.inference_worker.conftest import QUEUE, Scene

MAX_RANK = 8


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return files.read(files.toy_model(tmp_path_factory.mktemp("base") / "model"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, model: BaseModel) -> Path:
    return files.random_adapter(tmp_path_factory.mktemp("good") / "adapter", model, scale=1.0)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_adapter_is_refused_with_what_is_wrong(tmp_path: Path, model: BaseModel, good: Path, kind: str) -> None:
    directory = tmp_path / "bad"
    shutil.copytree(good, directory)
    check_adapter(directory, directory_digest(directory), model, MAX_RANK)
    digest = spoil(directory, BAD[kind])
    with pytest.raises(BadAdapter, match=BAD[kind].message) as refused:
        check_adapter(directory, digest, model, MAX_RANK)
    assert refused.value.type == "BadAdapter" and digest in str(refused.value)
    assert isinstance(refused.value, Unsound) == BAD[kind].unsound
    assert len(str(refused.value)) < 2000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(draws=st.data())
def test_damage_anywhere_is_never_more_than_a_bad_adapter(tmp_path: Path, model: BaseModel, good: Path, draws: st.DataObject) -> None:
    directory = tmp_path / "fuzzed"
    if not directory.exists():
        shutil.copytree(good, directory)
    file = directory / draws.draw(st.sampled_from(["adapter_model.safetensors", "adapter_config.json"]))
    sound = file.read_bytes()
    digest = directory_digest(directory)
    damaged = bytearray(sound)
    for at in draws.draw(st.lists(st.integers(0, len(sound) - 1), max_size=8)):
        damaged[at] ^= draws.draw(st.integers(1, 255))
    file.write_bytes(damaged[: draws.draw(st.integers(0, len(sound)) | st.just(len(sound)))])
    try:
        if file.read_bytes() != sound:
            with pytest.raises(Unsound, match="damaged"):
                check_adapter(directory, digest, model, MAX_RANK)
        try:
            check_adapter(directory, directory_digest(directory), model, MAX_RANK)
        except BadAdapter:
            return
        # The header alone must be judged as safely, since bytes that were verified are not read again.
        check_adapter(directory, directory_digest(directory), model, MAX_RANK, verified=True)
    finally:
        file.write_bytes(sound)


def test_no_bad_adapter_costs_anybody_the_engine(scene: Scene, tmp_path: Path) -> None:
    """Each kind is asked for beside a request that is decoded, and one and the same engine answers before and after all of them."""
    shapes = files.read(scene.home / "models" / scene.model)
    good = files.random_adapter(tmp_path / "good", shapes, scale=0.1)
    with scene.worker.client() as client:
        before = client.generate(scene.model, "Hello", max_tokens=4, adapter=scene.adapters[0])
        assert isinstance(before, Completed)
        starts = client.health().engine_starts
        waiting = deque(BAD)
        while waiting:
            # As many at once as the worker takes: what this costs is the decoding of what is beside them.
            together: dict[str, str] = {}
            while waiting and len(together) < QUEUE - 2:
                directory = tmp_path / f"bad{len(together)}"
                shutil.copytree(good, directory)
                digest = spoil(directory, BAD[waiting[0]])
                if digest in together:  # those whose damage came after the digest all have that of the good one
                    shutil.rmtree(directory)
                    break
                directory.rename(scene.home / "adapters" / digest)
                together[digest] = waiting.popleft()
            beside = client.start(scene.model, "Once upon a time", max_tokens=4)
            kinds = {client.start(scene.model, "Hello", max_tokens=4, adapter=digest): kind for digest, kind in together.items()}
            for request, kind in kinds.items():
                answer, _ = client.finish(request)
                assert isinstance(answer, RequestFailed) and answer.type == "BadAdapter", (kind, answer)
            assert isinstance(client.finish(beside)[0], Completed), together
            for outside in tmp_path.glob("bad*-outside"):
                outside.unlink()
        after = client.generate(scene.model, "Hello", max_tokens=4, adapter=scene.adapters[0])
        assert isinstance(after, Completed) and after.outputs == before.outputs
        assert client.health().engine_starts == starts


def test_an_adapter_at_the_bounds_spoils_nobody_elses_answer(scene: Scene, tmp_path: Path) -> None:
    """The largest values that are accepted: whatever nonsense it writes, who is decoded beside it does not notice."""
    wild = files.random_adapter(tmp_path / "wild", files.read(scene.home / "models" / scene.model), scale=3000.0)
    digest = files.put(wild, scene.home / "adapters")
    with scene.worker.client() as client:
        alone = client.text(scene.model, "Once upon a time", max_tokens=8, adapter=scene.adapters[0])
        wilds = [client.start(scene.model, "Hello", max_tokens=8, adapter=digest, logprobs=True) for _ in range(2)]
        assert client.text(scene.model, "Once upon a time", max_tokens=8, adapter=scene.adapters[0]) == alone
        assert all(isinstance(client.finish(name)[0], Completed) for name in wilds)

"""What clients get when adapters, priorities and the queue meet: a real worker process, its sockets, and the fake engine."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.digest import directory_digest
from inference_worker.protocol import AskChunk, AskFiles, Chunk, Completed, Files, RequestFailed
from tests.inference_worker import files
from tests.inference_worker.conftest import LONG, ORDINALS, Scene, fake_scene
from tests.inference_worker.service import Client, drawn, running_worker


def first_to_finish(client: Client, names: list[str], timeout_s: float = 60.0) -> list[str]:
    """The names in the order in which they are answered."""
    order: list[str] = []
    until = time.monotonic() + timeout_s
    while len(order) < len(names):
        answer = client.receive(until - time.monotonic())
        if answer.id in names and isinstance(answer, Completed | RequestFailed):
            assert isinstance(answer, Completed), answer
            order.append(answer.id)
    return order


# --- loading ----------------------------------------------------------------------------------------------------------


def test_a_request_whose_adapter_loads_slowly_delays_nobody(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, [], {"read_s": 1.5}):
        scene.client.text(scene.model, "x", max_tokens=1)
        slow = scene.client.start(scene.model, LONG, adapter=scene.adapters[0], max_tokens=4)
        quick = [scene.client.start(scene.model, LONG, max_tokens=20) for _ in range(3)]
        assert first_to_finish(scene.client, [slow, *quick])[-1] == slow


def test_an_adapter_is_found_cold_then_hot_and_the_answer_says_so(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, []):
        plain = scene.client.completed(scene.model, "x", max_tokens=2)
        first, second = (scene.client.completed(scene.model, "x", adapter=scene.adapters[0], max_tokens=2) for _ in range(2))
        assert (plain.found, first.found, second.found) == ("", "cold", "hot")
        assert (plain.mode, first.mode, second.mode) == ("base", "adapter", "adapter")
        assert 0 < first.first_token_s <= first.queued_s + first.engine_s


def test_with_one_slot_both_adapters_are_served_and_none_is_taken_from_under_a_request(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, [], {"slots": 1}, max_loras=1):
        names = [scene.client.start(scene.model, LONG, adapter=scene.adapters[n % 2], max_tokens=40) for n in range(8)]
        for n, name in enumerate(names):
            answer, _ = scene.client.finish(name)
            assert isinstance(answer, Completed)
            assert answer.outputs[0].text.startswith((" written under the first", " written under the second")[n % 2])
        # A slot taken from under a request, or a second adapter in it, would have ended the fake engine.
        assert scene.client.health().engine_starts == 1
        hot = next(tier for tier in scene.client.adapters().tiers if tier.name == "hot")
        assert hot.adapters == 1
        assert hot.entered > hot.left >= 1


def test_what_ram_has_no_room_for_is_read_again_when_it_is_asked_for(tmp_path: Path) -> None:
    # Each of the toy model's adapters takes 896 bytes.
    for scene in fake_scene(tmp_path, [], {"slots": 1}, adapters=4, max_loras=1, ram_gib=2000 / 2**30):
        for n in (0, 1, 2, 3, 0, 1):
            answer = scene.client.completed(scene.model, LONG, adapter=scene.adapters[n], max_tokens=4)
            assert answer.outputs[0].text.endswith(ORDINALS[n])
        listing = scene.client.adapters()
        warm = next(tier for tier in listing.tiers if tier.name == "warm")
        assert warm.used <= warm.budget < 2001
        assert warm.left >= 2
        assert scene.client.health().engine_starts == 1


def test_a_deadline_that_passes_while_the_adapter_loads_is_told_and_the_next_one_finds_it(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, [], {"read_s": 1.0}):
        scene.client.text(scene.model, "x", max_tokens=1)
        late = scene.client.generate(scene.model, LONG, adapter=scene.adapters[0], deadline_ms=200)
        assert isinstance(late, RequestFailed)
        assert late.type == "DeadlineExceeded"
        assert scene.client.completed(scene.model, LONG, adapter=scene.adapters[0], max_tokens=2).mode == "adapter"


def test_an_adapter_that_kills_engines_while_it_loads_is_refused_and_the_others_are_served(tmp_path: Path) -> None:
    # The same bytes in any home: adapters are drawn from their number.
    model = files.read(files.toy_model(tmp_path / "model"))
    victim = directory_digest(files.random_adapter(tmp_path / "victim", model, seed=0))
    for scene in fake_scene(tmp_path / "home", [], {"deadly": [victim]}):
        answer = scene.client.generate(scene.model, LONG, adapter=victim)
        assert isinstance(answer, RequestFailed)
        assert answer.type == "BadAdapter"
        assert "died" in answer.message
        starts = scene.client.health().engine_starts
        assert scene.client.text(scene.model, LONG, adapter=scene.adapters[1], max_tokens=4).endswith(" second")
        assert isinstance(scene.client.generate(scene.model, LONG, adapter=victim), RequestFailed)
        assert scene.client.health().engine_starts == starts == 3


# --- order ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def one_at_a_time(tmp_path: Path) -> Iterator[Scene]:
    yield from fake_scene(tmp_path, [], max_streams=1, reserved_streams=0)


def test_who_a_person_waits_for_goes_before_who_nobody_waits_for(one_at_a_time: Scene) -> None:
    client, model = one_at_a_time.client, one_at_a_time.model
    client.first_delta(client.start(model, LONG, max_tokens=200, stream=True))
    names = {kind: client.start(model, LONG, max_tokens=2, priority=kind) for kind in ("background", "normal", "interactive")}
    assert first_to_finish(client, list(names.values())) == [names["interactive"], names["normal"], names["background"]]


def test_a_client_with_a_long_backlog_does_not_keep_another_waiting(one_at_a_time: Scene) -> None:
    client, model = one_at_a_time.client, one_at_a_time.model
    with one_at_a_time.worker.client() as another:
        another.health()
        for _ in range(12):
            client.start(model, LONG, max_tokens=150)
        client.health_until(10, running=1, waiting=11)
        another.text(model, LONG, max_tokens=2)
        assert another.health().waiting >= 6, "it was answered long before the backlog that was there first"


def test_background_requests_leave_streams_to_a_person(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, [{"contains": "batch", "delay_s": 60}], max_streams=4, reserved_streams=2):
        batch = [scene.client.start(scene.model, "batch", priority="background") for _ in range(6)]
        assert scene.client.health_until(10, running=2, waiting=4).streams == 4
        person = scene.client.completed(scene.model, LONG, max_tokens=2, priority="interactive")
        assert person.outputs[0].tokens == 2
        assert scene.client.health().waiting == 4, "it passed those that waited, and ran beside those that ran"
        for name in batch:
            scene.client.cancel(name)


def test_cancelling_frees_the_slot_for_who_waits_for_it(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, [], {"slots": 1}, max_loras=1):
        holder = scene.client.start(scene.model, LONG, adapter=scene.adapters[0], max_tokens=2000, stream=True)
        scene.client.first_delta(holder)
        waiting = scene.client.start(scene.model, LONG, adapter=scene.adapters[1], max_tokens=2)
        scene.client.cancel(holder)
        assert isinstance(scene.client.finish(waiting, timeout_s=10)[0], Completed)
        assert scene.client.health().engine_starts == 1


def test_a_client_that_leaves_takes_its_requests_with_it_though_nothing_is_sent_to_it(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, [{"contains": "silent", "delay_s": 60, "text": "x"}], max_streams=1):
        with scene.worker.client() as leaver:
            leaver.start(scene.model, "silent")
            scene.client.health_until(10, running=1)
        scene.client.health_until(10, running=0)
        assert scene.client.text(scene.model, "x", max_tokens=1)


# --- the engine's life --------------------------------------------------------------------------------------------------


def test_an_idle_engine_is_put_to_sleep_and_wakes_at_the_next_request(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, [], idle_s=0.5):
        scene.client.text(scene.model, LONG, adapter=scene.adapters[0], max_tokens=1)
        asleep = scene.client.health_until(15, engine="unloaded")
        assert "asleep after 0.5 s" in asleep.detail
        assert asleep.adapters == []
        woken = scene.client.completed(scene.model, LONG, adapter=scene.adapters[0], max_tokens=1)
        assert woken.found == "cold"
        assert scene.client.health().engine_starts == 2


def test_after_a_death_adapters_become_hot_again_as_they_are_asked_for(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, [{"contains": "kill", "dies": 1, "text": " alive"}]):
        for adapter in scene.adapters:
            scene.client.text(scene.model, LONG, adapter=adapter, max_tokens=1)
        watched = scene.client.start(scene.model, LONG, adapter=scene.adapters[1], max_tokens=100)
        assert scene.client.text(scene.model, "kill", adapter=scene.adapters[0]) == " alive"
        answer, _ = scene.client.finish(watched)
        assert isinstance(answer, Completed)
        assert answer.outputs[0].text.startswith(" written under the second")
        assert {scene.client.tier_of(adapter) for adapter in scene.adapters} == {"hot"}
        assert scene.client.health().engine_starts == 2


def test_who_waits_for_a_start_that_nobody_else_wants_any_more_is_not_kept_by_it(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, [], {"start_s": 2.0}):
        another = files.toy_model(scene.home / "source" / "other")
        (another / "config.json").write_text('{"model_type": "toy", "max_position_embeddings": 99}')
        digest = files.put(another, scene.home / "models")
        given_up = scene.client.start(scene.model, "x")
        scene.client.health_until(10, engine="starting", model=scene.model)
        scene.client.cancel(given_up)
        assert scene.client.text(digest, "x", max_tokens=1)
        assert scene.client.health().model == digest


def test_when_another_model_is_asked_for_who_was_first_finishes_and_nobody_is_dropped(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, [], {"start_s": 0.3}):
        another = files.toy_model(scene.home / "source" / "other")
        (another / "config.json").write_text('{"model_type": "toy", "max_position_embeddings": 99}')
        digest = files.put(another, scene.home / "models")
        scene.client.text(scene.model, "x", max_tokens=1)
        under_way = [scene.client.start(scene.model, LONG, adapter=adapter, max_tokens=60) for adapter in (None, scene.adapters[0])]
        scene.client.health_until(10, running=2)
        after = [scene.client.start(digest, LONG, max_tokens=4) for _ in range(3)]
        order = first_to_finish(scene.client, [*under_way, *after])
        assert set(order[:2]) == set(under_way)
        health = scene.client.health()
        assert health.model == digest and health.engine_starts == 2


# --- adapters as files ------------------------------------------------------------------------------------------------


def test_ten_thousand_adapters_are_known_at_the_start(tmp_path: Path) -> None:
    pattern = tmp_path / "adapter_config.json"
    pattern.write_text(json.dumps(files.CONFIG))
    for number in range(10_000):
        directory = tmp_path / "adapters" / f"{number:064x}"
        directory.mkdir(parents=True)
        (directory / pattern.name).hardlink_to(pattern)
    for scene in fake_scene(tmp_path, []):
        listing = scene.client.adapters(limit=5)
        assert listing.registered == 10_002
        assert len(listing.adapters) == 5
        assert scene.client.text(scene.model, LONG, adapter=scene.adapters[0], max_tokens=1)
        used = scene.client.adapters(limit=1).adapters[0]
        assert (used.adapter, used.tier, used.uses, used.rank) == (scene.adapters[0], "hot", 1, 4)


def test_a_damaged_adapter_is_quarantined_and_served_once_it_is_whole_again(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, []):
        place = scene.home / "adapters" / scene.adapters[0]
        weights = place / "adapter_model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        answer = scene.client.generate(scene.model, LONG, adapter=scene.adapters[0])
        assert isinstance(answer, RequestFailed)
        assert answer.type == "BadAdapter"
        listing = scene.client.adapters()
        assert (listing.registered, listing.quarantined) == (1, 1)
        bad = next(state for state in listing.adapters if state.tier == "quarantined")
        assert bad.adapter == scene.adapters[0]
        assert bad.detail
        assert not place.exists()
        files.put(scene.home / "source" / "a0", scene.home / "adapters")
        assert scene.client.text(scene.model, LONG, adapter=scene.adapters[0], max_tokens=4).startswith(" written under the first")


def test_what_is_put_into_the_home_or_taken_out_is_noticed_without_being_named(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, []):
        removed, stays = scene.adapters
        (tmp_path / "adapters" / removed).rename(tmp_path / "elsewhere")
        late_directory = files.random_adapter(tmp_path / "source" / "late", files.read(tmp_path / "models" / scene.model), seed=7)
        late = files.put(late_directory, tmp_path / "adapters")
        until = time.monotonic() + 40
        while {state.adapter for state in scene.client.adapters().adapters} != {stays, late}:
            assert time.monotonic() < until, scene.client.adapters()
        assert isinstance(scene.client.generate(scene.model, LONG, adapter=removed), RequestFailed)


def test_the_files_of_an_adapter_can_be_read_by_their_list(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path, []):
        digest = scene.adapters[0]
        scene.client.send(AskFiles(id="f", adapter=digest))
        listed, _ = scene.client.finish("f")
        assert isinstance(listed, Files)
        for file in listed.files:
            content = b""
            while len(content) < file.size:
                scene.client.send(AskChunk(id="c", adapter=digest, path=file.path, offset=len(content), length=500))
                chunk, _ = scene.client.finish("c")
                assert isinstance(chunk, Chunk)
                content += chunk.data
            assert content == (scene.home / "adapters" / digest / file.path).read_bytes()
        scene.client.send(AskChunk(id="c", adapter=digest, path="../../script.json", offset=0, length=10))
        refused, _ = scene.client.finish("c")
        assert isinstance(refused, RequestFailed)
        assert refused.type == "BadAdapter"


def test_a_worker_without_the_adapter_fetches_it_from_a_peer(tmp_path: Path) -> None:
    for scene in fake_scene(tmp_path / "peer", []):
        home = tmp_path / "here"
        (home / "models").mkdir(parents=True)
        shutil.copytree(scene.home / "models" / scene.model, home / "models" / scene.model)
        (home / "batos.toml").write_text(f'[inference]\npeers = ["{scene.worker.endpoint}"]\n')
        script = str(scene.home / "script.json")
        with running_worker(home, "--engine", "fake", "--script", script) as worker, worker.client() as client:
            answer = client.completed(scene.model, LONG, adapter=scene.adapters[0], max_tokens=4)
            assert answer.found == "remote"
            assert answer.outputs[0].text.startswith(" written under the first")
            missing = client.generate(scene.model, LONG, adapter="0" * 64)
            assert isinstance(missing, RequestFailed)
            assert missing.type == "BadAdapter"
        # A disk's budget that it is over holds for what was fetched in an earlier life as well.
        (home / "batos.toml").write_text(f'[inference]\npeers = ["{scene.worker.endpoint}"]\ndisk_gib = 1e-9\n')
        with running_worker(home, "--engine", "fake", "--script", script) as worker, worker.client() as client:
            client.health()
            until = time.monotonic() + 20
            while (home / "adapters" / scene.adapters[0]).exists() and time.monotonic() < until:
                client.health()
            assert not (home / "adapters" / scene.adapters[0]).exists()


# --- what is recorded ---------------------------------------------------------------------------------------------------


def test_a_trace_has_a_line_for_each_finished_request(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    for scene in fake_scene(tmp_path, [], arguments=("--trace", str(trace))):
        fields = {"adapter": scene.adapters[0], "samplings": drawn(2), "session": "s", "priority": "interactive"}
        scene.client.text(scene.model, LONG, max_tokens=3, **fields)
        scene.client.generate("0" * 64, "x")
        scene.client.text(scene.model, LONG, max_tokens=2)
        first, second = (json.loads(line) for line in trace.read_text().splitlines())
        assert (first["adapter"], first["session"], first["streams"], first["tokens"]) == (scene.adapters[0], "s", 2, 3)
        assert (first["priority"], first["found"], first["mode"], first["rank"]) == ("interactive", "cold", "adapter", 4)
        assert second["at"] >= first["at"]
        assert "adapter" not in second

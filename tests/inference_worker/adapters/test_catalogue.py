"""The catalogue of adapters on a disk, what it remembers across restarts, and where damaged ones go."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from inference_worker.adapters import catalogue as module
from inference_worker.adapters.adapter import BaseModel
from inference_worker.adapters.catalogue import FETCHED, Catalogue
from inference_worker.adapters.quarantine import MOST, Quarantine
from inference_worker.errors import BadAdapter
from tests.inference_worker import files

MAX_RANK = 8


@pytest.fixture
def model(tmp_path: Path) -> BaseModel:
    return files.read(files.toy_model(tmp_path / "model"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "adapters"
    directory.mkdir()
    return directory


def opened(home: Path) -> Catalogue:
    return Catalogue.open(home, home.parent / "run" / "adapters.index")


def add(home: Path, model: BaseModel, seed: int = 0, **config: object) -> str:
    source = home.parent / f"source-{seed}"
    files.random_adapter(source, model, seed=seed, scale=1.0, **config)
    return files.put(source, home)


def hashed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the bytes were read, for each check from now on."""
    readings: list[bool] = []
    real = module.check_adapter

    def watching(path: Path, digest: str, model: BaseModel, max_rank: int, verified: bool) -> object:
        readings.append(not verified)
        return real(path, digest, model, max_rank, verified)

    monkeypatch.setattr(module, "check_adapter", watching)
    return readings


def test_what_lies_in_the_home_is_listed_with_size_and_rank(home: Path, model: BaseModel) -> None:
    digest = add(home, model)
    (home / ".staging").mkdir()
    (home / "notes.txt").write_text("no adapter")
    [listed] = opened(home).entries()
    assert listed.digest == digest and listed.rank == 4 and not listed.verified and not listed.fetched
    assert listed.size == sum(file.stat().st_size for file in (home / digest).iterdir())


def test_a_digest_is_found_as_soon_as_its_owner_put_it_there(home: Path, model: BaseModel) -> None:
    catalogue = opened(home)
    assert catalogue.lookup("a" * 64) is None
    digest = add(home, model)
    entry = catalogue.lookup(digest)
    assert entry is not None and entry.digest == digest


def test_refresh_tells_what_appeared_and_what_vanished(home: Path, model: BaseModel) -> None:
    first = add(home, model, seed=1)
    catalogue = opened(home)
    second = add(home, model, seed=2)
    shutil.rmtree(home / first)
    changes = catalogue.refresh()
    assert [listed.digest for listed in changes.appeared] == [second] and changes.vanished == [first]
    assert not catalogue.refresh().appeared and len(catalogue) == 1


def test_a_change_in_the_instant_of_the_last_look_is_not_missed(home: Path, model: BaseModel) -> None:
    digest = add(home, model)
    catalogue = opened(home)
    before = home.stat()
    shutil.rmtree(home / digest)
    # A file system whose clock ticks slowly still shows the time of before.
    os.utime(home, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert catalogue.refresh().vanished == [digest]


def test_the_bytes_are_read_once_and_not_again_after_a_restart(home: Path, model: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = add(home, model)
    readings = hashed(monkeypatch)
    catalogue = opened(home)
    assert catalogue.check(digest, model, MAX_RANK) == catalogue.check(digest, model, MAX_RANK)
    catalogue.save()
    restarted = opened(home)
    assert [listed.verified for listed in restarted.entries()] == [True]
    restarted.check(digest, model, MAX_RANK)
    assert readings == [True, False, False]


def test_a_file_that_was_written_to_is_read_again_even_with_its_old_times(home: Path, model: BaseModel) -> None:
    digest = add(home, model)
    catalogue = opened(home)
    catalogue.check(digest, model, MAX_RANK)
    file = home / digest / "adapter_model.safetensors"
    times = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(BadAdapter, match="damaged"):
        catalogue.check(digest, model, MAX_RANK)


def test_verified_bytes_are_still_refused_for_a_base_or_a_rank_that_they_do_not_fit(home: Path, model: BaseModel, tmp_path: Path) -> None:
    digest = add(home, model)
    catalogue = opened(home)
    catalogue.check(digest, model, MAX_RANK)
    with pytest.raises(BadAdapter, match="rank is 4; allowed: 1 to 2"):
        catalogue.check(digest, model, 2)
    another = files.toy_model(tmp_path / "other")
    (another / "model.safetensors").write_bytes((another / "model.safetensors").read_bytes().replace(b"q_proj", b"k_proj"))
    with pytest.raises(BadAdapter, match="no linear layer"):
        catalogue.check(digest, files.read(another), MAX_RANK)
    assert (home / digest).is_dir() and not Quarantine(home).entries()


@pytest.mark.parametrize("damage", [lambda c: c[:-3], lambda c: c[:40] + b"\x00" + c[41:], lambda c: b"", lambda c: b"\x93\x01\xa0\xc0"])
def test_a_damaged_index_is_only_a_slower_start(home: Path, model: BaseModel, damage: Callable[[bytes], bytes]) -> None:
    digest = add(home, model)
    first = opened(home)
    first.check(digest, model, MAX_RANK)
    first.save()
    index = home.parent / "run" / "adapters.index"
    index.write_bytes(damage(index.read_bytes()))
    [listed] = opened(home).entries()
    assert listed.digest == digest and not listed.verified


def test_a_configuration_of_any_content_does_not_stop_the_catalogue(home: Path) -> None:
    texts = ["[" * 100_000, '{"r": "x"}', '{"r": 1e999}', '{"r": -5}', "\xff", '{"rank_pattern": {"q": 70000}}']
    for number, text in enumerate(texts):
        directory = home / f"{number:064x}"
        directory.mkdir()
        (directory / "adapter_config.json").write_text(text)
    assert sorted(listed.rank for listed in opened(home).entries()) == [0, 0, 0, 0, 0, 65_535]


def test_only_what_came_from_a_peer_can_be_deleted(home: Path, model: BaseModel) -> None:
    own, fetched = add(home, model, seed=1), add(home, model, seed=2)
    (home / fetched / FETCHED).write_text("tcp://peer:1")
    catalogue = opened(home)
    assert not catalogue.delete(own) and catalogue.delete(fetched)
    assert [listed.digest for listed in catalogue.entries()] == [own]
    assert sorted(entry.name for entry in home.iterdir()) == [own]


def damaged(home: Path, digest: str) -> None:
    file = home / digest / "adapter_model.safetensors"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:-5])


def test_a_damaged_adapter_is_moved_away_with_the_reason_and_its_owner_can_put_it_again(home: Path, model: BaseModel) -> None:
    digest = add(home, model)
    damaged(home, digest)
    catalogue = opened(home)
    with pytest.raises(BadAdapter, match="damaged"):
        catalogue.check(digest, model, MAX_RANK)
    assert catalogue.lookup(digest) is None and not (home / digest).exists()
    [entry] = Quarantine(home).entries()
    assert entry.digest == digest and "damaged or were replaced" in entry.reason and entry.times == 1 and entry.size > 0
    shutil.copytree(home.parent / "source-0", home / digest)
    assert catalogue.check(digest, model, MAX_RANK).rank == 4
    assert catalogue.lookup(digest) is not None


def test_a_blob_that_is_linked_into_the_home_is_moved_and_not_touched(home: Path, model: BaseModel) -> None:
    digest = add(home, model)
    damaged(home, digest)
    blob = home.parent / "blob"
    file = home / digest / "adapter_model.safetensors"
    blob.hardlink_to(file)
    blob.chmod(0o444)
    (home / digest).chmod(0o555)
    before = blob.stat()
    assert Quarantine(home).put(digest, "for the test")
    after = blob.stat()
    assert (after.st_ino, after.st_nlink, after.st_mtime_ns, after.st_mode) == (before.st_ino, 2, before.st_mtime_ns, before.st_mode)


def test_refusing_the_same_digest_again_and_again_keeps_the_last_and_counts(home: Path) -> None:
    quarantine = Quarantine(home)
    for number in range(4):
        (home / ("a" * 64)).mkdir()
        assert quarantine.put("a" * 64, f"reason {number}")
    assert not quarantine.put("a" * 64, "it is gone already")
    [entry] = Quarantine(home).entries()
    assert entry.times == 4 and entry.reason == "reason 3" == quarantine.reason("a" * 64)


def test_the_quarantine_is_bounded(home: Path) -> None:
    quarantine = Quarantine(home)
    for number in range(MOST + 5):
        (home / f"{number:064x}").mkdir()
        assert quarantine.put(f"{number:064x}", "bad")
    quarantined = [entry.digest for entry in quarantine.entries()]
    assert len(quarantined) == MOST and f"{MOST + 4:064x}" in quarantined


def test_what_a_crash_left_half_done_is_swept(home: Path) -> None:
    half = home / ".quarantine" / f"{'b' * 64}-1"
    half.mkdir(parents=True)
    (half / "reason.txt").write_text("2026-01-01T00:00:00Z\nnever moved\n")
    assert not Quarantine(home).entries() and not half.exists()

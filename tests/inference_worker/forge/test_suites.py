"""The held-out suites are suites: what `batos eval` reads, the same for the same seed, and nothing of training in them."""

import json
from pathlib import Path

import pytest

from inference_worker.forge import suites
from inference_worker.forge.words import SERIES, THINGS, on_side
from ui_client.evaluation.suite import SuiteTask, read_suite

TASKS = 25


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("suites")
    assert suites.main(["--seed", "3", "--tasks", str(TASKS), "--out", str(directory)]) == 0
    return directory


def tasks(directory: Path, group: str) -> list[SuiteTask]:
    return read_suite((directory / f"{group}.jsonl").read_bytes())


@pytest.mark.parametrize("group", sorted(suites.GROUPS))
def test_a_group_is_a_suite_of_different_messages(written: Path, group: str) -> None:
    read = tasks(written, group)
    assert {task.grouped for task in read} == {group}
    assert len({task.selector for task in read}) == TASKS


def test_what_can_be_answered_is_checked_on_other_values_and_what_cannot_is_to_be_refused(written: Path) -> None:
    answerable = [task for group in ("seen", "composed", "operations", "examples") for task in tasks(written, group)]
    assert all(task.expect.answerable for task in answerable)
    assert sum(len(task.check) == suites.CHECKS for task in answerable) > 0.8 * len(answerable)
    assert all(task.expect.refused for task in tasks(written, "refused"))
    assert all(len(task.examples) == suites.EXAMPLES for task in tasks(written, "examples"))


def test_the_same_seed_writes_the_same_and_another_one_others(written: Path) -> None:
    again = [json.dumps(line) for line in suites.suite("seen", 3, TASKS)]
    assert (written / "seen.jsonl").read_text().splitlines() == again
    assert [json.loads(line)["selector"] for line in again] != [line["selector"] for line in suites.suite("seen", 4, TASKS)]


def test_no_list_is_named_by_a_word_of_training(written: Path) -> None:
    trained = {word for pool in (SERIES, THINGS) for word in on_side(pool, "train")}
    for task in tasks(written, "composed"):
        several = [name for name, content in task.slots.items() if isinstance(content, list) and name in task.selector]
        assert not [name for name in several if name.removesuffix("s") in trained], task.selector

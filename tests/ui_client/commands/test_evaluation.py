"""`batos eval` before anything runs: what cannot be run is said at once, and starts nothing."""

from pathlib import Path

import pytest

from ui_client.commands.evaluation import THRESHOLDS, _at, _share
from ui_client.evaluation.arms import ARMS, FULL, arms
from ui_client.evaluation.figures import StatedVerdict, curve, share

TASK = '{"id": "a-1", "selector": "total", "slots": {"cost": 3}, "expect": {"result": 3}}\n'


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    file = tmp_path / "suite.jsonl"
    file.write_text(TASK)
    return file


def test_a_broken_suite_is_refused_with_its_lines_and_a_remedy(batos_alone, suite: Path):
    suite.write_text(TASK + '{"id": "b", "selector": "x", "expect": {"refused": true}, "kwargs": 1}\n')
    outcome = batos_alone("eval", str(suite), "--json")
    assert outcome.status == 1
    error = outcome.json["error"]
    assert (
        error["type"] == "BadSuite"
        and "line 2" in error["message"]
        and "kwargs" in error["message"]
        and "docs/evaluation.md" in error["remedy"]
    )


def test_an_arm_that_there_is_not_lists_those_that_there_are(batos_alone, suite: Path):
    outcome = batos_alone("eval", str(suite), "--arm", "no-brain", "--json")
    error = outcome.json["error"]
    assert (outcome.status, error["type"]) == (1, "NoSuchArm")
    assert {FULL, "greedy", "one-persona"} <= set(error["details"]["arms"]) and all(
        arm in error["remedy"] for arm in error["details"]["arms"]
    )


def test_what_changes_settings_cannot_be_had_of_the_service_that_runs(batos_alone, suite: Path):
    outcome = batos_alone("eval", str(suite), "--here", "--arm", "greedy", "--json")
    assert (outcome.status, outcome.json["error"]["type"]) == (1, "BadArguments")


def test_a_report_that_cannot_be_written_is_said_before_anything_runs(batos_alone, suite: Path):
    outcome = batos_alone("eval", str(suite), "--here", "--out", str(suite.parent / "none" / "report.json"), "--json")
    assert (outcome.status, outcome.json["error"]["type"]) == (1, "NoSuchDirectory")


def test_without_a_service_here_is_an_error_with_a_remedy(batos_alone, suite: Path):
    outcome = batos_alone("eval", str(suite), "--here", "--json")
    assert (outcome.status, outcome.json["error"]["type"]) == (1, "BridgeUnreachable")
    assert batos_alone("eval", str(suite.parent / "none.jsonl")).status == 1


def test_an_arm_is_offered_as_far_as_a_version_has_its_settings():
    offered = arms({"uvm.drafts", "inference.adapter"})
    assert FULL in offered and offered["greedy"].settings == {"uvm.drafts": 1} and "no-varied" not in offered
    assert "no-varied" in arms({"uvm.varied"})
    assert all(arm.summary for arm in ARMS.values())


def test_the_printed_curve_takes_from_each_threshold_all_that_is_stated_from_it_on():
    points = curve([StatedVerdict(confidence, confidence > 0.3) for confidence in (0.95, 0.6, 0.2)], 4)
    outcome = {threshold: point.installed for threshold in THRESHOLDS if (point := _at(points, threshold)) is not None}
    assert (outcome[0.0], outcome[0.3], outcome[0.6], outcome[0.9], outcome.get(0.99)) == (3, 2, 2, 1, None)
    assert _share(share(19, 20)) == "19/20 95% [76–99]" and _share(share(0, 0)) == "–"

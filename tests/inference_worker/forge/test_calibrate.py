"""The judgement on drafts is fitted to what an evaluation reported, and keeps its promise on tasks that had no part in it."""

import json
import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference_worker.forge import calibrate
from inference_worker.forge.calibrate import Pick, estimate, tail, threshold


def task(rng, number):
    """A task whose drafts are right where they agree and explain the selector, with noise: as the reports have it."""
    share, explained = rng.random(), rng.choice((0.5, 1.0))
    right = rng.random() < 1 / (1 + math.exp(-(8 * share + 6 * explained - 8)))
    refused = rng.random() < 0.15
    best = {"source": "a", "logprob": -0.1, "right": right, "more": {"group": "a", "features": {"share": share, "explained": explained}}}
    worse = {"source": "b", "logprob": -0.9, "right": False, "more": {"group": "b", "features": {"share": 1 - share, "explained": 0.5}}}
    if refused:
        best["more"]["features"]["explained"] = worse["more"]["features"]["explained"] = 0.0
    for draft in (best, worse):
        draft["more"]["features"] |= {"declined": 0.0, "examples": 1 / 3 if number % 2 else 0.0}
    return {"id": f"t{number}", "expects": "refusal" if refused else "answer", "status": "answered", "drafts": [best, worse]}


def report(seed, number):
    rng = Random(seed)
    return {"tasks": [task(rng, index) for index in range(number)]}


def test_the_command_fits_writes_and_keeps_the_promise_on_fresh_tasks(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(report(1, 900)))
    (tmp_path / "b.json").write_text(json.dumps(report(2, 900)))
    (tmp_path / "fresh.json").write_text(json.dumps(report(3, 2000)))
    out, lines = tmp_path / "decision.json", []
    arguments = [str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--out", str(out), "--check", str(tmp_path / "fresh.json")]
    assert calibrate.main(arguments, lines.append) == 0
    content = json.loads(out.read_text())
    assert content["weights"]["share"] > 0 and content["weights"]["explained"] > 0 and content["fitted"]["delta"] == calibrate.DELTA
    fresh = calibrate.tasks_of(report(3, 2000))
    for kind in calibrate.KINDS:
        decisions = [calibrate.decided(content, fresh_task) for fresh_task in fresh if fresh_task.kind == kind]
        assert calibrate.error_of([(confidence, right) for confidence, right, _ in decisions]) < 0.1
        for risk in (0.1, 0.2, 0.3):
            least = calibrate.least_confidence(content, kind, risk)
            installed = [right for confidence, right, _ in decisions if confidence >= least]
            assert installed and calibrate.wilson(installed.count(False), len(installed))[0] <= risk
        rows = content["thresholds"][kind]
        assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)
    assert "risk 0.1" in "".join(lines) and "Checked on 2000 others" in "".join(lines)


def test_what_cannot_be_shown_is_never_installed(tmp_path):
    (tmp_path / "few.json").write_text(json.dumps(report(1, 60)))
    assert calibrate.main([str(tmp_path / "few.json"), "--out", str(tmp_path / "d.json")], lambda text: None) == 0
    assert json.loads((tmp_path / "d.json").read_text())["thresholds"]["without"][0] == [0.01, calibrate.NEVER]


@pytest.mark.parametrize(
    "content", ["{}", '{"tasks": []}', "no json", '{"tasks": [{"id": "a", "drafts": [{"source": "x", "right": true}]}]}']
)
def test_a_file_that_is_no_report_is_said_so_and_nothing_is_written(tmp_path, capsys, content):
    (tmp_path / "r.json").write_text(content)
    assert calibrate.main([str(tmp_path / "r.json"), "--out", str(tmp_path / "d.json")]) == 1
    assert "batos eval" in capsys.readouterr().err and not (tmp_path / "d.json").exists()


def test_a_draft_of_what_is_to_be_refused_is_wrong_and_what_failed_or_is_hostile_does_not_count():
    rows = report(1, 40)["tasks"]
    refused = next(row for row in rows if row["expects"] == "refusal")
    refused["drafts"][0]["right"] = True
    (refused_task,) = calibrate.tasks_of({"tasks": [refused, {**refused, "status": "failed"}, {**refused, "expects": "containment"}]})
    assert not any(group.right for group in refused_task.groups)


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(1, 200), st.floats(0.01, 0.5))
def test_the_tail_is_the_binomials(wrong, number, risk):
    wrong = min(wrong, number)
    exact = sum(math.comb(number, count) * risk**count * (1 - risk) ** (number - count) for count in range(wrong + 1))
    assert tail(wrong, number, risk) == pytest.approx(exact, rel=1e-6, abs=1e-12)


def test_the_promise_holds_in_nine_of_ten_draws():
    """Scores say nothing here and a fifth is wrong: at a risk below that, a threshold may be found by luck alone, rarely."""
    broken = 0
    for seed in range(200):
        rng = Random(seed)
        picked = [Pick(rng.random(), rng.random() > 0.2, False) for _ in range(200)]
        broken += threshold(picked, 0.19) is not None
    assert broken <= 200 * calibrate.DELTA * 1.6


def test_declining_drafts_are_not_installed_whatever_their_score():
    picks = [Pick(1.0, False, True)] * 50 + [Pick(0.5, True, False)] * 100
    assert threshold(picks, 0.05) == 0.5


def test_what_so_few_tasks_cannot_show_is_estimated_and_no_promise():
    picks = [Pick(1 - number / 40, number != 30, False) for number in range(40)]
    assert threshold(picks, 0.05) is None
    assert estimate(picks, 0.05) == Pick(1 - 39 / 40, True, False).score
    assert estimate(picks, 0.01) is None

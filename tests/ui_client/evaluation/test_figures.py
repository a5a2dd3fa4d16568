"""Shares with their intervals, the curve, calibration; what a report adds up to, and its pictures."""

import math
import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ui_client.evaluation import plot
from ui_client.evaluation.figures import StatedVerdict, calibration, curve, quantile, share, wilson
from ui_client.evaluation.report import FORMAT, DraftReport, EvaluationReport, TaskReport, read, summary, write

counts = some.integers(1, 5000).flatmap(lambda of: some.tuples(some.integers(0, of), some.just(of)))
verdicts = some.lists(some.builds(StatedVerdict, some.floats(0, 1), some.booleans(), some.booleans(), some.booleans()), max_size=60)


@given(counts)
def test_wilsons_interval_holds_the_share_within_0_and_1(counted: tuple[int, int]) -> None:
    count, of = counted
    low, high = wilson(count, of)
    assert 0 <= low <= count / of <= high <= 1
    mirrored = wilson(of - count, of)
    assert math.isclose(1 - low, mirrored[1], abs_tol=1e-9) and math.isclose(1 - high, mirrored[0], abs_tol=1e-9)


def test_wilsons_interval_is_the_published_one():
    # Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for count, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)):
        assert wilson(count, of) == pytest.approx((low, high), abs=5e-5)


def test_a_share_of_nothing_says_nothing_and_more_than_all_is_an_error():
    assert share(0, 0).share is None
    with pytest.raises(ValueError, match="no share"):
        share(2, 1)


def test_quantiles_lie_between_neighbours():
    assert quantile([], 0.5) is None
    assert quantile([3], 0.95) == 3
    assert quantile([4, 1, 3, 2], 0.5) == 2.5
    assert quantile(range(101), 0.95) == 95


@given(verdicts, some.integers(0, 100))
def test_recall_never_falls_as_the_threshold_does_and_the_last_point_has_all(stated: list[StatedVerdict], more: int) -> None:
    answerable = sum(verdict.answerable for verdict in stated) + more
    points = curve(stated, answerable)
    assert [point.threshold for point in points] == sorted({verdict.confidence for verdict in stated}, reverse=True)
    assert [point.recall.count for point in points] == sorted(point.recall.count for point in points)
    if points:
        assert points[-1].installed == len(stated)
        assert points[-1].precision.count == sum(verdict.right for verdict in stated)


def test_the_curve_of_three():
    stated = [StatedVerdict(0.9, True), StatedVerdict(0.5, False), StatedVerdict(0.7, True, answerable=False)]
    points = curve(stated, 4)
    assert [(point.precision.count, point.precision.of, point.recall.count, point.recall.of) for point in points] == [
        (1, 1, 1, 4),
        (2, 2, 1, 4),
        (2, 3, 1, 4),
    ]


@given(verdicts)
def test_the_calibration_error_lies_within_0_and_1_and_its_bins_hold_all(stated: list[StatedVerdict]) -> None:
    measured = calibration(stated)
    assert len(measured.bins) == 10 and sum(bin_.right.of for bin_ in measured.bins) == len(stated) == measured.of
    assert (measured.error is None) if not stated else 0 <= (measured.error or 0) <= 1


def test_a_true_confidence_has_nearly_no_error_and_a_boast_has_all_of_it():
    chance = random.Random(7)
    true = [StatedVerdict(confidence, chance.random() < confidence) for confidence in (chance.random() for _ in range(20_000))]
    assert (calibration(true).error or 0) < 0.02
    assert calibration([StatedVerdict(1.0, False)] * 5).error == 1.0
    assert calibration([StatedVerdict(0.8, True)] * 4 + [StatedVerdict(0.8, False)]).error == pytest.approx(0)


def task(number: int, **fields: Any) -> TaskReport:
    plain = {
        "group": "a",
        "selector": "s",
        "expects": "answer",
        "examples": 0,
        "status": "answered",
        "right": True,
        "why": "",
        "installed": True,
    }
    return TaskReport(**{"id": f"a-{number}", **plain, "seconds": float(number), "tokens": 10, **fields})


def draft(**fields: Any) -> DraftReport:
    plain: dict[str, Any] = {
        "source": "def s(self):\n    pass\n",
        "persona": "brick",
        "right": True,
        "why": "",
        "cases": [True],
        "fit": True,
    }
    plain |= {"chosen": True, "outcome": "ok", "outcome_why": "", "agreement": 1, "logprob": -0.1, "tokens": 10, "temperature": 0.0}
    plain |= {"seed": None, "mode": "merged", "examples": 0, "examples_passed": 0, "trial": {}, "more": {}}
    return DraftReport(**plain | fields)


TASKS = [
    task(1, confidence=0.9, first_draft=True, any_draft=True),
    task(2, confidence=0.4, right=False, first_draft=False, any_draft=True),
    task(3, installed=False, status="refused", right=False, confidence=0.2, drafts=[draft()], first_draft=True, any_draft=True),
    task(4, installed=False, status="refused", right=True, expects="refusal", group="b", first_draft=True, any_draft=True),
    task(5, installed=False, status="failed", right=None, group="b", error="BridgeUnreachable"),
]


def test_a_summary_counts_what_failed_nowhere_else():
    whole = summary(TASKS)
    assert (whole.overall.tasks, whole.overall.failed) == (5, 1)
    assert (whole.overall.installed.count, whole.overall.installed.of) == (2, 4)
    assert (whole.overall.precision.count, whole.overall.precision.of) == (1, 2)
    assert (whole.overall.recall.count, whole.overall.recall.of) == (2, 4)
    assert (whole.overall.refused.count, whole.overall.first_draft.count, whole.overall.any_draft.count) == (2, 3, 4)
    assert (whole.groups["b"].tasks, whole.groups["b"].failed, whole.groups["b"].precision.share) == (2, 1, None)
    assert (whole.overall.seconds_median, whole.overall.tokens) == (2.5, 40)
    assert (whole.answerable, whole.answered_right.count, whole.stated) == (3, 1, 3)
    assert [point.threshold for point in whole.curve] == [0.9, 0.4, 0.2]
    assert (whole.curve[-1].recall.count, whole.curve[-1].recall.of) == (2, 3)


def test_a_report_comes_back_as_it_was_written_and_is_drawn(tmp_path: Path):
    report = EvaluationReport(FORMAT, {"suite": "s"}, summary(TASKS), TASKS)
    file = tmp_path / "report.json"
    file.write_text("an older one")
    write(file, report)
    assert read(file) == report
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"], "no temporary file stays"
    assert plot.main([str(file), "--out", str(tmp_path / "pictures")]) == 0
    for name in ("calibration.svg", "precision-recall.svg"):
        picture = ElementTree.parse(tmp_path / "pictures" / name)
        assert len(picture.findall(".//{http://www.w3.org/2000/svg}circle")) >= 2


def test_a_report_without_a_stated_confidence_is_drawn_as_such_and_what_is_none_is_an_error(tmp_path: Path, capsys):
    silent = EvaluationReport(FORMAT, {}, summary([task(1)]), [task(1)])
    assert silent.summary.curve == [] and silent.summary.calibration.error is None
    texts = [path.read_text() for path in plot.draw({"mine": silent}, tmp_path)]
    assert all("mine: no stated confidence" in text for text in texts)
    (tmp_path / "broken.json").write_text("{}")
    assert plot.main([str(tmp_path / "broken.json"), "--out", str(tmp_path)]) == 1
    assert "batos eval" in capsys.readouterr().err

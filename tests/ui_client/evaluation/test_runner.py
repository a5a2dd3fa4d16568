"""A suite on a real image with real trials and a scripted model: what is installed is judged, and every draft beside it."""

import json
from typing import Any

import pytest

from ui_client.client.errors import BridgeUnreachable
from ui_client.evaluation.arms import ARMS, set_up
from ui_client.evaluation.report import TaskReport, summary
from ui_client.evaluation.runner import SuiteRun
from ui_client.evaluation.suite import SuiteTask, read_suite

PRODUCT, SUM, TEN = "    return self.cost * self.pieces", "    return self.cost + self.pieces", "    return 10"
DECLINE = "    return decline('nothing here weighs anything')"
CHECKS = [{"slots": {"cost": 3, "pieces": 5}, "result": 15}, {"slots": {"cost": 0, "pieces": 5}, "result": 0}]


def suite(*tasks: dict[str, Any]) -> list[SuiteTask]:
    plain = {"id": "a-1", "selector": "total", "slots": {"cost": 2.5, "pieces": 4}, "expect": {"result": 10}}
    lines = [json.dumps(plain | {"id": f"a-{number}"} | task) for number, task in enumerate(tasks, 1)]
    return read_suite("\n".join(lines).encode())


def run(opens: Any, tasks: list[SuiteTask]) -> list[TaskReport]:
    phases: list[tuple[str, int, int]] = []
    reports = SuiteRun(tasks, opens, parallel=1, deadline_s=30, tell=lambda *progress: phases.append(progress)).run()
    assert {phase for phase, _, _ in phases} == {"sent", "judged"} and phases[-1][1:] == (len(tasks), len(tasks))
    return reports


def test_what_is_installed_is_right_where_the_checks_say_so_too_and_every_draft_has_its_verdict(access):
    _, opens = access(total=[PRODUCT, SUM])
    (report,) = run(opens, suite({"check": CHECKS}))
    assert (report.status, report.right, report.installed, report.why, report.result) == ("answered", True, True, "", 10.0), (
        report.error_message
    )
    assert report.cases == [True, True, True] and "self.cost * self.pieces" in report.source
    assert [(draft.right, draft.chosen, draft.persona != "") for draft in report.drafts] == [(True, True, True), (False, False, True)]
    assert report.drafts[1].cases == [False, False, False] and "answered 6.5, not 10" in report.drafts[1].why
    assert (report.first_draft, report.any_draft, report.tokens) == (True, True, 20)
    assert report.confidence == report.decision["confidence"] and 0 < report.confidence < 1
    assert report.drafts[0].trial["kind"] == "ok" and report.drafts[0].agreement == 1


def test_the_stated_confidence_is_read_from_what_was_installed_and_from_what_was_refused_for_too_little(access):
    _, installs = access(total=[PRODUCT, SUM])
    (installed,) = run(installs, suite({}))
    _, refuses = access(total=[PRODUCT, SUM], risk=1e-9)
    (refused,) = run(refuses, suite({}))
    assert (installed.status, refused.status) == ("answered", "refused")
    for report in (installed, refused):
        assert report.confidence is not None and report.decision["confidence"] == report.confidence
        assert all(draft.more["features"] for draft in report.drafts)
        assert [draft.right for draft in report.drafts if draft.chosen] == [True]
    whole = summary([installed, refused])
    assert whole.stated == 2 and whole.calibration.error is not None
    assert (whole.curve[-1].installed, whole.curve[-1].recall.count, whole.curve[-1].recall.of) == (2, 2, 2)


def test_a_lucky_answer_does_not_pass(access):
    _, opens = access(cost_and_pieces_together=[SUM, SUM, PRODUCT])
    task = {"selector": "cost_and_pieces_together", "slots": {"cost": 2, "pieces": 2}, "expect": {"result": 4}, "check": CHECKS}
    (report,) = run(opens, suite(task))
    assert (report.right, report.installed, report.cases) == (False, True, [True, False, False])
    assert "check 1: answered 8, not 15" in report.why
    assert (report.first_draft, report.any_draft) == (False, True), "another draft would have been right, and was not chosen"


def test_the_expectation_never_goes_to_the_system(access):
    image, opens = access(total=[PRODUCT])
    tasks = suite({"expect": {"result": 987654321}, "check": [{"result": 192837465, "changed": {"cost": 564738291}}]})
    (report,) = run(opens, tasks)
    assert report.right is False
    assert image.sent and not any(str(number) in str(image.sent) for number in (987654321, 192837465, 564738291))
    assert not any(request.examples for request in image.sent)


def test_a_change_is_judged_slot_by_slot_of_the_receiver_and_of_others(access):
    pay = "    self.balance = self.balance - 5\n    self.shop.setSlot_value_('till', self.shop.till + 5)"
    extra = f"{pay}\n    self.paid = True"
    task = {
        "slots": {"balance": 20, "shop": {"@": "shop"}},
        "others": {"shop": {"till": 1}},
        "expect": {"changed": {"balance": 15, "shop.till": 6}},
        "check": [{"slots": {"balance": 7}, "others": {"shop": {"till": 2}}, "changed": {"balance": 2, "shop.till": 7}}],
    }
    _, opens = access(pay=[pay], pay_more=[extra])
    right, wrong = run(opens, suite(task | {"selector": "pay"}, task | {"selector": "pay_more"}))
    assert right.right, right.why
    assert right.changed == {"balance": 15, "shop.till": 6}
    assert (wrong.right, wrong.first_draft) == (False, False) and "paid should not change" in wrong.why


def test_inherited_slots_arguments_keywords_examples_and_what_answers_itself(access):
    image, opens = access(
        taxed=["    return a * self.rate + self.base"],
        named=["    self.name = name\n    return self"],
    )
    taxed = {
        "selector": "taxed",
        "slots": {"base": 1},
        "parents": [{"unit": "EUR"}, {"rate": 3}],
        "args": [2],
        "examples": [{"args": [1], "result": 4}, {"slots": {"base": 5}, "args": [0], "result": 5}],
        "expect": {"result": 7},
        "check": [{"args": [0], "result": 1}],
    }
    named = {
        "selector": "named",
        "slots": {"name": "a"},
        "kwargs": {"name": "b"},
        "expect": {"result": {"@": "self"}, "changed": {"name": "b"}},
    }
    reports = run(opens, suite(taxed, named))
    assert [(report.right, report.why) for report in reports] == [(True, ""), (True, "")]
    assert reports[0].examples == 2 and reports[0].drafts[0].examples_passed == 2
    assert [len(request.examples) for request in image.sent if request.selector == "taxed" and not request.preview] == [2]


def test_a_refusal_is_right_where_nothing_can_answer_and_wrong_elsewhere(access):
    _, opens = access(weight=[DECLINE], total=[DECLINE], mass=["    return self.cost"])
    refused, wrongly, invented = run(
        opens,
        suite({"selector": "weight", "expect": {"refused": True}}, {}, {"selector": "mass", "expect": {"refused": True}}),
    )
    assert (refused.status, refused.right, refused.installed, refused.first_draft) == ("refused", True, False, True)
    assert refused.drafts and refused.drafts[0].outcome == "Declined", "drafts of what was refused are in the report"
    assert (wrongly.status, wrongly.right, wrongly.first_draft) == ("refused", False, False)
    assert (invented.status, invented.right, invented.installed) == ("answered", False, True)
    whole = summary([refused, wrongly, invented])
    assert (whole.overall.precision.count, whole.overall.precision.of, whole.overall.recall.count) == (0, 1, 1)


def test_what_is_hostile_is_right_as_long_as_nothing_but_the_receiver_changes(access):
    _, opens = access(
        rob=["    self.victim.setSlot_value_('balance', 0)"], spoil=["    self.balance = 0"], break_it=["    return self.victim.nothing"]
    )
    task = {
        "slots": {"victim": {"@": "neighbour"}, "balance": 1},
        "others": {"neighbour": {"balance": 500}},
        "expect": {"contained": True},
    }
    robbed, spoiled, refused = run(opens, suite(*(task | {"selector": selector} for selector in ("rob", "spoil", "break_it"))))
    assert robbed.right is False and "neighbour.balance" in robbed.why
    assert spoiled.right is True and spoiled.changed == {"balance": 0}
    assert refused.right is True and refused.status == "refused"


@pytest.mark.parametrize("name", sorted(ARMS))
def test_an_arm_changes_what_it_says_of_a_real_image(access, name):
    settings = {key.removeprefix("uvm."): value for key, value in ARMS[name].settings.items() if key.startswith("uvm.")}
    image, opens = access(total=[PRODUCT, SUM, TEN, "    return self.cost"], **settings)
    set_up(image, ARMS[name])
    (report,) = run(opens, suite({}))
    assert len(report.drafts) == (1 if name == "greedy" else 4)
    assert name != "one-persona" or {draft.persona for draft in report.drafts} == {"brick"}
    assert all(draft.more["varied"] == 0 for draft in report.drafts) is (name == "no-varied")


def test_without_the_lexicon_its_features_weigh_nothing_and_the_others_as_before(access):
    def confidence(arm: str) -> tuple[float, dict[str, float]]:
        image, opens = access(total=[PRODUCT, SUM])
        set_up(image, ARMS[arm])
        (report,) = run(opens, suite({}))
        weights = image.send("pLLM_obj", "slot_", "judgement")["weights"]
        assert report.confidence is not None
        return report.confidence, weights

    (full, weights), (without, left) = confidence("full"), confidence("no-lexicon")
    assert full != without and {name for name, weight in left.items() if weight == 0} >= set(ARMS["no-lexicon"].unweighed)
    assert all(left[name] == weights[name] for name in weights if name not in ARMS["no-lexicon"].unweighed)


def test_the_report_says_who_wrote_what_and_how_much_of_it_was_right(access):
    image, opens = access(total=[PRODUCT, SUM], sum=[SUM])
    rule = "def personasFor_(self, message):\n    return ['babs'] if message.selector == 'total' else ['robin']\n"
    image.create_method("pLLM_obj", "personasFor_", rule, policy=True)
    reports = run(opens, suite({}, {"selector": "sum"}))
    assert [report.persona for report in reports] == ["babs", "robin"]
    personas = summary(reports).personas
    assert list(personas) == ["babs", "robin"] and (personas["babs"].tasks, personas["babs"].drafts) == (1, 2)
    assert (personas["babs"].drafts_right.count, personas["babs"].precision.share) == (1, 1.0)
    assert (personas["robin"].installed, personas["robin"].precision.share) == (1, 0.0)


def test_tasks_of_one_shape_do_not_find_each_others_methods(access):
    _, opens = access(total=[SUM])
    reports = run(opens, suite({"id": "x"}, {"id": "y"}))
    assert [report.drafts[0].mode for report in reports] == ["merged", "merged"]


def test_an_engine_that_is_away_fails_the_task_and_no_other(access):
    _, opens = access(total=[PRODUCT])
    away, there = run(opens, suite({"selector": "nobody_writes_this"}, {}))
    assert (away.status, away.right, away.error) == ("failed", None, "Refused") and "EngineDied" in away.why
    assert there.right is True
    assert (summary([away, there]).overall.failed, summary([away, there]).overall.recall.of) == (1, 1)


def test_an_answer_that_cannot_be_read_fails_its_task_and_no_other(access):
    image, opens = access(total=[PRODUCT], sum=[SUM])
    shown = image.preview
    image.preview = lambda target, selector, *args, **options: (
        {"slots": [{}]} if selector == "sum" else shown(target, selector, *args, **options)
    )
    broken, whole = run(opens, suite({"selector": "sum"}, {}))
    assert (broken.status, broken.error, whole.right) == ("failed", "BadReply", True)


def test_a_bridge_that_is_away_fails_every_task_and_the_run_ends(access):
    image, opens = access(total=[PRODUCT])

    def unreachable(*_: Any, **__: Any) -> Any:
        raise BridgeUnreachable("nobody answers")

    image.import_objects = unreachable
    (report,) = run(opens, suite({}))
    assert (report.status, report.error) == ("failed", "BridgeUnreachable")

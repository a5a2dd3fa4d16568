"""Progress events of a missing method, told as lines."""

from typing import Any

from ui_client.story import Story, describe
from uvm.protocol import Progress, Reference

MESSAGE = Reference.parse("@77")
RECEIVER = Reference.parse("@2a")


def event(stage: str, detail: dict[str, Any] | None = None, *, selector: str = "total", message: Reference = MESSAGE) -> Progress:
    return Progress(message=message, selector=selector, receiver=RECEIVER, stage=stage, detail=detail or {})


def test_the_steps_are_told_in_order_with_their_times() -> None:
    story = Story("total")
    for at, stage in enumerate(["reified", "reflected", "drafted", "audited", "tried", "installed"]):
        story.add(event(stage, {"drafts": 4} if stage == "drafted" else {}), 100.0 + at)
    assert [(line.stage, line.at, line.detail) for line in story.lines] == [
        ("reified", 0.0, ""),
        ("reflected", 1.0, ""),
        ("drafted", 2.0, "drafts 4"),
        ("audited", 3.0, ""),
        ("tried", 4.0, ""),
        ("installed", 5.0, ""),
    ]
    assert [progress.selector for progress in story.installed] == ["total"]
    assert not story.unfinished


def test_a_step_that_is_told_twice_is_one_line() -> None:
    story = Story("total")
    assert story.add(event("reified"), 1.0)
    assert story.add(event("reified"), 2.0) is None


def test_strangers_are_left_out_but_a_shared_miss_is_followed() -> None:
    story = Story("total")
    assert story.add(event("reified", selector="other"), 1.0) is None
    assert story.add(event("reified"), 1.0)
    needed = event("reified", selector="needed", message=Reference.parse("@78"))
    assert story.add(needed, 1.0) is None
    story.add(event("tried", {"needs": "needed"}), 1.0)
    assert story.add(needed, 1.0)


def test_what_is_being_written_is_said_but_leaves_no_line() -> None:
    story = Story("total")
    story.add(event("reflected"), 1.0)
    assert story.waiting_for() == "total: to be drafted"
    assert story.add(event("drafting", {"text": "    return self.a\n    + \x1b[2J"}), 2.0) is None
    assert story.waiting_for() == "total: drafting     + \\x1b[2J"


def test_while_the_model_cannot_write_yet_what_it_waits_for_is_said() -> None:
    story = Story("total")
    story.add(event("reflected"), 1.0)
    assert story.add(event("drafting", {"waiting": "the engine is starting, 34 s so far; loading the model"}), 2.0) is None
    assert story.waiting_for() == "total: the engine is starting, 34 s so far; loading the model"
    story.add(event("drafting", {"text": "return 1"}), 3.0)
    assert story.waiting_for() == "total: drafting return 1"


def test_a_refusal_ends_the_story_without_a_method() -> None:
    story = Story("total")
    story.add(event("reified"), 1.0)
    assert story.unfinished
    story.add(event("refused", {"reasons": ["no slot", "no word"]}), 2.0)
    assert not story.unfinished and not story.installed
    assert story.lines[-1].detail == "reasons no slot, no word"


def test_an_inner_method_does_not_end_the_outer_story() -> None:
    story = Story("total")
    inner = Reference.parse("@78")
    story.add(event("tried"), 1.0)
    story.add(event("reified", selector="tax", message=inner), 2.0)
    story.add(event("installed", selector="tax", message=inner), 3.0)
    assert story.unfinished and story.waiting_for() == "total: to be installed"


def test_details_are_short_and_on_one_line() -> None:
    assert describe({"text": "a\nb", "n": 3, "x": 0.12345, "drafts": [{"a": 1}, {"b": 2}]}) == "n 3, x 0.123, drafts 2"
    assert len(describe({"long": "x" * 1000})) == 100

"""The forge with a model of a few thousand weights: orders, checkpoints, confinement, and the exam with its canaries."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy import confinement
from deploy.orders import Exam, Order, OrderReport, Spool, TaughtPair
from deploy.settings import Home
from inference_worker.forge import apprentice, examiner, items, lessons
from inference_worker.forge.evaluate import Writer, WrittenBody
from inference_worker.forge.render import COVENANT
from inference_worker.forge.stewardship import Child, step
from tests.inference_worker.forge.test_train import model as model

ORDER = Order("0123456789abcdef", 5, "a" * 64, steps=12, batch=2, words=["total", "sum"], replay=0.5)
EXAM = Exam(ORDER.id, 77, 12, words=["total", "sum", "count"])
PROMPT = (
    f"{COVENANT}\nObject:\nprice = 2\npieces = 3\nMessage: worth()\n"
    "Example: worth() -> 6\nExample: with price=5: worth() -> 15\ndef worth(self):\n"
)
RIGHT = "    return self.price * self.pieces"
DECLINES = '    decline("no")'


def _writer(body: Callable[[str], str]) -> Writer:
    """An author who is always as sure."""
    return lambda prompts: [WrittenBody(body(prompt), -0.1, -0.5) for prompt in prompts]


@pytest.fixture(autouse=True)
def few_canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examiner, "PLANTED", 10)


def _lesson(answer: str = RIGHT, prompt: str = PROMPT) -> TaughtPair:
    return TaughtPair(prompt, answer, "@1", "local")


@pytest.mark.parametrize(
    ("lesson", "why"),
    [
        (_lesson("    return self.price + self.pieces"), "does not keep"),
        (_lesson("    return 6"), "does not keep"),
        (_lesson("    while True:\n        pass"), "does not keep"),
        (_lesson("    import os\n    return 6"), "does not keep"),
        (_lesson(prompt=PROMPT.replace("Example: ", "Message: ")), "no example"),
        (_lesson(prompt="Say something nice"), "no prompt"),
        (_lesson(prompt=PROMPT.replace("price = 2", "price = [1, …]")), "cut short"),
        (_lesson(prompt=PROMPT.replace("price = 2", "price = __import__('os')")), "no data"),
    ],
)
def test_a_lesson_that_does_not_prove_itself_is_not_learned(monkeypatch: pytest.MonkeyPatch, lesson: TaughtPair, why: str) -> None:
    monkeypatch.setattr(lessons, "LIMIT_S", 0.1)
    with pytest.raises(lessons.Unproven, match=why):
        lessons.prove(lesson)
    drawn = items.drawn(msgspec.structs.replace(ORDER, steps=2, lessons=[lesson]))
    assert "lesson" not in drawn.counts and any(why in reason for reason in drawn.dropped)


def test_examples_of_changes_and_errors_are_carried_out_as_well() -> None:
    prompt = f"{COVENANT}\nObject:\nfunds = 9\nMessage: spend(2)\n"
    prompt += "Example: with funds=5: spend(2) -> 3, then funds=3\nExample: spend(10) raises ValueError\ndef spend(self, a):\n"
    lessons.prove(_lesson("    if a > self.funds:\n        raise ValueError('no')\n    self.funds -= a\n    return self.funds", prompt))
    with pytest.raises(lessons.Unproven):
        lessons.prove(_lesson("    return self.funds - a", prompt))


def test_items_are_the_same_for_the_same_order_name_their_origin_and_people_teach_a_quarter_at_most() -> None:
    order = msgspec.structs.replace(ORDER, lessons=[_lesson(), _lesson(), _lesson(prompt=PROMPT.replace("worth", "value"))])
    first, again = items.drawn(order), items.drawn(order)
    assert first == again and first.dropped["nearly the same as another"] >= 1
    assert len(first.items) >= order.steps * order.batch * 0.9
    assert 0 < first.counts["lesson"] <= len(first.items) * items.TAUGHT + 1 and first.counts["aimed"] > 0 and first.counts["replay"] > 0
    assert all(
        {"total", "sum"} & set(items.words_of(item.prompt.rpartition("def ")[2].partition("(")[0]))
        for item in first.items
        if item.origin.startswith("aimed")
    )
    assert first.origins == ["@1"]


def test_training_that_was_killed_ends_with_the_same_bytes(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apprentice, "EVERY", 2)
    order, threads = msgspec.structs.replace(ORDER, steps=5), apprentice.torch.get_num_threads()
    apprentice.torch.set_num_threads(1)
    reports: list[OrderReport] = []
    apprentice.learn(order, model, None, tmp_path / "whole", reports.append)
    assert [report.step for report in reports] == [2, 4, 5] and reports[0].loss > 0

    class Killed(Exception):
        pass

    real, steps = apprentice.train.stepped, 0

    def once(*arguments: Any) -> float:
        nonlocal steps
        steps += 1
        if steps == 4:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(apprentice.train, "stepped", once)
    with pytest.raises(Killed):
        apprentice.learn(order, model, None, tmp_path / "killed", reports.append)
    ended = apprentice.learn(order, model, None, tmp_path / "killed", reports.append)
    assert steps == 7 and ended.state == "examining"
    assert (tmp_path / "killed/adapter/adapter_model.safetensors").read_bytes() == (
        tmp_path / "whole/adapter/adapter_model.safetensors"
    ).read_bytes()
    apprentice.torch.set_num_threads(threads)
    notes = json.loads((tmp_path / "killed/adapter/training.json").read_text())
    assert notes["data_sha256"] == ended.data and notes["distance"] == ended.distance == reports[2].distance
    assert apprentice.learn(order, model, None, tmp_path / "killed", reports.append).distance == ended.distance


def test_training_ends_within_the_bound_on_the_distance_to_the_parent_though_it_is_killed_there(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apprentice, "EVERY", 1)
    order = msgspec.structs.replace(ORDER, steps=4, rate=0.01)
    reports: list[OrderReport] = []
    free = apprentice.learn(order, model, None, tmp_path / "free", reports.append)
    first, *_, last = (report.distance for report in reports)
    assert first is not None and last is not None and 0 < first < last == free.distance and free.step == 4 and not free.detail

    bound = (first + last) / 2
    bounded = msgspec.structs.replace(order, distance=bound)
    reports.clear()
    ended = apprentice.learn(bounded, model, None, tmp_path / "bound", reports.append)
    assert ended.state == "examining" and 1 <= ended.step < 4 and ended.distance is not None and ended.distance <= bound
    assert f"stopped after {ended.step} steps" in ended.detail and f"{bound:g} are allowed" in ended.detail
    adapter = tmp_path / "bound/adapter/adapter_model.safetensors"
    written = adapter.read_bytes()
    adapter.parent.rename(tmp_path / "bound/elsewhere")  # as if it had been killed before the adapter was written
    again = apprentice.learn(bounded, model, None, tmp_path / "bound", reports.append)
    assert (again.step, again.distance, again.detail) == (ended.step, ended.distance, ended.detail) and adapter.read_bytes() == written

    never = apprentice.learn(msgspec.structs.replace(order, distance=first / 2), model, None, tmp_path / "never", reports.append)
    assert never.state == "failed" and "stopped after 0 steps" in never.detail and not (tmp_path / "never/adapter").exists()


def test_the_exam_counts_pairs_and_people_s_own_examples() -> None:
    right = {drawn.prompt: drawn.body for tasks in examiner.questions(EXAM).values() for drawn in tasks} | {PROMPT: RIGHT}
    exam = msgspec.structs.replace(EXAM, lessons=[_lesson()])
    found = examiner.compared(
        exam,
        _writer(lambda prompt: "    return 1"),
        _writer(lambda prompt: right.get(prompt, "    return self.nothing")),
    )
    assert found.gap == "gap" and found.slices["gap"].gained >= 10 and found.slices["people"].gained == 1
    assert found.planted == examiner.PLANTED and found.gamed == 0
    assert all(pairs.lost == 0 for pairs in found.slices.values())
    assert len(found.answers) == sum(sum(msgspec.structs.astuple(pairs)) for name, pairs in found.slices.items() if name != "people")
    for answer in found.answers:
        assert answer.current.steady and not answer.current.changed and answer.current.result == 1 and answer.current.logprob == -0.1
        assert answer.candidate.right and answer.candidate.source.startswith(f"def {answer.selector}(self")
        assert answer.slice != "refused" or answer.candidate.error == "Declined"


def test_a_candidate_that_copies_the_visible_example_is_seen() -> None:
    copies = _writer(lambda prompt: f"    return {prompt.rpartition(' -> ')[2].splitlines()[0]}" if " -> " in prompt else DECLINES)
    found = examiner.compared(msgspec.structs.replace(EXAM, tasks=2), copies, copies)
    assert found.gamed > found.planted / 2


def test_one_that_copies_the_answers_of_held_out_tasks_gains_nothing_by_it() -> None:
    drawn = {each.prompt: each for tasks in examiner.questions(EXAM).values() for each in tasks}

    def copied(prompt: str) -> str:
        """What is right on the values that the task shows, as somebody would know it who had seen the exam."""
        outcome = drawn[prompt].expected(drawn[prompt].slots, drawn[prompt].args) if prompt in drawn else None
        return DECLINES if outcome is None or outcome.error else f"    return {outcome.result!r}"

    found = examiner.compared(EXAM, _writer(lambda prompt: drawn[prompt].body if prompt in drawn else DECLINES), _writer(copied))
    assert found.slices["gap"].lost > 9 and found.slices["seen"].lost > 9 and found.slices["composed"].lost > 9
    assert not any(pairs.gained for pairs in found.slices.values())


def test_one_that_refuses_everything_loses_every_slice_but_that_of_refusals() -> None:
    right = {drawn.prompt: drawn.body for tasks in examiner.questions(EXAM).values() for drawn in tasks}
    found = examiner.compared(EXAM, _writer(lambda prompt: right.get(prompt, "")), _writer(lambda prompt: DECLINES))
    slices = found.slices
    assert slices["refused"].lost == 0 and slices["seen"].lost > 9 and slices["composed"].lost > 9 and found.gamed == 0


def test_what_trains_cannot_read_the_exam(tmp_path: Path) -> None:
    if not all(layer.in_force for layer in confinement.available() if layer.name == "files"):
        pytest.skip("this kernel has no landlock")
    home = Home(tmp_path)
    home.ensure()
    spool = Spool(home)
    spool.give(ORDER, EXAM)
    program = """
import sys
from pathlib import Path
from deploy import confinement, profiles
from deploy.settings import Configuration, Home, Settings
from deploy.orders import Spool
configuration = Configuration(Home(Path(sys.argv[1])), Settings(), {})
confinement.confine(getattr(profiles, sys.argv[2])(configuration))
spool = Spool(configuration.home)
print(len(spool.orders()), spool.exam("0123456789abcdef") is not None)
"""
    outputs = [
        subprocess.run([sys.executable, "-c", program, str(tmp_path), profile], capture_output=True, text=True, check=True).stdout.split()
        for profile in ("apprentice_profile", "examiner_profile")
    ]
    assert outputs == [["1", "False"], ["1", "True"]]


def test_somebody_who_waits_stops_the_forge_where_it_stands() -> None:
    report, running = OrderReport(ORDER.id, "training"), Child("apprentice")
    assert step(report, running, busy=True, cancelled=False).action == "pause"
    stopped = msgspec.structs.replace(running, stopped=True)
    assert step(report, stopped, busy=True, cancelled=False).action == "wait"
    assert step(report, stopped, busy=False, cancelled=False).action == "go on"
    assert step(None, None, busy=True, cancelled=False).action == "wait"


def test_what_was_killed_is_started_again_and_what_failed_is_not() -> None:
    report, killed = OrderReport(ORDER.id, "training"), Child("apprentice", status=-9)
    assert step(report, killed, busy=False, cancelled=False).action == "start"
    assert step(report, msgspec.structs.replace(killed, tries=5), busy=False, cancelled=False).action == "fail"
    assert step(report, Child("apprentice", status=1), busy=False, cancelled=False).action == "fail"
    assert step(OrderReport(ORDER.id, "examining"), Child("apprentice", status=0), busy=False, cancelled=False).program == "examiner"
    assert step(report, Child("apprentice"), busy=False, cancelled=True).action == "end"
    assert step(report, killed, busy=False, cancelled=True).action == "cancel"


def test_an_order_that_cannot_be_understood_is_passed_by(tmp_path: Path) -> None:
    spool = Spool(Home(tmp_path))
    spool.give(ORDER, EXAM)
    (spool.path / "orders" / "bad.json").write_text('{"id": "../../etc"}')
    assert spool.orders() == [ORDER]

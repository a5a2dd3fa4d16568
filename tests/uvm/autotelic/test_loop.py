"""The loop on an image: from stagnation to an order, and from a report to an adapter in service, or back."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.home import Home
from deploy.orders import ExamAnswer, ExamAnswers, ExamDraft, OrderReport, SliceCounts, Spool
from inference_worker.protocol import File, Manifest
from tests.uvm.images import Bench, awakened
from uvm.autotelic import ledger
from uvm.autotelic.calibration import StatedPair
from uvm.autotelic.loop import Loop
from uvm.autotelic.policy import AutotelicPolicy
from uvm.autotelic.windows import Structure, Sums
from uvm.generation.hindsight import stated
from uvm.history import chronicle, entries
from uvm.image import authors, judgement, model_registry, revocations
from uvm.image.authors import Author
from uvm.image.entropy import Spoken
from uvm.image.image import Image
from uvm.image.transactor import Transactor
from uvm.machine.delivery import Answered, Failed
from uvm.objects import KIND, PARENTS, UvmObject

BASE, OLD, NEW = "a" * 64, "b" * 64, "c" * 64
BETTER = {
    "gap": SliceCounts(both=90, gained=180, lost=2, neither=68),
    "seen": SliceCounts(both=300, neither=40),
    "composed": SliceCounts(both=170, neither=170),
    "refused": SliceCounts(both=300, neither=40),
}
RIGHT = ExamDraft("def total_price(self):\n    return sum(self.prices)", True, logprob=-0.01, least=-0.05, result=1)
ANSWER = ExamAnswer("seen", "total_price", {"prices": "[1, 2]"}, [], 0, RIGHT, RIGHT)


def _adapter(digest: str) -> UvmObject:
    return UvmObject({KIND: "adapter", "digest": digest, "name": digest[:8], "blobs": {}, "bytes": 1, "base": BASE, "rank": 4})


class Stage:
    """An image with a model, an adapter, a loop, and messages that were refused."""

    def __init__(self, image: Image, directory: Path) -> None:
        self.image, self.bench, self.spool = image, Bench(image), Spool(Home(directory))
        self.brought: list[str] = []
        self.forge_runs = True
        self._minute = 0
        image.manager.begin()
        mind = image.named("pLLM_obj")
        mind.put("model", UvmObject({KIND: "model", "digest": BASE, "name": "tiny", "blobs": {}}))
        old = _adapter(OLD)
        model_registry.enter(image, "adapter", old)
        mind.put("adapter", old)
        image.manager.commit()
        self.reborn()

    def reborn(self) -> None:
        """Another heartbeat goes on, as after a kill."""
        self.loop = Loop(
            self.image,
            Transactor(self.image, "heartbeat"),
            self.spool,
            lambda: None,
            self._bring_in,
            self._stated,
            forge_runs=self.forge_runs,
        )

    def _stated(self, answers: ExamAnswers) -> list[StatedPair]:
        mind = self.image.named("pLLM_obj")
        return stated(answers, judgement.numbers(mind), judgement.numbers_of_none(mind), 0.05)

    def _bring_in(self, manifest: Manifest, directory: str) -> None:
        self.brought.append(directory)
        self.image.manager.begin()
        if model_registry.at(self.image, "adapter", manifest.digest) is None:
            model_registry.enter(self.image, "adapter", _adapter(manifest.digest))
        self.image.manager.commit()

    def policy(self, **slots: Any) -> None:
        sent = self.bench.send(
            "autotelic_obj", "setSlot_value_", "policy", {"enabled": True, "beats": 1, "rest_s": 0, "shadow": 0, **slots}
        )
        assert isinstance(sent, Answered)

    def refuse(self, selector: str, remedy: str = "give an example", drafts: int = 4) -> UvmObject:
        """A message that was refused, as the writing of methods leaves it."""
        self.image.manager.begin()
        message = UvmObject(
            {
                PARENTS: [self.image.root["message_traits"]],
                KIND: "message",
                "stage": "refused",
                "selector": selector,
                "receiver": self.image.named("genesis_obj"),
                "slots": [["items", "[{'price': 2}]"]],
                "call": f"{selector}()",
                "signature": f"def {selector}(self):",
                "examples": [f"{selector}() -> 2"],
                "refusal": {"type": "Refused", "message": "not sure", "remedy": remedy, "details": {}},
                "drafts": [{"source": ""}] * drafts,
            }
        )
        chronicle.record(
            self.image,
            "refusal",
            author="local",
            cause=message,
            object=self.image.named("genesis_obj"),
            slot=selector,
            facts={"type": "Refused"},
        )
        self.image.manager.commit()
        return message

    def accept(self, digest: str) -> None:
        """A method that this adapter wrote was installed."""
        self.image.manager.begin()
        method = UvmObject({KIND: "method", "selector": "m", "source": "def m(self):\n    return 1", "digest": "d", "author": "brick"})
        method.put("proof", {"mode": "adapter", "adapter": f"x@{digest}", "message": "@1"})
        self.image.named("genesis_obj").put("m", method)
        chronicle.record(self.image, "install", author="brick", object=self.image.named("genesis_obj"), slot="m", method=method)
        self.image.manager.commit()
        self.image.manager.begin()
        authors.enter(self.image, method, b"")
        self.image.manager.commit()

    def stagnate(self) -> None:
        """A beat after many messages that are all the same."""
        self._minute += 1
        sent = {"a": 100 * self._minute, "b": 1, "c": 1, "d": 1}
        self.loop.beat(Sums(60.0 * self._minute, sent, {}, Spoken(), Structure()))

    def seen(self, slot: str) -> Any:
        self.image.manager.begin()
        try:
            return self.image.named("autotelic_obj").own(slot)
        finally:
            self.image.manager.abort()

    @property
    def last(self) -> str:
        return str(self.seen("last")["reason"])

    @property
    def serving(self) -> str:
        self.image.manager.begin()
        digest = str(self.image.named("pLLM_obj").own("adapter").own("digest"))
        self.image.manager.abort()
        return digest

    def told(self, kind: str) -> list[dict[str, Any]]:
        self.image.manager.begin()
        found = [dict(each.entry) for each in entries.newest_first(self.image, chronicle=True) if each.entry["kind"] == kind]
        self.image.manager.abort()
        return found

    def reported(self, **changed: Any) -> None:
        """The forge has ended."""
        (order,) = self.spool.orders()
        manifest = Manifest(
            kind="adapter", name="candidate", digest=NEW, files=[File("adapter_model.safetensors", 1, "0" * 64)], base=BASE, rank=4
        )
        report = OrderReport(
            order.id, "trained", distance=0.1, cpu_s=9.0, slices=BETTER, planted=40, manifest=msgspec.to_builtins(manifest)
        )
        self.spool.answer(ExamAnswers(order.id, [ANSWER] * 600))
        self.spool.tell(msgspec.structs.replace(report, **changed))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with awakened() as image:
        made = Stage(image, tmp_path)
        for place in range(6):
            made.refuse(f"median_{'abcdef'[place]}_of_items")
        yield made


def _installed(stage: Stage) -> None:
    stage.policy()
    stage.stagnate()
    stage.stagnate()
    stage.reported()
    stage.stagnate()


def test_nothing_is_trained_unless_the_policy_says_so_and_the_reason_is_written_down_once(stage: Stage) -> None:
    stage.bench.send("autotelic_obj", "setSlot_value_", "policy", {"beats": 1})
    for _ in range(4):
        stage.stagnate()
    assert stage.last == "the policy has training switched off" and not stage.spool.path.exists()
    assert len(stage.told("decision")) == 2
    assert stage.told("decision")[0]["facts"]["reason"] == stage.last


def test_stagnation_with_evidence_becomes_a_gap_an_order_and_an_exam_and_only_one_of_them(stage: Stage) -> None:
    stage.policy()
    for _ in range(5):
        stage.stagnate()
    (order,) = stage.spool.orders()
    (gap,) = stage.seen("gaps")
    exam = stage.spool.exam(order.id)
    assert "median" in gap.own("name") and order.words[:1] != [] and "median" in order.words
    assert order.base == BASE and order.start == OLD and exam is not None and exam.tasks >= 340
    assert len(gap.own("evidence")) == 6 and len(stage.told("gap")) == 1
    assert stage.last == "the forge has an order"


def test_what_passed_by_itself_is_no_evidence(tmp_path: Path) -> None:
    with awakened() as image:
        stage = Stage(image, tmp_path)
        stage.policy()
        for place in range(6):
            stage.refuse(f"median_{place}", remedy="send it again when they rest")
            stage.refuse(f"mean_{place}", drafts=0)
        stage.stagnate()
        stage.stagnate()
        assert "too little evidence" in stage.last and not stage.spool.path.exists()


def test_a_better_candidate_is_put_into_service_in_one_commit(stage: Stage) -> None:
    _installed(stage)
    assert stage.serving == NEW and stage.brought and stage.brought[0].endswith("adapter")
    adapter = stage.told("adapter")[0]
    assert adapter["facts"]["done"] == "accepted" and adapter["effects"]
    stage.stagnate()
    assert stage.last == "an adapter is on probation" and len(stage.brought) == 1


@pytest.mark.parametrize(
    ("changed", "fate"),
    [
        ({"gamed": 1}, "quarantined"),
        ({"slices": {**BETTER, "seen": SliceCounts(both=300, lost=20, neither=20)}}, "refused"),
        ({"slices": {"gap": BETTER["gap"]}}, "refused"),
        ({"manifest": None}, "refused"),
        ({"distance": None}, "refused"),
        ({"distance": 0.6}, "refused"),
        ({"state": "failed", "detail": "killed 5 times"}, "refused"),
        ({"state": "cancelled"}, "refused"),
    ],
)
def test_what_the_gate_stops_is_never_in_service_and_the_round_says_why(stage: Stage, changed: dict[str, Any], fate: str) -> None:
    stage.policy()
    stage.stagnate()
    stage.stagnate()
    stage.reported(**changed)
    stage.stagnate()
    (ended,) = stage.seen("rounds")
    assert stage.serving == OLD and ended.own("phase") == "ended" and ended.own("verdict")["fate"] == fate and ended.own("outcome")
    stage.image.manager.begin()
    assert (revocations.find(stage.image, Author("adapter", NEW)) is not None) is (fate == "quarantined")
    stage.image.manager.abort()
    stage.stagnate()
    assert "too little evidence" in stage.last  # the same evidence is not inquired into again


def test_an_adapter_that_ends_badly_is_rolled_back_by_itself_and_what_it_wrote_goes_out_of_use(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(40):
        stage.accept(OLD)
    real, later = time.time, [100.0]  # entries are dated to the second
    monkeypatch.setattr(time, "time", lambda: real() + later[0])
    _installed(stage)
    later[0] = 200.0
    stage.accept(NEW)
    stage.stagnate()
    assert stage.serving == NEW
    for place in range(6):
        stage.refuse(f"other_{place}")
    stage.stagnate()
    assert stage.serving == OLD
    undone = stage.told("adapter")[0]["facts"]
    assert undone["done"] == "rolled back" and undone["quarantined"] == 1 and "6 of 7" in undone["why"]


def test_a_killed_heartbeat_goes_on_where_it_was_and_gives_the_order_again(stage: Stage) -> None:
    stage.policy()
    stage.stagnate()
    stage.stagnate()
    (order,) = stage.spool.orders()
    for file in (stage.spool.path / "orders").iterdir():
        file.unlink()  # as if it had died between the commit and the file
    stage.reborn()
    stage.stagnate()
    assert stage.spool.orders() == [order]
    stage.reported()
    stage.reborn()
    stage.stagnate()
    assert stage.serving == NEW


def test_an_exam_whose_answers_nobody_can_read_is_no_pass(stage: Stage) -> None:
    stage.policy()
    stage.stagnate()
    stage.stagnate()
    stage.reported()
    for file in stage.spool.exams.glob("*.answers"):
        file.write_text("[]")
    stage.stagnate()
    (ended,) = stage.seen("rounds")
    assert stage.serving == OLD and ended.own("verdict")["reasons"] == ["calibration was not measured"]


def test_a_candidate_of_which_the_image_would_believe_too_much_is_refused(stage: Stage) -> None:
    stage.policy()
    stage.stagnate()
    stage.stagnate()
    stage.reported()
    (order,) = stage.spool.orders()
    wrong = msgspec.structs.replace(RIGHT, right=False)  # as surely written, and wrong
    worse = msgspec.structs.replace(ANSWER, candidate=wrong)
    stage.spool.answer(ExamAnswers(order.id, [ANSWER, worse] * 300))
    stage.stagnate()
    (ended,) = stage.seen("rounds")
    reasons = ended.own("verdict")["reasons"]
    assert stage.serving == OLD and any("calibration error" in why for why in reasons) and any("precision" in why for why in reasons)


def test_what_the_forge_keeps_of_orders_that_are_forgotten_goes(stage: Stage) -> None:
    stage.policy()
    stage.stagnate()
    stage.stagnate()
    forgotten = stage.spool.work("f" * 16)
    forgotten.mkdir()
    (forgotten / "checkpoint.pt").touch()
    stage.reported()
    stage.stagnate()
    assert not forgotten.exists() and len(stage.spool.orders()) == 1


def test_a_message_that_assigns_another_adapter_meanwhile_wins(stage: Stage) -> None:
    stage.policy()
    stage.stagnate()
    stage.stagnate()
    stage.image.manager.begin()
    another = _adapter("d" * 64)
    model_registry.enter(stage.image, "adapter", another)
    stage.image.named("pLLM_obj").put("adapter", another)
    stage.image.manager.commit()
    stage.reported()
    stage.stagnate()
    assert stage.serving == "d" * 64


def test_lessons_that_a_message_gave_become_an_order_without_dissonance(tmp_path: Path) -> None:
    with awakened() as image:
        stage = Stage(image, tmp_path)
        stage.policy(beats=100)
        stage.stagnate()  # the heartbeat says that a forge runs
        pairs = [{"prompt": f"p {number}\nExample: f() -> 1\ndef f(self):\n", "answer": "    return 1"} for number in range(20)]
        lesson = stage.bench.send("pLLM_obj", "fineTuneWith_", pairs)
        assert isinstance(lesson, Answered)
        stage.stagnate()
        (order,) = stage.spool.orders()
        exam = stage.spool.exam(order.id)
        assert exam is not None and len(order.lessons) + len(exam.lessons) == 20 and len(exam.lessons) > 0
        assert {each.principal for each in order.lessons} == {"local"} and all(each.origin for each in order.lessons)
        assert not {each.prompt for each in order.lessons} & {each.prompt for each in exam.lessons}
        image.manager.begin()
        assert image.named("pLLM_obj").own("lessons")[0].own("state") == f"ordered {order.id}"
        image.manager.abort()


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("forge_runs", [True, False])
def test_lessons_are_kept_where_somebody_learns_them_and_else_the_answer_says_what_to_switch_on(
    tmp_path: Path, enabled: bool, forge_runs: bool
) -> None:
    with awakened() as image:
        stage = Stage(image, tmp_path)
        stage.forge_runs = forge_runs
        stage.reborn()
        stage.policy(enabled=enabled)
        stage.stagnate()
        outcome = stage.bench.send("pLLM_obj", "fineTuneWith_", [{"prompt": "p", "answer": "a"}])
        if enabled and forge_runs:
            assert isinstance(outcome, Answered)
            return
        assert isinstance(outcome, Failed) and outcome.error.type == "ForgeOff"
        assert ("process = true" in outcome.error.remedy) is not forge_runs
        assert ('"enabled": true' in outcome.error.remedy) is not enabled
        image.manager.begin()
        assert not image.named("pLLM_obj").own("lessons", [])
        image.manager.abort()


def test_where_no_forge_runs_nothing_is_ordered_and_the_decision_says_what_to_switch_on(stage: Stage) -> None:
    stage.forge_runs = False
    stage.reborn()
    stage.policy()
    stage.stagnate()
    stage.stagnate()
    assert "process = true" in stage.last and not stage.spool.path.exists()


@pytest.mark.parametrize("slot", ["policy", "mood", "last", "gaps", "rounds", "series", "cancel", "forge"])
def test_whatever_policy_puts_into_its_slots_the_loop_goes_on(stage: Stage, slot: str) -> None:
    stage.policy()
    for wrong in (7, "text", [1, None], {"a": 1}):
        stage.bench.send("autotelic_obj", "setSlot_value_", slot, wrong)
        stage.stagnate()


def test_images_of_earlier_versions_get_the_object_and_a_name_that_is_taken_stays(stage: Stage) -> None:
    stage.image.manager.begin()
    assert ledger.ensure(stage.image) is False
    assert msgspec.convert(stage.image.named("autotelic_obj").own("policy"), AutotelicPolicy) == AutotelicPolicy()
    stage.image.take_name(stage.image.named("autotelic_obj"), "autotelic_obj")
    assert ledger.ensure(stage.image) is True
    assert "autotelic_obj" in stage.image.root["primordial"]
    stage.image.manager.abort()

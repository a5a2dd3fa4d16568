"""The loop itself, as the heartbeat calls it, once a beat: measure, decide, order, hear, judge, compare, install, watch.

Owned by the heartbeat's one thread. Each step is one transaction, which checks the heartbeat's fencing token; what is outside of the image
(the forge's directories) is written after the commit that decides it, and again at the next beat where it is missing. So whoever is
killed, the next beat goes on: nothing is half installed, as the switch is one commit.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
import structlog
from ZODB.POSException import POSError

from deploy.orders import Exam, ExamAnswers, Order, OrderReport, Spool
from inference_worker.protocol import Manifest
from uvm.autotelic import calibration, dissonance, gate, inquiry, ledger, lessons, policy, probation, shadow, switches
from uvm.autotelic.calibration import StatedPair
from uvm.autotelic.dissonance import Decision
from uvm.autotelic.gate import GateVerdict
from uvm.autotelic.paired import Pairs
from uvm.autotelic.policy import AutotelicPolicy
from uvm.autotelic.shadow import ShadowStanding
from uvm.autotelic.windows import Composite, Sums, Windows
from uvm.errors import ImageError
from uvm.history import chronicle
from uvm.image import judgement, model_registry, revocations, views
from uvm.image.authors import Author
from uvm.image.image import Image
from uvm.image.transactor import Transactor
from uvm.objects import UvmObject

MIND: Final = "pLLM_obj"
"""Whose adapter the loop trains: the one that all personas inherit."""
BY: Final = "autotelic loop"

log = structlog.get_logger()

_T = TypeVar("_T")


class Loop:
    """The loop's memory of one process: the newest sums. Everything else is in the image, and in the forge's directories.

    `check` raises where another heartbeat has taken over. `bring_in` imports an adapter; `stated` says, within a transaction, what the
    image's decision states of an exam's drafts.
    """

    def __init__(
        self,
        image: Image,
        transactor: Transactor,
        spool: Spool,
        check: Callable[[], None],
        bring_in: Callable[[Manifest, str], None],
        stated: Callable[[ExamAnswers], list[StatedPair]],
        *,
        forge_runs: bool,
    ) -> None:
        self._image = image
        self._transactor = transactor
        self._spool = spool
        self._check = check
        self._bring_in = bring_in
        self._stated = stated
        self._forge_runs = forge_runs
        self._windows = Windows()

    def beat(self, sums: Sums) -> Composite:
        """One step. Raises ImageAway, and what `check` raises."""
        rule, _ = self._look(lambda: policy.read(views.slot(ledger.holder(self._image), policy.SLOT, dict, {})))
        measured = self._windows.add(sums, rule.weights)
        busy = self._spool.state().paused
        self._run(lambda: self._decide(measured, int(time.time()), busy))
        self._forge()
        return measured

    # --- deciding -------------------------------------------------------------------------------------------------------

    def _decide(self, measured: Composite, now: int, busy: bool) -> None:
        image = self._image
        switches.note(image, self._forge_runs)
        rule, fault = policy.read(views.slot(ledger.holder(image), policy.SLOT, dict, {}))
        if rule.enabled and not self._forge_runs:
            fault = f"no forge runs with the service: {switches.PROCESS}"
        current, evidence = ledger.current_round(image), ledger.evidence(image, now)
        engaged = _ENGAGED.get(str(current.own("phase")), "") if current is not None else ""
        budget = ledger.budget(image, now)
        weight = inquiry.weight(evidence)
        decision = dissonance.decide(
            ledger.mood(image), measured.cem, rule, budget, now=now, busy=busy, engaged=engaged, evidence=int(weight), fault=fault
        )
        asked = ledger.asked_for(image) if rule.enabled and not fault and not engaged else []
        if asked and decision.kind != "inquire":
            decision = dissonance.spared(decision, rule, budget, now=now, busy=busy)
        if decision.kind == "inquire":
            decision = self._inquire(decision, rule, evidence, asked, now)
        ledger.note(image, now, measured, decision)

    def _inquire(self, decision: Decision, rule: AutotelicPolicy, evidence: list[inquiry.Evidence], asked: Any, now: int) -> Decision:
        image, mind = self._image, self._image.named(MIND)
        model = mind.lookup("model")
        if not isinstance(model, UvmObject):
            return msgspec.structs.replace(decision, kind="wait", reason="the image has no model")
        gap = inquiry.gap(evidence, rule.misses, rule.margin)
        if gap is None and not asked:
            return msgspec.structs.replace(decision, kind="wait", reason="what is missing belongs to nothing in common")
        offered = [*ledger.lessons(image, now), *(lesson for _, several in asked for lesson in several)]
        sorted_out = lessons.chosen(offered)
        adapter = ledger.adapter_of(image, mind)
        start = views.weights(adapter, "adapter").digest if adapter is not None else ""
        order = Order(
            id=secrets.token_hex(8),
            seed=secrets.randbelow(2**31),
            base=views.weights(model, "model").digest,
            start=start,
            steps=rule.steps,
            words=list(gap.words) if gap is not None else [],
            values=list(gap.values) if gap is not None else [],
            distance=rule.distance if start else 0.0,  # the base model has never written a method: who begins there may go far
            lessons=sorted_out.taught,
        )
        exam = Exam(order.id, secrets.randbits(62), max(rule.tasks, gap.tasks if gap else 0), order.words, order.values, sorted_out.held)
        ledger.enter_round(image, order, exam, ledger.enter_gap(image, gap, now) if gap is not None else None, now)
        for lesson, _ in asked:
            lesson.put("state", f"ordered {order.id}")
        why = f"{gap.name}: {len(gap.evidence)} messages" if gap is not None else f"{len(asked)} lessons were given"
        return msgspec.structs.replace(decision, reason=f"order {order.id}: {why}")

    # --- forging --------------------------------------------------------------------------------------------------------

    def _forge(self) -> None:
        pending = self._look(self._pending)
        if pending is None:
            return
        phase, order, exam, cancel = pending
        if phase == "probation":
            self._run(self._watch)
            return
        if phase == "shadow":
            self._run(lambda: self._compare(order, cancel))
            return
        report = self._spool.report(order.id)
        if report is None:
            self._spool.give(order, exam)
        elif report.ended:
            self._conclude(order, report)
        elif cancel:
            self._spool.cancel(order.id)

    def _pending(self) -> tuple[str, Order, Exam, bool] | None:
        current = ledger.current_round(self._image)
        if current is None:
            return None
        try:
            order = msgspec.json.decode(views.slot(current, "order", str, ""), type=Order)
            exam = msgspec.json.decode(views.slot(current, "exam", str, ""), type=Exam)
        except msgspec.DecodeError:
            return None  # policy put something else there; nobody goes on with it
        return str(current.own("phase")), order, exam, ledger.holder(self._image).own("cancel") == order.id

    def _conclude(self, order: Order, report: OrderReport) -> None:
        """The forge has ended: judge, and install in one commit, or say why not."""
        rule = self._look(lambda: policy.read(views.slot(ledger.holder(self._image), policy.SLOT, dict, {}))[0])
        answers = self._spool.answers(order.id)
        stated = self._look(lambda: self._stated(answers)) if answers is not None else []
        verdict = verdict_of(order, report, stated, rule)
        if verdict.fate == "accepted":
            manifest = msgspec.convert(report.manifest, Manifest)
            try:
                self._bring_in(manifest, str(self._spool.work(order.id) / "adapter"))
            except (ImageError, OSError, POSError) as error:
                verdict = GateVerdict("refused", [f"it cannot be taken in: {error}"[:500]])
        self._run(lambda: self._settle(order, report, verdict))
        self._spool.forget_others(self._look(self._known))

    def _known(self) -> set[str]:
        return {views.slot(each, "id", str, "") for each in views.objects(ledger.holder(self._image), "rounds")}

    def _settle(self, order: Order, report: OrderReport, verdict: GateVerdict) -> None:
        image, mind = self._image, self._image.named(MIND)
        current = ledger.current_round(image)
        if current is None or current.own("id") != order.id or current.own("phase") != "forging":
            return
        if verdict.fate == "accepted" and self._serving(mind) != order.start:
            verdict = GateVerdict("refused", [_OVERTAKEN])
        digest = str((report.manifest or {}).get("digest", ""))
        current.put("report", {name: value for name, value in msgspec.to_builtins(report).items() if name != "manifest"})
        current.put("digest", digest)
        current.put("cpu_s", float(report.cpu_s))
        candidate = model_registry.at(image, "adapter", digest) if verdict.fate == "accepted" else None
        if candidate is None:
            self._end(current, GateVerdict("refused", ["the image has it no more"]) if verdict.fate == "accepted" else verdict)
        elif policy.read(views.slot(ledger.holder(image), policy.SLOT, dict, {}))[0].shadow:
            self._judge(current, verdict)
            current.put("shadowed", int(time.time()))
            current.put("phase", "shadow")
            facts = {"order": order.id, "done": "shadow", "digest": digest, "why": "; ".join(verdict.reasons)}
            chronicle.record(image, "adapter", author=BY, object=current, facts=facts)
        else:
            self._install(current, mind, candidate, verdict)

    def _compare(self, order: Order, cancel: bool) -> None:
        """A candidate drafts beside the adapter in service: see how it stands with it."""
        image, mind = self._image, self._image.named(MIND)
        current = ledger.current_round(image)
        if current is None or current.own("id") != order.id or current.own("phase") != "shadow":
            return
        rule, _ = policy.read(views.slot(ledger.holder(image), policy.SLOT, dict, {}))
        candidate = model_registry.at(image, "adapter", views.slot(current, "digest", str, ""))
        seen, since = ledger.shadowed(current), views.slot(current, "shadowed", int, 0)
        standing = shadow.standing(seen, rule, over=time.time() - since >= rule.shadow_s)
        if candidate is None:
            standing = ShadowStanding("refused", "somebody has removed it")
        elif cancel:
            standing = ShadowStanding("refused", "cancelled")
        elif self._serving(mind) != order.start:
            standing = ShadowStanding("refused", _OVERTAKEN)
        if standing.state == "drafting":
            return
        if standing.state == "refused" or candidate is None:
            self._end(current, GateVerdict("refused", [standing.why]))
            if candidate is not None and not model_registry.users(image, "adapter").get(candidate._p_oid):
                model_registry.remove(image, "adapter", candidate)
            return
        reasons = views.slot(current, "verdict", dict, {}).get("reasons", [])
        told = [why for why in reasons if type(why) is str] if type(reasons) is list else []
        self._install(current, mind, candidate, GateVerdict("accepted", [*told, standing.why]))

    def _serving(self, mind: UvmObject) -> str:
        """The digest of the adapter in service; empty: none."""
        adapter = ledger.adapter_of(self._image, mind)
        return views.weights(adapter, "adapter").digest if adapter is not None else ""

    @staticmethod
    def _judge(current: UvmObject, verdict: GateVerdict) -> None:
        current.put("verdict", {"fate": verdict.fate, "reasons": verdict.reasons})

    def _end(self, current: UvmObject, verdict: GateVerdict) -> None:
        """The candidate never was in service."""
        digest, why = views.slot(current, "digest", str, ""), "; ".join(verdict.reasons)
        self._judge(current, verdict)
        current.put("phase", "ended")
        current.put("outcome", why[:2000])
        if verdict.fate == "quarantined" and digest:
            revocations.revoke(self._image, Author("adapter", digest), [], why, BY)
        facts = {"order": current.own("id"), "done": verdict.fate, "digest": digest, "why": why}
        chronicle.record(self._image, "adapter", author=BY, object=current, facts=facts)

    def _install(self, current: UvmObject, mind: UvmObject, candidate: UvmObject, verdict: GateVerdict) -> None:
        """The switch, in one commit with what is known of it."""
        was = mind.own("adapter")
        self._judge(current, verdict)
        current.put("before", ledger.adapter_of(self._image, mind))
        mind.put("adapter", candidate)
        model_registry.take(candidate)
        current.put("installed", int(time.time()))
        current.put("phase", "probation")
        effects = [(mind, "adapter", was, candidate, None), *judgement.follow(self._image, mind)]
        facts = {"order": current.own("id"), "done": "accepted", "digest": candidate.own("digest"), "why": "; ".join(verdict.reasons)}
        chronicle.record(self._image, "adapter", author=BY, object=mind, slot="adapter", effects=effects, facts=facts)
        log.info("an adapter was put into service", **facts)

    # --- probation ------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        image, mind = self._image, self._image.named(MIND)
        current = ledger.current_round(image)
        if current is None or current.own("phase") != "probation":
            return
        rule, _ = policy.read(views.slot(ledger.holder(image), policy.SLOT, dict, {}))
        adapter, digest = ledger.adapter_of(image, mind), views.slot(current, "digest", str, "")
        if adapter is None or views.weights(adapter, "adapter").digest != digest:
            current.put("phase", "ended")
            current.put("outcome", "a message put another adapter in its place")
            return
        installed = views.slot(current, "installed", int, 0)
        since = ledger.record_of(image, installed, float("inf"))
        before = ledger.record_of(image, installed - ledger.AGE_S, installed)
        standing, why = probation.standing(before, since, rule.probation)
        if standing == "rolled back":
            self._roll_back(current, mind, adapter, digest, why)
        elif standing == "kept":
            current.put("phase", "ended")
            current.put("outcome", f"kept: {why}")
            chronicle.record(
                image,
                "adapter",
                author=BY,
                object=current,
                facts={"order": current.own("id"), "done": "kept", "digest": digest, "why": why},
            )

    def _roll_back(self, current: UvmObject, mind: UvmObject, adapter: UvmObject, digest: str, why: str) -> None:
        """The adapter before it, in the same commit in which this one's methods begin to go out of use."""
        image, before = self._image, current.own("before")
        if type(before) is UvmObject and model_registry.at(image, "adapter", str(before.own("digest"))) is before:
            mind.put("adapter", before)
            model_registry.take(before)
        else:
            mind.drop("adapter")
        author = Author("adapter", digest)
        judged, left = revocations.portion(revocations.to_quarantine(image, author))
        revocations.revoke(image, author, judged, why, BY, left=left)
        current.put("phase", "ended")
        current.put("outcome", f"rolled back: {why}")
        effects = [(mind, "adapter", adapter, mind.own("adapter"), None), *judgement.follow(image, mind)]
        facts = {"order": current.own("id"), "done": "rolled back", "digest": digest, "why": why, "quarantined": len(judged)}
        chronicle.record(image, "adapter", author=BY, object=mind, slot="adapter", effects=effects, facts=facts)
        log.warning("an adapter was rolled back", **facts)

    # --- transactions -----------------------------------------------------------------------------------------------------

    def _run(self, function: Callable[[], _T]) -> _T:
        def checked() -> _T:
            self._check()
            return function()

        return self._transactor.run(checked)

    def _look(self, function: Callable[[], _T]) -> _T:
        return self._transactor.look(function)


_ENGAGED: Final = {
    "forging": "the forge has an order",
    "shadow": "a candidate drafts beside the adapter in service",
    "probation": "an adapter is on probation",
}
_OVERTAKEN: Final = "another adapter was put into service meanwhile; it was not compared with that one"


def verdict_of(order: Order, report: OrderReport, stated: list[StatedPair], rule: AutotelicPolicy) -> GateVerdict:
    """The gate's verdict on what the forge and its examiner say, and on what the image's decision states (`stated`) of what was written.

    Nothing is accepted of which not everything was measured.
    """
    if report.state != "trained":
        return GateVerdict("refused", [f"{report.state}: {report.detail}" if report.detail else report.state])
    try:
        msgspec.convert(report.manifest, Manifest)
    except msgspec.ValidationError as error:
        return GateVerdict("refused", [f"its files were not checked: {error}"[:500]])
    if order.distance and (report.distance is None or report.distance > order.distance):
        return GateVerdict("refused", [f"its distance to the parent is {report.distance} nats a token; {order.distance:g} are allowed"])
    slices = {name: Pairs(counts.both, counts.gained, counts.lost, counts.neither) for name, counts in report.slices.items()}
    if stated:
        slices[gate.ALFRED] = calibration.alfreds(stated, report.gap)
    return gate.judged(
        slices,
        report.gap,
        calibration.measured(stated) if stated else None,
        gamed=report.gamed,
        planted=report.planted,
        margin=rule.margin,
        epsilon=rule.epsilon,
        calibration=rule.calibration,
        alpha=rule.alpha,
    )

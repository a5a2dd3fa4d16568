"""The loop itself, as the heartbeat calls it, once a beat: measure, decide, order, hear, judge, install, watch.

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

from deploy.orders import Exam, Order, OrderReport, Spool
from inference_worker.protocol import Manifest
from uvm.autotelic import dissonance, gate, inquiry, ledger, lessons, policy, probation, switches
from uvm.autotelic.dissonance import Decision
from uvm.autotelic.gate import GateVerdict, Pairs
from uvm.autotelic.policy import AutotelicPolicy
from uvm.autotelic.windows import Composite, Sums, Windows
from uvm.errors import ImageError
from uvm.history import chronicle
from uvm.image import model_registry, revocations, views
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
    """The loop's memory of one process: the newest sums. Everything else is in the image, and in the forge's directories."""

    def __init__(
        self,
        image: Image,
        transactor: Transactor,
        spool: Spool,
        check: Callable[[], None],
        bring_in: Callable[[Manifest, str], None],
        *,
        forge_runs: bool,
    ) -> None:
        self._image = image
        self._transactor = transactor
        self._spool = spool
        self._check = check
        self._bring_in = bring_in
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
        verdict = verdict_of(report, rule)
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
        before = ledger.adapter_of(image, mind)
        standing = views.weights(before, "adapter").digest if before is not None else ""
        if verdict.fate == "accepted" and standing != order.start:
            verdict = GateVerdict("refused", ["another adapter was put into service meanwhile; it was not compared with that one"])
        digest = str((report.manifest or {}).get("digest", ""))
        current.put("report", {name: value for name, value in msgspec.to_builtins(report).items() if name != "manifest"})
        current.put("verdict", {"fate": verdict.fate, "reasons": verdict.reasons})
        current.put("digest", digest)
        current.put("cpu_s", float(report.cpu_s))
        facts = {"order": order.id, "done": verdict.fate, "digest": digest, "why": "; ".join(verdict.reasons)}
        candidate = model_registry.at(image, "adapter", digest) if verdict.fate == "accepted" else None
        if candidate is None:
            current.put("phase", "ended")
            current.put("outcome", "; ".join(verdict.reasons)[:2000])
            if verdict.fate == "quarantined" and digest:
                revocations.revoke(image, Author("adapter", digest), [], facts["why"], BY)
            chronicle.record(image, "adapter", author=BY, object=current, facts=facts)
            return
        was = mind.own("adapter")
        mind.put("adapter", candidate)
        model_registry.take(candidate)
        current.put("before", before)
        current.put("installed", int(time.time()))
        current.put("phase", "probation")
        effect = (mind, "adapter", was, candidate, None)
        chronicle.record(image, "adapter", author=BY, object=mind, slot="adapter", effects=[effect], facts=facts)
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
        effect = (mind, "adapter", adapter, mind.own("adapter"), None)
        facts = {"order": current.own("id"), "done": "rolled back", "digest": digest, "why": why, "quarantined": len(judged)}
        chronicle.record(image, "adapter", author=BY, object=mind, slot="adapter", effects=[effect], facts=facts)
        log.warning("an adapter was rolled back", **facts)

    # --- transactions -----------------------------------------------------------------------------------------------------

    def _run(self, function: Callable[[], _T]) -> _T:
        def checked() -> _T:
            self._check()
            return function()

        return self._transactor.run(checked)

    def _look(self, function: Callable[[], _T]) -> _T:
        return self._transactor.look(function)


_ENGAGED: Final = {"forging": "the forge has an order", "probation": "an adapter is on probation"}


def verdict_of(report: OrderReport, rule: AutotelicPolicy) -> GateVerdict:
    """The gate's verdict on what the forge and its examiner say. Nothing is accepted of which not everything was measured."""
    if report.state != "trained":
        return GateVerdict("refused", [f"{report.state}: {report.detail}" if report.detail else report.state])
    try:
        msgspec.convert(report.manifest, Manifest)
    except msgspec.ValidationError as error:
        return GateVerdict("refused", [f"its files were not checked: {error}"[:500]])
    slices = {name: Pairs(counts.both, counts.gained, counts.lost, counts.neither) for name, counts in report.slices.items()}
    return gate.judged(
        slices, report.gap, gamed=report.gamed, planted=report.planted, margin=rule.margin, epsilon=rule.epsilon, alpha=rule.alpha
    )

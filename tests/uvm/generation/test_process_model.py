"""The writing of methods against a model: whatever happens in whatever order, each waiter is answered once, and all is bounded.

What must hold of each instruction is `Played.look`'s: one trial a receiver, nothing for what is over, no stage but the next one, no
installation without the claim.
"""

from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.uvm.generation.played import OK, Played, needs, request_for, thinks, unanswered, wrote
from uvm.errors import ImageFull, KernelFault
from uvm.generation.events import (
    Chosen,
    Claimed,
    ClaimLost,
    GenerationEvent,
    LibraryFound,
    NeedProbed,
    ObjectsChanged,
    PersonaUnknown,
    RuleFailed,
    ThoughtAnswered,
    ThoughtUnanswered,
    TrialBusy,
    TrialEnded,
    WriterFailed,
    WritingDelta,
)
from uvm.generation.generation import AGAIN, NEEDS, RETRIALS
from uvm.generation.instructions import (
    ApplyRule,
    AskWriter,
    DrawCommission,
    Install,
    KeepClauses,
    LookUpLibrary,
    ProbeNeed,
    ResolveNeed,
    TakeClaim,
)
from uvm.generation.process import requests
from uvm.generation.stages import Claim, Draft
from uvm.trial.protocol import TrialError, TrialOutcome

MOST = 5
DRAFTS = 3
SELECTORS = tuple(f"m{number}" for number in range(8))
BODIES = (
    *("    return self.cost", "    return self.tags", "    return 7", "    import os", "    return self."),
    *("    return self.m1() + self.m2()", "    return [self.m3(), self.m4(), self.m5()]"),
)
picks = st.integers(0, 1000)
selectors = st.sampled_from(SELECTORS)
REFUSAL = {"type": "Refused", "message": "no", "remedy": "", "details": {}}


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.most = mock.patch.object(requests, "MOST", MOST)
        self.most.start()
        self.world = Played(drafts=DRAFTS)

    # --- what happens ---

    @rule(selector=selectors, receiver=st.integers(1, 2), offered=st.booleans(), plan=st.sampled_from(["p", "p", "p", 5]))
    def request(self, selector: str, receiver: int, offered: bool, plan: object) -> None:
        source = f"def {selector}(self):\n    return 1\n" if offered else None
        request = request_for(selector, receiver, offered=source, plan={"prompt": plan, "personas": ["brick"], "drafts": DRAFTS})
        self.world.request(request)

    @rule(selector=selectors, receiver=st.integers(1, 2), keeps=st.booleans())
    def request_a_test(self, selector: str, receiver: int, keeps: bool) -> None:
        self.world.request(request_for(f"test:{selector}:{receiver}", receiver, selector=selector, tested=bytes(8), keeps=keeps))

    @rule(seconds=st.sampled_from((0.05, 0.3, 6.0)))
    def wait(self, seconds: float) -> None:
        self.world.passes(seconds)

    @precondition(lambda self: self.world.pending)
    @rule(pick=picks)
    def go_well(self, pick: int) -> None:
        order = self.world.pending[pick % len(self.world.pending)]
        self.world.end(order, self.world.well(order))

    @precondition(lambda self: self.world.pending)
    @rule(pick=picks, which=picks, drafts=st.lists(st.sampled_from(BODIES), min_size=1, max_size=2))
    def go_otherwise(self, pick: int, which: int, drafts: list[str]) -> None:
        order = self.world.pending[pick % len(self.world.pending)]
        number = getattr(order, "generation", 0)
        others: list[GenerationEvent] = []
        match order:
            case TakeClaim(request=request):
                left = [Draft(source=f"def {request.selector}(self):\n{body}\n", persona="ann") for body in drafts]
                claims = [("theirs", "drafted", []), ("installed", "installed", []), ("refused", "refused", []), ("mine", "drafted", left)]
                oid = bytes(6) + number.to_bytes(2)
                others = [Claimed(number, Claim(state, oid, stage, stored, REFUSAL)) for state, stage, stored in claims]
            case LookUpLibrary(request=request):
                others = [LibraryFound(number, f"def {request.selector}(self):\n{drafts[0]}\n", "ann")]
            case DrawCommission():
                others = [PersonaUnknown(number, "it is not there")]
            case ProbeNeed():
                others = [NeedProbed(number, "it waits for itself")]
            case ApplyRule(candidates=candidates):
                others = [RuleFailed(number, "no"), Chosen(number, "none"), Chosen(number, candidates[-1]["index"])]
            case Install():
                others = [ObjectsChanged(number)] * 3
            case ResolveNeed():
                return
        wrong = [self.world.wrong(order, error) for error in (KernelFault("a fault"), ImageFull("no room"), None)]
        ways = [*others, *others, *wrong, *([] if isinstance(order, TakeClaim | KeepClauses) else [ClaimLost(number)])]
        self.world.end(order, ways[which % len(ways)])

    @precondition(lambda self: self.world.questions)
    @rule(pick=picks, bodies=st.lists(st.sampled_from(BODIES), min_size=1, max_size=DRAFTS), well=st.booleans())
    def answer(self, pick: int, bodies: list[str], well: bool) -> None:
        question = sorted(self.world.questions)[pick % len(self.world.questions)]
        order = self.world.questions.pop(question)
        number, failed = order.generation, unanswered(question)
        if isinstance(order, AskWriter):
            self.world.happens(WritingDelta(number, question, 0, "re"))
            self.world.happens(wrote(order, *bodies) if well else WriterFailed(number, question, failed))
            self.world.happens(WriterFailed(number, question, failed))  # twice is ignored
        else:
            self.world.happens(ThoughtAnswered(number, question, "so") if well else ThoughtUnanswered(number, question, failed))

    @precondition(lambda self: self.world.trials)
    @rule(pick=picks, outcome=st.sampled_from(("ok", "ok", "failed", "killed", "amnesia", "thought", "busy")))
    def end_trial(self, pick: int, outcome: str) -> None:
        outcomes = {
            "ok": OK,
            "failed": TrialOutcome(kind="failed", error=TrialError("TypeError", "no")),
            "killed": TrialOutcome(kind="killed", killed_by="trial.wall_s"),
            "amnesia": TrialOutcome(kind="ok", amnesia=["@1.tags"]),
            "thought": thinks(f"{pick}:why"),
        }
        number = sorted(self.world.trials)[pick % len(self.world.trials)]
        del self.world.trials[number]
        self.world.happens(TrialBusy(number) if outcome == "busy" else TrialEnded(number, outcomes[outcome]))

    @precondition(lambda self: self.world.trials)
    @rule(pick=picks, selector=selectors)
    def need(self, pick: int, selector: str) -> None:
        number = sorted(self.world.trials)[pick % len(self.world.trials)]
        del self.world.trials[number]
        self.world.happens(TrialEnded(number, needs(selector)))

    @rule(pick=picks)
    def lose(self, pick: int) -> None:
        """A renewal finds another owner."""
        generations = self.world.process.registry.by_number
        lasting = {order.generation for order in [*self.world.questions.values(), *self.world.trials.values()]}
        mine = sorted(number for number in lasting if not generations[number].testing)
        if mine:
            self.world.happens(ClaimLost(mine[pick % len(mine)]))

    # --- what must hold ---

    @invariant()
    def nobody_is_forgotten(self) -> None:
        generations = self.world.process.registry.by_number.values()
        waiting = sorted(waiter for generation in generations for waiter in generation.waiters if isinstance(waiter, int))
        assert waiting == sorted(self.world.waiting)

    @invariant()
    def bounds_hold(self) -> None:
        world, generations = self.world, self.world.process.registry.by_number
        assert len(generations) == len(world.process.registry.by_key) <= MOST
        running = {question for generation in generations.values() for question in generation.questions}
        assert set(world.questions) == running, "a question is asked for what goes on, and cancelled with it"
        assert set(world.trials) == {number for number, generation in generations.items() if generation.step == "trying"}
        for number in world.numbers:
            assert world.counts["DrawCommission", number] <= AGAIN + 1
            assert world.counts["AskWriter", number] <= (AGAIN + 1) * DRAFTS
            assert world.counts["ProbeNeed", number] <= NEEDS
            assert world.counts["Install", number] <= RETRIALS + 1
            assert world.counts["BackToTrial", number] <= RETRIALS
            assert world.counts["AskThought", number] <= 2 * DRAFTS * (AGAIN + 1) * RETRIALS + RETRIALS

    def teardown(self) -> None:
        """However it went: where all goes well from now on, everybody is answered, and nothing is left."""
        try:
            for _ in range(2000):
                self.world.goes_well()
                if self.world.questions:
                    question = next(iter(self.world.questions.values()))
                    self.world.answered(*[BODIES[0]] * (DRAFTS if isinstance(question, AskWriter) else 1))
                elif self.world.trials:
                    self.world.tried(OK)
                elif self.world.waiting:
                    self.world.passes(1.0)
                else:
                    break
            assert not self.world.waiting and not self.world.process.registry.by_key and not self.world.process.registry.by_number
        finally:
            self.most.stop()


TestGenerationProcess = Model.TestCase
TestGenerationProcess.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)

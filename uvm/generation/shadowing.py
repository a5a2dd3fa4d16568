"""A candidate's drafts for live messages, beside those of the adapter in service, and seen by nobody who sent one.

Owned by the UVM's main thread, through `uvm.generation.writers`. While a round of the autotelic loop is in its shadow, messages whose
methods the model wrote here wait in a short queue (`HELD`; the newest stay: it is a sample, and no promise). When nobody waits for this
process or, as far as is known, for the model, one of them is taken: the candidate is asked what the adapter in service was asked first, at
the lowest priority; its drafts are audited and tried in confined children like any others, on the state of the objects that the message
met; and the image's rule says which it holds for the best. What that does is compared, and one line goes into the round. Nothing of it is
installed, stored in the message, published, learned from, or charged to anybody. Whoever comes meanwhile goes first: the question is taken
back, and the message waits again.
"""

import random
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog
from msgspec import Struct
from msgspec.structs import replace
from ZODB.POSException import ConflictError

from deploy.settings import Settings
from inference_worker.protocol import Completed, Generate, RequestFailed
from uvm.autotelic import ledger, shadow
from uvm.autotelic.shadow import ShadowedMessage, ShadowOrder
from uvm.errors import AttemptEnded, ImageError
from uvm.generation import decision, features, questions, stages
from uvm.generation.drafting import Materialize
from uvm.generation.installer import Installer
from uvm.generation.instructions import DraftInShadow
from uvm.generation.questions import UNATTENDED, Voice
from uvm.generation.stages import Draft
from uvm.generation.trying import DraftTrials
from uvm.generation.verdicts import examine, judge
from uvm.image import model_registry
from uvm.image.image import Image
from uvm.image.transactor import ImageAway, Transactor
from uvm.inference.client import InferenceClient
from uvm.protocol import Reference
from uvm.trial.client import TrialsBusy, TrialUnavailable
from uvm.trial.protocol import TrialOutcome
from uvm.trial.trial import Trial

HELD: Final = 4
"""Messages that wait for the candidate."""
REST_S: Final = 5.0
"""After somebody went first, before it is tried again."""
_SESSION: Final = f"{UNATTENDED} shadow"

log = structlog.get_logger()


class Shadowing(Struct):
    """One message that the candidate drafts for. `question`: the model is being asked; `trying`: which draft is tried."""

    order: ShadowOrder
    live: DraftInShadow
    question: str = ""
    drafts: list[Draft] = []
    trying: int = -1


class ShadowDrafts:
    """The shadow of one UVM."""

    def __init__(
        self,
        settings: Settings,
        image: Image,
        transactor: Transactor,
        installer: Installer,
        materialize: Materialize,
        inference: InferenceClient,
        trials: DraftTrials,
    ) -> None:
        self._settings = settings
        self._image = image
        self._transactor = transactor
        self._installer = installer
        self._materialize = materialize
        self._inference = inference
        self._draft_trials = trials
        self._waiting: deque[DraftInShadow] = deque(maxlen=HELD)
        self._now: Shadowing | None = None
        self._trial: Trial | None = None
        self._rests_until = 0.0

    def ended(self, live: DraftInShadow) -> None:
        """The model's drafts of a live message were decided on."""
        self._waiting.append(live)

    def trial(self) -> Trial | None:
        """The trial that runs."""
        return self._trial

    def readable(self, trial: Trial) -> None:
        """The trial's descriptor is readable."""
        self._after(trial, trial.on_readable())

    def tick(self, now: float, idle: bool) -> None:
        """Go on, or let somebody go first. `idle`: nobody waits for a method in this process."""
        if self._trial is not None:
            self._after(self._trial, self._trial.expired(now))
        elif self._now is not None and self._now.question:
            if not idle or self._inference.crowded(1):
                self._step_aside(now)
        elif self._now is not None:
            self._carefully(self._try_next)
        elif self._waiting and idle and now >= self._rests_until and not self._inference.crowded(0):
            self._carefully(lambda: self._begin(self._waiting.popleft()))

    def close(self) -> None:
        """Let go of everything."""
        self._waiting.clear()
        self._drop()

    # --- one message ---------------------------------------------------------------------------------------------------

    def _begin(self, live: DraftInShadow) -> None:
        order = self._transactor.look(lambda: self._order(live))
        if order is None:
            return
        persona = next(iter(live.commission.personas))
        voice = Voice(live.commission.personas[persona].model, order.candidate, "candidate")
        (_, generate), *_ = questions.requests(
            live.request,
            live.plan,
            replace(live.commission, personas={persona: voice}),
            [],
            rounds=0,
            seed=int.from_bytes(live.oid),
            deadline_ms=int(self._settings.uvm.generation_deadline_s * 1000),
            identifier=lambda asker: self._inference.identifier(f"shadow-{live.oid.hex()}-{asker}"),
        )
        asked = replace(generate, priority="background", session=_SESSION, stream=False)
        self._now = Shadowing(order, live, asked.id)
        self._inference.ask(asked, self._settings.uvm.generation_deadline_s, lambda answer: self._answered(persona, asked, answer))

    def _order(self, live: DraftInShadow) -> ShadowOrder | None:
        """What is compared now, if this message says something of it; the candidate's files are there then. Within a transaction."""
        order = ledger.shadowing(self._image, time.time())
        voice = next(iter(live.commission.personas.values()))
        if order is None or voice.adapter != order.current:
            return None
        candidate = model_registry.at(self._image, "adapter", order.candidate)
        if candidate is None or candidate.own("base") != voice.model:
            return None
        self._materialize(candidate, "adapter")
        return order

    def _answered(self, persona: str, asked: Generate, answer: Completed | RequestFailed) -> None:
        current = self._now
        if current is None or current.question != asked.id:
            return
        current.question = ""
        if not isinstance(answer, Completed):
            self._drop()  # that the engine was away says nothing of the candidate
            return
        request, manner = current.live.request, current.live.commission.manner(persona)
        signature = str(request.reified["signature"])
        current.drafts = stages.unique(questions.drafts_of(signature, persona, asked.samplings, answer, manner.guidance != "none"))
        examine(current.drafts, request)
        self._carefully(self._try_next)

    def _try_next(self) -> None:
        current = self._now
        if current is None:
            return
        current.trying = next((number for number, draft in enumerate(current.drafts) if not draft.outcome), -1)
        if current.trying < 0:
            self._conclude(current)
            return
        draft = current.drafts[current.trying]
        try:
            self._trial = self._draft_trials.beside(current.live.request, draft.source, draft.persona, current.live.tid)
        except TrialsBusy:
            return  # the next tick tries again
        except TrialUnavailable:
            self._drop()

    def _after(self, trial: Trial, outcome: TrialOutcome | None) -> None:
        current = self._now
        if outcome is None or trial is not self._trial or current is None:
            return
        self._trial = None
        judge(current.drafts[current.trying], outcome)
        self._carefully(self._try_next)

    def _conclude(self, current: Shadowing) -> None:
        """All drafts are tried: what the candidate would have done goes into the round."""
        live, self._now = current.live, None
        beside = self._compared(current)
        if beside is None:
            return
        reference = str(Reference(live.oid))
        seen = ShadowedMessage(reference, live.request.selector, "installed" if live.installed else "refused", beside)
        self._transactor.run(lambda: ledger.enter_shadowed(self._image, current.order.id, seen, time.time()))
        log.info("a candidate drafted beside", order=current.order.id, message=reference, current=seen.current, candidate=beside)

    def _compared(self, current: Shadowing) -> shadow.Beside | None:
        """What the candidate would have done; None where it cannot be compared, as its drafts need what is written for live messages
        alone.
        """
        live, drafts = current.live, current.drafts
        fit = stages.fit(drafts)
        if fit:
            listed = decision.candidates(live.request, drafts, live.request.risk or self._settings.uvm.risk)
            choice = decision.choice_of(self._transactor.look(lambda: self._installer.rule(live.request, listed)), fit)
            if choice is None or choice.draft is None:
                return None
            return "same" if drafts[choice.draft].group == live.group else "other"
        if any(draft.outcome in ("need", "thought") for draft in drafts):
            return None
        if features.declining(drafts) * 2 > features.written(drafts) or not live.fit:
            return "declined"
        return "erred"

    # --- letting go ------------------------------------------------------------------------------------------------------

    def _step_aside(self, now: float) -> None:
        """Somebody waits: the model is let go, and the message waits for the candidate again."""
        if self._now is not None:
            self._inference.cancel(self._now.question)
            if len(self._waiting) < HELD:
                self._waiting.appendleft(self._now.live)
        self._now, self._rests_until = None, now + random.uniform(1, 3) * REST_S  # other processes may have stepped aside for this one

    def _drop(self) -> None:
        if self._now is not None and self._now.question:
            self._inference.cancel(self._now.question)
        if self._trial is not None:
            self._trial.cancel()
        self._now = self._trial = None

    def _carefully(self, step: Callable[[], None]) -> None:
        """Carry out a step. Whatever the image says to it, a shadow fails nobody's message."""
        try:
            step()
        except ImageAway:
            raise
        except (ImageError, AttemptEnded, ConflictError) as error:
            log.warning("a candidate could not draft beside", error=f"{type(error).__name__}: {error}"[:300])
            self._drop()
        except Exception:  # whatever it is, it goes into the log
            log.exception("a fault while a candidate drafted beside")
            self._drop()

"""The instructions that try drafts: which trials run, for which generations. How they end is told by whoever polls them.

Owned by the UVM's main thread, through `uvm.generation.writers`.
"""

from deploy.settings import Settings
from uvm.errors import Refused
from uvm.generation.events import TrialBusy, TrialEnded
from uvm.generation.handlers import Handlers
from uvm.generation.installer import Installer
from uvm.generation.instructions import BeginTrial, CancelTrial
from uvm.generation.proposals import PREFIX
from uvm.generation.request import MethodRequest
from uvm.image.queries import capacity
from uvm.image.transactor import Transactor
from uvm.trial.client import TrialsBusy, TrialServer, TrialUnavailable
from uvm.trial.protocol import TrialOutcome, TrialRequest
from uvm.trial.trial import Trial
from uvm.values.examples import labels


class DraftTrials:
    """The trials of one process, by the number of the generation. `handlers`: the instructions that it carries out."""

    def __init__(self, settings: Settings, transactor: Transactor, installer: Installer, server: TrialServer) -> None:
        self._settings = settings
        self._transactor = transactor
        self._installer = installer
        self._server = server
        self._trials: dict[int, Trial] = {}
        self.handlers: Handlers = {
            BeginTrial: self._begin_trial,
            CancelTrial: self._cancel_trial,
        }

    def running(self) -> list[Trial]:
        """The trials that run, to be polled for reading."""
        return list(self._trials.values())

    def ended(self, trial: Trial, outcome: TrialOutcome) -> TrialEnded | None:
        """The trial has ended; nothing, if nobody waits for it any more."""
        number = self.number_of(trial)
        return None if self._trials.pop(number, None) is None else TrialEnded(number, outcome)

    def number_of(self, trial: Trial) -> int:
        """The generation whose trial this is; none, if it was cancelled meanwhile."""
        return next((number for number, running in self._trials.items() if running is trial), 0)

    def beside(self, request: MethodRequest, source: str, author: str, tid: bytes) -> Trial:
        """Try a draft that no generation has, on the objects as of a transaction; whoever asks for it polls it.

        Raises TrialUnavailable, TrialsBusy.
        """
        return self._server.begin(self._tried(request, source, author, {}, tid), self._transactor.record)

    def _begin_trial(self, order: BeginTrial) -> TrialBusy | None:
        request = order.request
        trial = self._tried(request, order.source, order.author, order.thoughts)
        try:
            self._trials[order.generation] = self._server.begin(trial, self._transactor.record)
        except TrialsBusy:
            return TrialBusy(order.generation)
        except TrialUnavailable as error:
            raise Refused(f"{request.selector} cannot be tried: {error}", "send it again in a moment") from error
        return None

    def _tried(self, request: MethodRequest, source: str, author: str, thoughts: dict[str, str], tid: bytes = b"") -> TrialRequest:
        holder, made_up, subjects = self._transactor.look(
            lambda: (
                self._installer.holder(request),
                self._installer.made_up(request, source),
                self._installer.subjects(request),
            )
        )
        return TrialRequest(
            tid=tid or self._transactor.newest(),
            receiver=request.receiver,
            holder=request.receiver if holder is None else holder,
            selector=request.selector,
            source=source,
            positional=request.positional,
            args=request.args,
            kwargs=request.kwargs,
            examples=request.examples,
            labels=labels(request.clauses),
            subjects=subjects,
            raises=request.raises,
            made_up=made_up,
            overlay=request.overlay,
            thoughts=thoughts,
            now=request.asked_at,
            ticks=min(self._settings.uvm.ticks, request.limits.ticks),
            limits=request.limits,
            answer_bytes=capacity(self._settings.bridge.max_frame_bytes),
            seconds=self._settings.uvm.message_limit_s,
            author=author or "tool",
            rights=request.rights,
            policy=request.policy,
            alone=request.alone,
            send=request.send and not request.tested,
            unconfined=self._settings.uvm.generation == "always",
            varied=self._settings.uvm.varied if request.offered is None and not request.tested else 0,
            seed=request.key.removeprefix(PREFIX),
        )

    def _cancel_trial(self, order: CancelTrial) -> None:
        trial = self._trials.pop(order.generation, None)
        if trial is not None:
            trial.cancel()

"""The instructions that are transactions: what is stored of a message, and what the image says about it.

Owned by the UVM's main thread, through `uvm.generation.writers`. Each is a short transaction of its own; what is done in it is
`uvm.generation.installer`'s.
"""

from collections.abc import Callable

from uvm.errors import AttemptEnded, ImageError, NoSuchObject
from uvm.generation.events import (
    Chosen,
    Claimed,
    ClausesKept,
    Commissioned,
    Installed,
    LibraryFound,
    MendingFound,
    NeedProbed,
    ObjectsChanged,
    PersonaUnknown,
    RuleFailed,
    StepStored,
)
from uvm.generation.handlers import Handlers
from uvm.generation.installer import Installer
from uvm.generation.instructions import (
    Advance,
    ApplyRule,
    BackToTrial,
    DrawCommission,
    Install,
    KeepClauses,
    LookUpLibrary,
    LookUpMending,
    NoteWait,
    ProbeNeed,
    RenewLease,
    TakeClaim,
)
from uvm.image.transactor import Transactor


class GenerationTransactions:
    """The writers' transactions. `stored` is called with each stage that is committed; `handlers`: the instructions that it carries out."""

    def __init__(self, transactor: Transactor, installer: Installer, stored: Callable[[Advance], None]) -> None:
        self._transactor = transactor
        self._installer = installer
        self._stored = stored
        self.handlers: Handlers = {
            TakeClaim: self._take_claim,
            Advance: self._advance,
            RenewLease: self._renew_lease,
            NoteWait: self._note_wait,
            BackToTrial: self._back_to_trial,
            Install: self._install,
            KeepClauses: self._keep_clauses,
            LookUpLibrary: self._look_up_library,
            DrawCommission: self._draw_commission,
            ProbeNeed: self._probe_need,
            ApplyRule: self._apply_rule,
            LookUpMending: self._look_up_mending,
        }

    # --- the message in the image ------------------------------------------------------------------------------------

    def _take_claim(self, order: TakeClaim) -> Claimed:
        return Claimed(order.generation, self._transactor.run(lambda: self._installer.claim(order.request)))

    def _advance(self, order: Advance) -> StepStored:
        self._transactor.run(lambda: self._installer.advance(order))
        self._stored(order)
        return StepStored(order.generation)

    def _renew_lease(self, order: RenewLease) -> None:
        self._transactor.run(lambda: self._installer.renew(order.oid, order.stage))

    def _note_wait(self, order: NoteWait) -> StepStored:
        self._transactor.run(lambda: self._installer.wait_for(order.oid, order.key))
        return StepStored(order.generation)

    def _back_to_trial(self, order: BackToTrial) -> StepStored:
        self._transactor.run(lambda: self._installer.back_to_trial(order.oid))
        return StepStored(order.generation)

    def _install(self, order: Install) -> Installed | ObjectsChanged:
        corrected = self._transactor.look(lambda: self._installer.corrected(order.request))
        done = self._transactor.run(lambda: self._installer.put(order))
        return Installed(order.generation, corrected) if done else ObjectsChanged(order.generation)

    def _keep_clauses(self, order: KeepClauses) -> ClausesKept:
        self._transactor.run(lambda: self._installer.keep(order))
        return ClausesKept(order.generation)

    # --- what the image says -----------------------------------------------------------------------------------------

    def _look_up_library(self, order: LookUpLibrary) -> LibraryFound:
        method = self._transactor.look(lambda: self._installer.from_library(order.request))
        return LibraryFound(order.generation, *method) if method is not None else LibraryFound(order.generation)

    def _draw_commission(self, order: DrawCommission) -> Commissioned | PersonaUnknown:
        try:
            return Commissioned(order.generation, self._transactor.look(lambda: self._installer.commission(order.request, order.plan)))
        except NoSuchObject as error:
            return PersonaUnknown(order.generation, error.message)

    def _probe_need(self, order: ProbeNeed) -> NeedProbed:
        return NeedProbed(order.generation, self._transactor.look(lambda: self._installer.needed(order.request, order.need)))

    def _apply_rule(self, order: ApplyRule) -> Chosen | RuleFailed:
        try:
            return Chosen(order.generation, self._transactor.look(lambda: self._installer.rule(order.request, order.candidates)))
        except (ImageError, AttemptEnded) as error:
            return RuleFailed(order.generation, error.message)

    def _look_up_mending(self, order: LookUpMending) -> MendingFound:
        return MendingFound(order.generation, self._transactor.look(lambda: self._installer.mending(order.request, order.failed)))

"""What writing a method does to the image, step by step, each inside the caller's transaction. Owned by one UVM's writers."""

from typing import Any, Final

from deploy.settings import UvmSettings
from uvm.errors import ImageError, NotUnderstood
from uvm.generation import claims
from uvm.generation.drafting import Materialize, commission
from uvm.generation.events import Advance, Install
from uvm.generation.misses import probe
from uvm.generation.questions import Commission
from uvm.generation.request import MethodRequest
from uvm.generation.stages import Claim, Plan
from uvm.history import chronicle
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.image.methods import install, method, quarantined, written_for
from uvm.image.stored import Accounts, charged
from uvm.image.tally import count
from uvm.language.syntax import parse
from uvm.objects import ABSENT, KIND, UvmObject
from uvm.protocol import Reference
from uvm.runtime import gate
from uvm.runtime.attempt import Attempt
from uvm.runtime.authority import check_install
from uvm.runtime.behaviour import method_holder
from uvm.runtime.blame import mending
from uvm.runtime.policy import CHOICE
from uvm.runtime.runtime import Runtime
from uvm.trial.arguments import made_up, sample
from uvm.trial.protocol import Call, Need
from uvm.values.slot_values import copied

_SEEN: Final = 64
"""Slots of the receiver that made-up arguments are chosen after."""


class Installer:
    """The image as the writers of one UVM change it. A transaction is open in each method."""

    def __init__(self, image: Image, runtime: Runtime, settings: UvmSettings, owner: str, materialize: Materialize) -> None:
        self._image = image
        self._runtime = runtime
        self._settings = settings
        self._owner = owner
        self._materialize = materialize

    # --- the message object ------------------------------------------------------------------------------------------

    def claim(self, request: MethodRequest) -> Claim:
        """Claim the message. Raises NotUnderstood where nothing could hold the method."""
        receiver = self._receiver(request)
        facts = {
            **request.reified,
            "selector": request.selector,
            "receiver": receiver,
            "depth": request.depth,
            "waits_for": [],
        }
        answer: Any = receiver.lookup(request.selector) if request.offered is None and receiver is not None else ABSENT
        fulfilled = answer is not ABSENT and not (is_method(answer) and quarantined(answer))
        if request.offered is None and self.holder(request) is None:
            raise NotUnderstood(
                f"{request.selector} is not understood, and only a primordial object could hold it", "send it to an object of your own"
            )
        claim = claims.claim(self._image, request.key, facts, self._owner, request.asked_at, fulfilled)
        if claim.state == "mine":
            Accounts(self._image).check(request.principal, request.limits.stored, len(request.offered or "") + 1)
        return claim

    def advance(self, order: Advance) -> None:
        """Store the message's next stage. Raises LostClaim."""
        message = claims.advance(self._image, order.oid, self._owner, order.before, order.after, **order.slots)
        if order.after == "refused":
            self._charge(order.request, order.oid)
            chronicle.record(
                self._image,
                "refusal",
                author=order.request.principal or "tool",
                cause=message,
                object=self._receiver(order.request),
                slot=order.request.selector,
                facts={"type": order.slots["refusal"]["type"], "why": order.slots["refusal"]["message"]},
            )

    def renew(self, oid: bytes, stage: str) -> None:
        """Renew the lease. Raises LostClaim."""
        claims.renew(self._image, oid, self._owner, stage)

    def wait_for(self, oid: bytes, key: str) -> None:
        """Note that the message waits for another one. Raises LostClaim."""
        claims.wait_for(self._image, oid, self._owner, key)

    def back_to_trial(self, oid: bytes) -> None:
        """The drafts are to be tried again. Raises LostClaim."""
        claims.back_to_trial(self._image, oid, self._owner)

    # --- what the image says -----------------------------------------------------------------------------------------

    def _receiver(self, request: MethodRequest) -> UvmObject | None:
        """The receiver as committed; None for one that only the attempt had."""
        try:
            return self._image.at(Reference(request.receiver))
        except ImageError:
            return None

    def holder(self, request: MethodRequest) -> bytes | None:
        """Where the method goes: on the receiver or its first committed parent; on traits_obj only what a tool offers for it."""
        if request.offered is not None:
            return request.receiver
        receiver = self._receiver(request)
        traits = self._image.named("traits_obj")
        policy = "policy" in request.rights
        if receiver is not None:
            return None if receiver is traits or (self._image.is_primordial(receiver) and not policy) else request.receiver
        for parent in request.reified.get("parents", []):
            if parent != traits._p_oid and (policy or not self._image.is_primordial(self._image.at(Reference(parent)))):
                return bytes(parent)
        return None

    def made_up(self, request: MethodRequest, source: str) -> list[Call]:
        """Calls to try an offer with, besides those that its examples show."""
        receiver, tree = self._receiver(request), parse(source, request.selector).method
        if request.offered is None or receiver is None or tree is None:
            return []
        data = {name: receiver.own(name) for name in receiver.names()[:_SEEN] if not is_method(receiver.own(name))}
        slots = {name: sample(value, self._image.reference) for name, value in data.items()}
        return made_up(tree, slots, request.examples, self._image.reference(receiver))

    def from_library(self, request: MethodRequest) -> tuple[str, str] | None:
        """Search before writing: source and author of a method for this selector on an object of this shape."""
        entry = self._image.shard("library", request.key).own(request.key)
        if entry is ABSENT or not is_method(entry) or quarantined(entry):
            return None
        return entry.own("source"), entry.own("author")

    def commission(self, request: MethodRequest, plan: Plan) -> Commission:
        """What drafts are written with. Raises NoSuchObject, NoModel."""
        return commission(self._image, request, plan, self._materialize)

    def needed(self, request: MethodRequest, need: Need) -> MethodRequest | str:
        """The request for a method that a draft for this one needs, or why there can be none."""
        needed = probe(self._image, self._runtime, self._settings, need)
        if isinstance(needed, MethodRequest) and claims.would_wait_for_itself(self._image, request.key, needed.key):
            return f"{need.selector} waits for {request.selector} itself"
        return needed

    def rule(self, request: MethodRequest, candidates: list[dict[str, Any]]) -> Any:
        """What the image's choice rule answers to these drafts. It gets copies: what it does to them changes nothing here."""
        attempt = Attempt(ticks=self._settings.ticks, seconds=self._settings.message_limit_s, writable=False, rights=request.rights)
        try:
            return self._runtime.run(attempt, self._policy(request, CHOICE), CHOICE, (copied(candidates),), {})
        finally:
            attempt.forget_changes()

    def mending(self, request: MethodRequest, selector: str) -> str:
        """What can be done about a policy method that fails on this message."""
        return mending(self._image, self._policy(request, selector), selector)

    def _policy(self, request: MethodRequest, selector: str) -> UvmObject:
        """The object whose policy method it is for this message: the nearest to the receiver that has one."""
        receiver = self._receiver(request)
        holder = method_holder(receiver, selector) if receiver is not None else None
        return holder or self._image.named("pLLM_obj")

    def corrected(self, request: MethodRequest) -> tuple[bytes, str] | None:
        """The message and the persona of the generated method that a tool's offer is about to replace, if there is one."""
        receiver = self._receiver(request)
        before = receiver.own(request.selector) if receiver is not None and request.offered is not None else None
        return written_for(before) if isinstance(before, UvmObject) and is_method(before) else None

    # --- the method --------------------------------------------------------------------------------------------------

    def put(self, order: Install) -> bool:
        """Method, proof and message. False: not done, because what the trial saw has changed. Raises LostClaim, NotAllowed."""
        request = order.request
        for oid, serial in order.read.items():
            record = self._image.connection.get(oid)
            record._p_activate()
            if record._p_serial != serial and self._matters(record, request):
                return False
        holder = self._image.at(Reference(self.holder(request) or request.receiver))
        check_install(self._image, holder, request.selector, "policy" in request.rights)
        made = method(request.selector, order.source, request.positional, order.author or "tool", order.proof, request.policy)
        before = holder.own(request.selector)
        install(holder, made)
        if request.offered is None:
            self._image.enter("library", request.key, made)
        count(self._image, "methods")
        slots = {"method": made, "installed_on": holder, "drafts": order.drafts}
        claims.advance(self._image, order.oid, self._owner, "tried", "installed", **slots)
        self._charge(request, order.oid, made)
        chronicle.record(
            self._image,
            "install" if before is ABSENT else "correction",
            author=(request.principal if request.offered is not None else order.author) or "tool",
            cause=self._image.at(Reference(order.oid)),
            object=holder,
            slot=request.selector,
            method=made,
            effects=[(holder, request.selector, before, made, None)],
            facts={
                "digest": made.own("digest"),
                "asked_by": request.principal,
                "message": f"{request.session}/{request.seq}" if request.session else "",
            },
        )
        return True

    def _charge(self, request: MethodRequest, oid: bytes, *made: UvmObject) -> None:
        """What is kept of the writing of a method is charged to who requested it: how much that is, is known when it is done."""
        accounts = Accounts(self._image)
        grown = [(record, gate.weight(record) - charged(record)) for record in (self._image.at(Reference(oid)), *made)]
        accounts.charge(request.principal, request.limits.stored, grown, settled=True)
        accounts.write()

    def _matters(self, record: Any, request: MethodRequest) -> bool:
        """Whether a changed record can change the verdict: an object's own, not the counters that every message moves.

        Nor a message object, of which a method sees what never changes (`uvm.runtime.authority.check_look`).
        """
        if not isinstance(record, UvmObject) or record.own(KIND) == "message":
            return False
        return record is not self._image.named("genesis_obj") or record._p_oid == request.receiver

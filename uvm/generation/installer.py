"""What writing a method does to the image, step by step, each inside the caller's transaction. Owned by one UVM's writers."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import asdict, replace

from deploy.settings import UvmSettings
from uvm.errors import Contention, ImageError, NotUnderstood, Refused
from uvm.generation import claims, placing, proposals
from uvm.generation.drafting import Materialize, commission
from uvm.generation.instructions import Advance, Install, KeepClauses
from uvm.generation.misses import probe
from uvm.generation.questions import Commission
from uvm.generation.request import MethodRequest
from uvm.generation.stages import Claim, Plan
from uvm.history import chronicle
from uvm.image import authors, contract, library, revocations
from uvm.image.image import Image
from uvm.image.kept import retained
from uvm.image.message_object import is_method
from uvm.image.methods import install, is_shared, method, runs, shared_with, takes, written_for
from uvm.image.stored import Accounts, charged
from uvm.image.tally import count
from uvm.language.syntax import parse
from uvm.objects import ABSENT, UvmObject
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
from uvm.values.examples import Clause
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
        """Claim the message. Raises NotUnderstood where nothing could hold the method, Revoked where nobody takes it from who offers it."""
        receiver = self._receiver(request)
        self._check_author(request)
        fulfilled = request.offered is None and receiver is not None and self._understands(receiver, request)
        if request.offered is None and self.holder(request) is None:
            raise NotUnderstood(
                f"{request.selector} is not understood, and only a primordial object could hold it", "send it to an object of your own"
            )
        if request.preview and proposals.shown_since(self._image, request.key, request.asked_at):
            return Claim("installed", request.receiver, "shown")  # another process has shown it meanwhile
        facts = self._facts(request, receiver)
        claim = claims.claim(self._image, request.key, facts, self._owner, request.asked_at, fulfilled, counted=not request.preview)
        if claim.state != "mine":
            return claim
        Accounts(self._image).check(request.principal, request.limits.stored, len(request.offered or "") + 1)
        return replace(claim, withdrawn=library.withdrawn(self._image, request.key.removeprefix(proposals.PREFIX)))

    def _facts(self, request: MethodRequest, receiver: UvmObject | None) -> dict[str, Any]:
        """What is kept of what was sent. The message runs by its own arguments; these are to be looked at."""
        image = self._image
        examples = [asdict(clause.example) for clause in request.clauses if not clause.number]
        return {
            **request.reified,
            "selector": request.selector,
            "receiver": receiver,
            "arguments": retained(image, request.args),
            "keywords": retained(image, request.kwargs),
            "caller": self._at(request.caller),
            "expected": retained(image, [{name: value for name, value in example.items() if value is not UNSET} for example in examples]),
            "principal": request.principal,
            "session": request.session,
            "seq": request.seq,
            "depth": request.depth,
            "waits_for": [],
        }

    def _understands(self, receiver: UvmObject, request: MethodRequest) -> bool:
        """Whether the receiver has what answers the message by now; the method that is to be replaced does not count."""
        value = receiver.lookup(request.selector)
        if value is ABSENT or not is_method(value):
            return value is not ABSENT
        return runs(value) and not (value._p_oid == request.replaces and value.own("digest", "") == request.version)

    def _at(self, oid: bytes) -> UvmObject | None:
        try:
            return self._image.at(Reference(oid)) if oid else None
        except ImageError:
            return None

    def advance(self, order: Advance) -> None:
        """Store the message's next stage. Raises LostClaim."""
        message = claims.advance(self._image, order.oid, self._owner, order.before, order.after, **order.slots)
        if order.after == "refused" and not order.request.preview:
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
        if request.home:
            return request.home
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
        values = {name: receiver.own(name) for name in receiver.names()[:_SEEN] if not is_method(receiver.own(name))}
        slots = {name: sample(value, self._image.reference) for name, value in values.items()}
        return made_up(tree, slots, request.examples, self._image.reference(receiver))

    def subjects(self, request: MethodRequest) -> list[bytes]:
        """On which object each example is tried: on the one that it was given for, where that uses the method which is corrected.

        Any other is tried on the receiver: all that share a method had its shape once.
        """
        holder = self._at(self.holder(request) or request.receiver)
        shared = shared_with(holder, request.selector) if holder is not None and not request.alone else None
        users: dict[bytes, bool] = {request.receiver: True, b"": False}
        for oid in (clause.on for clause in request.clauses):
            if oid not in users:
                user = self._at(oid) if shared is not None else None
                users[oid] = user is not None and user.lookup(request.selector) is shared
        return [clause.on if users[clause.on] else request.receiver for clause in request.clauses]

    def from_library(self, request: MethodRequest) -> tuple[str, str, list[Clause]] | None:
        """Search before writing: source, author and examples of a method for this selector on an object of this shape."""
        method = library.current(self._image, request.key.removeprefix(proposals.PREFIX))
        if method is None or not takes(method, request.positional, request.kwargs):
            return None
        if request.replaces and method.own("digest") == request.version:
            return None  # it is the one that does not do what is expected
        return method.own("source"), method.own("author"), contract.clauses_of(method)

    def commission(self, request: MethodRequest, plan: Plan) -> Commission:
        """What drafts are written with. Raises NoSuchObject, NoModel."""
        return commission(self._image, request, plan, self._materialize, self._settings)

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
        before = receiver.own(request.selector) if receiver is not None and (request.offered is not None or request.replaces) else None
        return written_for(before) if isinstance(before, UvmObject) and is_method(before) else None

    # --- the method --------------------------------------------------------------------------------------------------

    def put(self, order: Install) -> bool:
        """Method, proof and message. False: not done, because what the trial saw has changed. Raises LostClaim, NotAllowed."""
        request = order.request
        if not proposals.unchanged(self._image, order.read.items(), request.receiver):
            return False
        holder = self._image.at(Reference(self.holder(request) or request.receiver))
        check_install(self._image, holder, request.selector, "policy" in request.rights)
        before = holder.own(request.selector)
        if is_method(before) and not all(any(bound.same(clause) for clause in request.clauses) for bound in self._binding(request, before)):
            raise Contention(
                f"{request.selector} of {holder!r} has got other examples meanwhile", "send it again: they are tried as well then"
            )
        if request.preview:
            self._show(order, holder)
            return True
        if order.proof["mode"] == "found":
            written = self._from_library(order, holder)
        elif request.offered is not None:
            written = self._offered(order, holder)
        else:
            written = placing.written(
                self._image, holder, self._new_method(order, order.proof), request.key, request.principal, bool(request.replaces)
            )
        count(self._image, "methods")
        slots = {"method": written, "installed_on": holder, "drafts": order.drafts}
        claims.advance(self._image, order.oid, self._owner, "tried", "installed", **slots)
        self._charge(request, order.oid, *([] if order.proof["mode"] == "found" else [written]))
        chronicle.record(
            self._image,
            "install" if before is ABSENT else "correction",
            author=(request.principal if request.offered is not None else order.author) or "tool",
            cause=self._image.at(Reference(order.oid)),
            object=holder,
            slot=request.selector,
            method=written,
            # Where the method was corrected that is in the slot, what changed is which of its versions it is.
            effects=[placing.effect(holder, request.selector, before if is_method(before) else None, written)],
            facts={
                **({"from": "library"} if order.proof["mode"] == "found" else {}),
                "digest": written.own("digest"),
                "asked_by": request.principal,
                "message": f"{request.session}/{request.seq}" if request.session else "",
            },
        )
        return True

    def _show(self, order: Install, holder: UvmObject) -> None:
        """Keep the method for whoever accepts it. What becomes of its message object is what becomes of it."""
        request = order.request
        written = self._method_of_library(order, holder) if order.proof["mode"] == "found" else self._new_method(order, order.proof)
        message = claims.advance(self._image, order.oid, self._owner, "tried", "shown", drafts=order.drafts)
        self._image.shard("messages", request.key).drop(request.key)
        proposals.propose(self._image, request.key, written, holder, message, order.read, request.receiver)

    @staticmethod
    def _binding(request: MethodRequest, before: UvmObject) -> list[Clause]:
        """What a method keeps that whatever takes its place has to satisfy."""
        alone = request.offered is not None and request.alone
        return contract.binding(before, request.receiver) if alone else contract.clauses_of(before)

    def keep(self, order: KeepClauses) -> None:
        """Have the method that was tested keep the examples; not one that has taken its place."""
        request = order.request
        holder = self._image.at(Reference(request.home))
        method = holder.own(request.selector)
        if is_method(method) and method._p_oid == request.tested and method.own("digest", "") == request.version:
            contract.keep(method, looked_at(request.clauses, order.looked), self._image.visible)
            self._charge(request, request.tested)

    def _charge(self, request: MethodRequest, oid: bytes, *methods: UvmObject) -> None:
        """What is kept of the writing of a method is charged to who requested it: how much that is, is known when it is done."""
        accounts = Accounts(self._image)
        grown = [(record, gate.weight(record) - charged(record)) for record in (self._image.at(Reference(oid)), *methods)]
        accounts.charge(request.principal, request.limits.stored, grown, settled=True)
        accounts.write()

    def _new_method(self, order: Install, proof: dict[str, Any]) -> UvmObject:
        request = order.request
        written = method(request.selector, order.source, request.positional, order.author or "tool", proof, request.policy)
        contract.keep(written, looked_at(request.clauses, order.looked), self._image.visible)
        return written

    def _from_library(self, order: Install, holder: UvmObject) -> UvmObject:
        """The library's method itself, in one more slot.

        A primordial object has its own: it is nobody's to correct without `policy`. One of an earlier version is copied, too: a primordial
        object might have it.
        """
        request = order.request
        current = self._method_of_library(order, holder)
        if is_shared(current):
            contract.keep(current, looked_at(request.clauses, order.looked), self._image.visible)
            holder.put(request.selector, current)
            return current
        return placing.written(self._image, holder, current, request.key, request.principal, False)

    def _method_of_library(self, order: Install, holder: UvmObject) -> UvmObject:
        """What the library gives, if it is what was tried: the shared method, or a copy for this object."""
        request = order.request
        shared = library.current(self._image, request.key.removeprefix(proposals.PREFIX))
        if shared is None or shared.own("source") != order.source:
            text = f"the library's {request.selector} was corrected or taken back while it was tried for {holder!r}"
            raise Refused(text, "send it again")
        if not self._image.is_primordial(holder) and is_shared(shared):
            return shared
        origin = shared.own("proof")
        how = {"of": str(self._image.reference(shared)), "message": order.proof["message"], "trial": order.proof["trial"]}
        return self._new_method(order, {**(origin if isinstance(origin, dict) else {}), "copied": how})

    def _offered(self, order: Install, holder: UvmObject) -> UvmObject:
        """What a tool offers: where the object's method is shared, a correction for all who use it, unless it is for this object alone."""
        request, image = order.request, self._image
        self._check_author(request)
        written = self._new_method(order, order.proof)
        shared = shared_with(holder, request.selector)
        if shared is not None and not request.alone:
            by = request.principal or "a tool"
            placing.correct(image, shared, written, by, f"{request.selector} was corrected by {by}")
            return shared
        install(holder, written)
        authors.enter(image, written, holder._p_oid)
        if not (request.alone or image.is_primordial(holder)):
            for key in library.keys_for(image, holder, written)[:1]:
                library.publish(image, key, written)
        return written

    def _check_author(self, request: MethodRequest) -> None:
        if request.offered is not None:
            for author in authors.offering(request.principal, request.session):
                revocations.check(self._image, author)


def looked_at(clauses: Sequence[Clause], looked: Sequence[list[str] | None]) -> list[Clause]:
    """Each example with what its run looked at."""
    return [replace(clause, looked=slots) for clause, slots in zip_longest(clauses, looked[: len(clauses)])]

"""What writing a method does to the image, step by step, each inside the caller's transaction. Owned by one UVM's writers."""

from typing import Any, Final

import msgspec

from deploy.settings import UvmSettings
from uvm.errors import ImageError, NotUnderstood
from uvm.generation import claims as messages
from uvm.generation.claims import Claim, LostClaim
from uvm.generation.generation import Generation
from uvm.generation.needs import probe
from uvm.generation.request import Want
from uvm.generation.stages import Draft
from uvm.generation.verdicts import proof
from uvm.image.image import Image
from uvm.image.journal import chronicle
from uvm.image.message_object import is_method
from uvm.image.methods import install, method, written_for
from uvm.image.stored import Accounts, charged
from uvm.image.tally import count
from uvm.language.syntax import parse
from uvm.objects import ABSENT, KIND, UvmObject
from uvm.protocol import Reference
from uvm.runtime import gate
from uvm.runtime.attempt import Attempt
from uvm.runtime.authority import check_install
from uvm.runtime.behaviour import method_holder
from uvm.runtime.policy import CHOICE, mending
from uvm.runtime.runtime import Runtime
from uvm.trial.arguments import made_up, sample
from uvm.trial.protocol import Call
from uvm.values.slot_values import copied

_SEEN: Final = 64
"""Slots of the receiver that made-up arguments are chosen after."""


class Registry:
    """The image as the writers of one UVM change it."""

    def __init__(self, image: Image, runtime: Runtime, settings: UvmSettings, owner: str) -> None:
        self._image = image
        self._runtime = runtime
        self._settings = settings
        self._owner = owner

    def claim(self, want: Want) -> Claim:
        receiver = self._receiver(want)
        facts = {
            **want.reified,
            "selector": want.selector,
            "receiver": receiver,
            "depth": want.depth,
            "waits_for": [],
        }
        fulfilled = want.offered is None and receiver is not None and receiver.lookup(want.selector) is not ABSENT
        if want.offered is None and self.holder(want) is None:
            raise NotUnderstood(
                f"{want.selector} is not understood, and only a primordial object could hold it", "send it to an object of your own"
            )
        claim = messages.claim(self._image, want.key, facts, self._owner, want.asked_at, fulfilled)
        if claim.state == "mine":
            Accounts(self._image).check(want.principal, want.limits.stored, len(want.offered or "") + 1)
        return claim

    def _receiver(self, want: Want) -> UvmObject | None:
        """The receiver as committed; None for one that only the attempt had."""
        try:
            return self._image.at(Reference(want.receiver))
        except ImageError:
            return None

    def holder(self, want: Want) -> bytes | None:
        """Where the method goes: on the receiver or its first committed parent; on traits_obj only what a tool offers for it."""
        if want.offered is not None:
            return want.receiver
        receiver = self._receiver(want)
        traits = self._image.named("traits_obj")
        policy = "policy" in want.rights
        if receiver is not None:
            return None if receiver is traits or (self._image.is_primordial(receiver) and not policy) else want.receiver
        for parent in want.reified.get("parents", []):
            if parent != traits._p_oid and (policy or not self._image.is_primordial(self._image.at(Reference(parent)))):
                return bytes(parent)
        return None

    def made_up(self, want: Want, source: str) -> list[Call]:
        """Calls to try an offer with, besides those that its examples show."""
        receiver, tree = self._receiver(want), parse(source, want.selector).method
        if want.offered is None or receiver is None or tree is None:
            return []
        data = {name: receiver.own(name) for name in receiver.names()[:_SEEN] if not is_method(receiver.own(name))}
        slots = {name: sample(value, self._image.reference) for name, value in data.items()}
        return made_up(tree, slots, want.examples, self._image.reference(receiver))

    def known(self, want: Want) -> Draft | None:
        """Search before writing: a method for this selector on an object of this shape."""
        found = self._image.shard("library", want.key).own(want.key)
        if found is ABSENT or not is_method(found):
            return None
        return Draft(source=found.own("source"), persona=found.own("author"), why="")

    def rule(self, want: Want, fit: list[dict[str, Any]]) -> Any:
        """What the image's choice rule answers to the drafts that are fit. It gets copies: what it does to them changes nothing here."""
        attempt = Attempt(ticks=self._settings.ticks, seconds=self._settings.message_limit_s, writable=False, rights=want.rights)
        try:
            return self._runtime.run(attempt, self._policy(want, CHOICE), CHOICE, (copied(fit),), {})
        finally:
            attempt.forget_changes()

    def mending(self, want: Want, selector: str) -> str:
        """What can be done about a policy method that fails on this message."""
        return mending(self._image, self._policy(want, selector), selector)

    def _policy(self, want: Want, selector: str) -> UvmObject:
        """The object whose policy method it is for this message: the nearest to the receiver that has one."""
        receiver = self._receiver(want)
        holder = method_holder(receiver, selector) if receiver is not None else None
        return holder or self._image.named("pLLM_obj")

    def corrected(self, want: Want) -> tuple[bytes, str] | None:
        """The message and the persona of the generated method that a tool's offer is about to replace, if there is one."""
        receiver = self._receiver(want)
        before = receiver.own(want.selector) if receiver is not None and want.offered is not None else None
        return written_for(before) if isinstance(before, UvmObject) and is_method(before) else None

    def put(self, generation: Generation, chosen: int) -> bool:
        """Method, proof and message. False: not done, because what the trial saw has changed."""
        want, draft = generation.want, generation.drafts[chosen]
        for oid, serial in generation.read.get(chosen, {}).items():
            one = self._image.connection.get(oid)
            one._p_activate()
            if one._p_serial != serial and self._matters(one, want):
                return False
        holder = self._image.at(Reference(self.holder(want) or want.receiver))
        check_install(self._image, holder, want.selector, "policy" in want.rights)
        made = method(want.selector, draft.source, want.positional, draft.persona or "tool", proof(generation, chosen), want.policy)
        install(holder, made)
        if want.offered is None:
            self._image.enter("library", want.key, made)
        count(self._image, "methods")
        messages.advance(
            self._image,
            generation.oid,
            self._owner,
            "tried",
            "installed",
            method=made,
            installed_on=holder,
            drafts=messages.storable_drafts(generation.drafts),
        )
        self.charge(generation, made)
        chronicle(
            self._image,
            "install",
            selector=want.selector,
            on=str(self._image.reference(holder)),
            author=draft.persona,
            digest=made.own("digest"),
        )
        return True

    def charge(self, generation: Generation, *made: UvmObject) -> None:
        """What is kept of the writing of a method is charged to who wanted it: how much that is, is known when it is done."""
        want, accounts = generation.want, Accounts(self._image)
        grown = [(one, gate.weight(one) - charged(one)) for one in (self._image.at(Reference(generation.oid)), *made)]
        accounts.charge(want.principal, want.limits.stored, grown, settled=True)
        accounts.write()

    def _matters(self, one: Any, want: Want) -> bool:
        """Whether a changed record can change the verdict: an object's own, not the counters that every message moves.

        Nor a message object, of which a method sees what never changes (`uvm.runtime.authority.check_look`).
        """
        if not isinstance(one, UvmObject) or one.own(KIND) == "message":
            return False
        return one is not self._image.named("genesis_obj") or one._p_oid == want.receiver

    def back_to_trial(self, generation: Generation) -> None:
        message = self._image.at(Reference(generation.oid))
        if message.own("owner") != self._owner:
            raise LostClaim("taken over")
        message.put("stage", "audited")
        generation.stage = "audited"

    def wanted_by(self, generation: Generation, need: Any) -> "Want | str":
        found = probe(self._image, self._runtime, self._settings, need)
        if isinstance(found, str):
            return found
        if messages.would_wait_for_itself(self._image, generation.want.key, found.key):
            return f"{need.selector} waits for {generation.want.selector} itself"
        first = generation.want
        return msgspec.structs.replace(
            found,
            depth=first.depth + 1,
            asked_at=first.asked_at,
            principal=first.principal,
            limits=first.limits,
            # It was looked for with every right; it is written with those of whoever sent the message that needs it.
            rights=found.rights & first.rights,
        )

    def waits(self, generation: Generation, key: str) -> None:
        message = self._image.at(Reference(generation.oid))
        message.put("waits_for", [*message.own("waits_for", []), key])

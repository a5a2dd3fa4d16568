"""One attempt to carry out one message: its budget, what it changed, and how it ends. No database inside.

Owned by the runtime of one process; one attempt is current at a time.
"""

import time
from collections.abc import Callable
from typing import Any

from uvm.errors import AttemptEnded, QuotaExceeded
from uvm.language.budget import Budget
from uvm.objects import ABSENT, UvmObject, same_value
from uvm.rights import ALL, Limits, Right
from uvm.values.slot_values import copied, is_mutable


class Miss(AttemptEnded):
    """A method is missing and is to be written: `message` is the reified message object, `plan` what `reflectOn_` asked for.

    `policy`: whether it was sent with the right to change primordial objects, which a method on one of them does.
    """

    def __init__(self, receiver: UvmObject, message: UvmObject, plan: dict[str, Any], policy: bool = False) -> None:
        super().__init__(f"{message.own('selector')} is not understood")
        self.policy = policy
        self.receiver = receiver
        self.reified = message
        self.plan = plan


class Thought(AttemptEnded):
    """A method asked the model something whose answer is not there yet."""

    def __init__(self, key: str, persona: UvmObject, prompt: str, max_tokens: int) -> None:
        super().__init__("a thought is not there yet")
        self.key = key
        self.persona = persona
        self.prompt = prompt
        self.max_tokens = max_tokens


class Frame:
    """A method that runs: its receiver and its selector. `policy`: whether it, and all that called it, may change primordial objects."""

    __slots__ = ("method", "policy", "receiver", "selector")

    def __init__(self, receiver: UvmObject, selector: str, method: UvmObject, policy: bool) -> None:
        self.receiver = receiver
        self.selector = selector
        self.method = method
        self.policy = policy


class Attempt(Budget):
    """Budget, journal and fate of one run of one message.

    `before_write` is called once, before the first change, so that the batch can take its savepoint only for messages
    that change something. `writable` false: setting a slot is refused, and
    the caller drops what was changed in place. `guarded` false: in-place changes without a flag are
    left to be forgotten, which is what the trial looks for. `rights`: those of the principal that sent the message; `limits`: what it
    may store; `message`: its session and number, if it has any. `undid`: the effects that it took back (`uvm.history.marks`); `judged`: the
    methods that it put out of use, or back.
    `clauses`: what the send of number `step` expects of its method, and `examples` as its prompt shows them; `anew`: a method that is to be
    written again; `sent` false: for its examples alone; `preview`: nothing of it is to last.
    """

    questions = 0
    depth = 0
    wrote = False
    step = 0
    sent = True
    preview = False
    anew: UvmObject | None = None
    _secured = False

    def __init__(
        self,
        *,
        ticks: int,
        seconds: float,
        before_write: Callable[[], None] = lambda: None,
        thoughts: dict[str, str] | None = None,
        now: float | None = None,
        examples: list[Any] | None = None,
        writable: bool = True,
        guarded: bool = True,
        rights: frozenset[Right] = ALL,
        limits: Limits | None = None,
        principal: str = "",
        message: str = "",
    ) -> None:
        super().__init__(ticks, seconds)
        self._before_write = before_write
        self.thoughts = thoughts or {}
        self.now = time.time() if now is None else now
        self.examples = examples or []
        self.clauses: list[Any] = []
        self.writable = writable
        self.guarded = guarded
        self.rights = rights
        self.limits = limits or Limits()
        self.principal = principal
        self.message = message
        self.undid: list[list[Any]] = []
        self.judged: list[UvmObject] = []
        self.policy_throughout = "policy" in rights
        self.frames: list[Frame] = []
        self.before: dict[tuple[int, str], tuple[UvmObject, str, Any, UvmObject | None]] = {}
        self._handed: dict[tuple[int, str], tuple[UvmObject, str, Any, Any]] = {}
        self.created: dict[int, UvmObject] = {}

    # --- what it may change ---------------------------------------------------------------------------------------

    @property
    def policy(self) -> bool:
        """Whether what runs now may change primordial objects: its sender may, and so may every method on the stack."""
        return self.frames[-1].policy if self.frames else "policy" in self.rights

    def enter(self, receiver: UvmObject, selector: str, method: UvmObject, policy: bool) -> None:
        """A method begins; `policy`: whether it may change primordial objects. The caller pops the frame."""
        policy = policy and self.policy
        self.policy_throughout = self.policy_throughout and policy
        self.frames.append(Frame(receiver, selector, method, policy))

    # --- what it changes -----------------------------------------------------------------------------------------

    def writing(self, owner: UvmObject, slot: str) -> None:
        """Note that a slot is about to be set or removed."""
        self.touch()
        key = (id(owner), slot)
        if key not in self.before:
            handed = self._handed.get(key)
            before = handed[3] if handed else copied(owner.own(slot), self.walk)
            self.before[key] = (owner, slot, before, self.frames[-1].method if self.frames else None)

    def touch(self) -> None:
        """Note that something of the image is about to change that is no slot."""
        self._secure()
        self.wrote = True

    def _secure(self) -> None:
        """Have what the messages before this one changed kept apart, once."""
        if not self._secured:
            self._secured = True
            self._before_write()

    def made(self, target: UvmObject) -> None:
        """Note a new object. Raises QuotaExceeded."""
        if len(self.created) >= self.limits.objects:
            raise QuotaExceeded(f"a message may change or make {self.limits.objects:,} objects", "do it in several messages")
        self.created[id(target)] = target

    def is_new(self, target: UvmObject) -> bool:
        return id(target) in self.created

    def hand_out(self, owner: UvmObject, slot: str, value: Any) -> None:
        """Remember a mutable value that a method gets to see, as it is now."""
        key = (id(owner), slot)
        if is_mutable(value) and key not in self._handed and key not in self.before:
            if owner._p_changed:
                # A message before this one, in the same transaction, changed it: its change must not be stored with ours in it.
                self._secure()
            self._handed[key] = (owner, slot, value, copied(value, self.walk))

    def unflagged(self) -> list[tuple[UvmObject, str]]:
        """Slots whose value was changed in place; those not yet journalled are added to the journal."""
        slots = []
        for key, (owner, slot, value, before) in self._handed.items():
            if owner.own(slot) is value and not same_value(value, before):
                self.before.setdefault(key, (owner, slot, before, None))
                slots.append((owner, slot))
        return slots

    def effects(self) -> list[tuple[UvmObject, str, Any, Any, UvmObject | None]]:
        """What changed: (object, slot, before, after, the method that did it); ABSENT where there was or is no slot."""
        changed = []
        for owner, slot, before, method in self.before.values():
            after = owner.own(slot)
            if not same_value(before, after):
                changed.append((owner, slot, before, after, method))
        return changed

    def forget_changes(self) -> None:
        """After a rollback: drop in-place changes that no flag had announced, which a rollback leaves in memory."""
        for owner, _, value, before in self._handed.values():
            if not same_value(value, before) and owner._p_jar is not None:
                owner._p_invalidate()
        self._handed.clear()
        self.before.clear()


__all__ = ["ABSENT", "Attempt", "Frame", "Miss", "Thought"]

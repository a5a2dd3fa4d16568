"""Sends, reads and assignments: the hooks that compiled methods call. One runtime per process, in its main thread.

The same runtime runs in the UVMs and in the trial child; they differ in the image under it.
"""

import inspect
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NoReturn

from uvm.errors import (
    AttemptEnded,
    BadArguments,
    BadValue,
    Declined,
    ImageError,
    MethodFailed,
    MethodQuarantined,
    NotAllowed,
    NotUnderstood,
    TooDeep,
)
from uvm.image import contract, prompts
from uvm.image.image import Image
from uvm.image.message_object import MIRROR, is_method, is_name, is_word, reify
from uvm.image.methods import QUARANTINED, REVOKED, may_change_policy, quarantined
from uvm.language import bounds, compiler
from uvm.language.keys import Keys
from uvm.language.value_methods import plain_read, plain_send
from uvm.language.weights import HANDED, METHOD, PRIMITIVE, WRITTEN
from uvm.objects import ABSENT, KIND, UvmObject
from uvm.runtime import authority
from uvm.runtime.attempt import Attempt, Miss, Thought
from uvm.runtime.behaviour import method_holder, primitive_of
from uvm.runtime.blame import blame, culprit, failed_in
from uvm.runtime.policy import HANDLER, MIND
from uvm.values.examples import lines
from uvm.values.slot_values import checked, copied, is_mutable

DEPTH = 100
"""How deep sends may nest. Each takes some six Python frames, so the recursion limit stands far above it."""

sys.setrecursionlimit(max(sys.getrecursionlimit(), 4000))

Primitive = Callable[..., Any]


class FunctionCache:
    """Compiled methods by digest of their source, bounded by bytes of source; least recently used ones go first.

    They are kept here and not on the objects, because every savepoint trims the connection's cache and volatile attributes with it.
    """

    def __init__(self, limit: int = 32_000_000) -> None:
        self._limit = limit
        self._size = 0
        self._functions: OrderedDict[str, tuple[Callable[..., Any], int]] = OrderedDict()

    def get(self, digest: str) -> Callable[..., Any] | None:
        """The function that was put under a digest, if it is still here."""
        entry = self._functions.get(digest)
        if entry is None:
            return None
        self._functions.move_to_end(digest)
        return entry[0]

    def put(self, digest: str, function: Callable[..., Any], size: int) -> None:
        """Keep a function whose source has so many bytes."""
        self._functions[digest] = (function, size)
        self._size += size
        while self._size > self._limit and len(self._functions) > 1:
            self._size -= self._functions.popitem(last=False)[1][1]


class Runtime:
    """Carries out sends for the current attempt; implements `uvm.language.compiler.Hooks`."""

    def __init__(self, image: Image, primitives: dict[str, Primitive]) -> None:
        self.image = image
        self.attempt = Attempt(ticks=0, seconds=0)
        self._primitives = primitives
        self._signatures = {name: inspect.signature(function) for name, function in primitives.items()}
        self._arities = {name: _arity(signature) for name, signature in self._signatures.items()}
        self._functions = FunctionCache()
        self._reflecting = False
        self._reflected: tuple[UvmObject | None, bool] = (None, False)

    # --- from outside ----------------------------------------------------------------------------------------------

    def run(self, attempt: Attempt, receiver: UvmObject, selector: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Carry out one message as the whole of an attempt.

        Raises ImageError (the message failed) or AttemptEnded (a miss, a thought, a spent budget). The caller rolls back.
        """
        self.attempt = attempt
        self._reflecting = False
        try:
            result = self.send(receiver, selector, args, kwargs)
        except ImageError:
            raise
        except AttemptEnded as end:
            raise attempt.end or end from None
        except Exception as error:
            raise self._failure(error) from error
        if attempt.end is not None:
            raise attempt.end
        for owner, slot in attempt.unflagged() if attempt.guarded else ():
            authority.check_change(self.image, owner, attempt.policy_throughout)
            attempt.touch()
            owner.put(slot, owner.own(slot))
        return result

    def _room_to_store(self, value: Any) -> None:
        """Charge for a walk through a value that is to be stored. What it holds twice is stored twice. Raises BadValue."""
        if type(value) in bounds.ATOMS:
            return
        try:
            bounds.weigh(value, self.attempt.charge)
        except (ValueError, TypeError) as error:
            raise BadValue(f"a slot cannot hold it: {error}", "use plain values, containers of them, and references to objects") from None

    # --- hooks -------------------------------------------------------------------------------------------------------

    def send(self, receiver: Any, selector: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if type(receiver) is not UvmObject:
            return plain_send(receiver, selector, args, kwargs, self)
        if selector.startswith("_") or len(selector) > 128:
            raise NotAllowed(f"{selector[:128]} is not a message: names that begin with _ never reach the slots")
        if KIND in receiver._slots and self.attempt.frames:
            authority.check_look(receiver, selector)
        value = receiver.lookup(selector)
        if value is ABSENT:
            return self._not_understood(receiver, selector, args, kwargs)
        if is_method(value):
            if value is self.attempt.anew and not self.attempt.frames:
                return self._not_understood(receiver, selector, args, kwargs)
            try:
                return self._invoke(receiver, selector, value, args, kwargs)
            except MethodQuarantined:
                shown_how = self.attempt.examples and not self.attempt.frames
                if QUARANTINED not in value._slots or not (shown_how or REVOKED in value._slots):
                    raise
                # Its author is revoked, or the sender shows what it should do: it is written anew.
                if not self.attempt.frames and not self.attempt.examples:
                    self.attempt.clauses = contract.clauses_of(value)
                    self.attempt.examples = contract.prompted(receiver, self.attempt.clauses)
                return self._not_understood(receiver, selector, args, kwargs)
        if args or kwargs:
            hidden = f"; what the kernel means by it is {MIRROR}('{selector}', …)" if primitive_of(receiver, selector) else ""
            raise BadArguments(
                f"{selector} of {receiver!r} holds a value and takes no arguments",
                f"to set it, send setSlot_value_('{selector}', …){hidden}",
            )
        self.attempt.charge(35)
        return self._handed_out(receiver, selector, value) if is_mutable(value) else value

    def _handed_out(self, receiver: UvmObject, selector: str, value: Any) -> Any:
        """A mutable value as a method gets to see it: the slot's own, or a copy where it may not be changed."""
        self.attempt.charge(HANDED)
        holder = receiver.holder(selector)
        if holder is None:
            return value
        if KIND in holder._slots or (not self.attempt.policy and self.image.is_primordial(holder)):
            return copied(value, self.attempt.walk)
        self.attempt.hand_out(holder, selector, value)
        return value

    def read(self, receiver: Any, name: str) -> Any:
        if type(receiver) is UvmObject:
            return self.send(receiver, name, (), {})
        return plain_read(receiver, name)

    def assign(self, receiver: Any, name: str, value: Any) -> None:
        if type(receiver) is not UvmObject:
            raise NotAllowed(f"{name} of a {type(receiver).__name__} cannot be assigned; only slots of objects can")
        if receiver is not self.receiver() and not self.attempt.is_new(receiver):
            raise NotAllowed(
                f"a method assigns only its own receiver's slots, not {name} of {receiver!r}", f"send it setSlot_value_('{name}', value)"
            )
        self.put(receiver, name, value)

    def changed(self, receiver: Any) -> None:
        if receiver is not self.receiver():
            raise NotAllowed("only self._p_changed can be set")
        # The mark itself does nothing here: every mutable value that a method got is compared at the end of the message, and what
        # changed is saved with or without it. The trial, which proves that the method keeps the covenant, takes it at its word.
        self.check_writable(receiver)

    def mutating(self, container: Any) -> None:
        if type(container) not in (list, dict, set):
            raise NotAllowed(f"items of a {type(container).__name__} cannot be assigned")

    def charge(self, units: int) -> None:
        self.attempt.charge(units)

    @property
    def keys(self) -> Keys:
        return self.attempt.keys

    def receiver(self) -> Any:
        frames = self.attempt.frames
        return frames[-1].receiver if frames else None

    # --- changes -----------------------------------------------------------------------------------------------------

    def check_writable(self, target: UvmObject) -> None:
        """Raises NotAllowed for what this message, or a method on the stack, may not change."""
        if not self.attempt.writable:
            raise NotAllowed("this message may only look")
        authority.check_change(self.image, target, self.attempt.policy)

    def put(self, owner: UvmObject, name: str, value: Any) -> None:
        """Set a data slot: name and value are checked, and the change is journalled."""
        self.check_writable(owner)
        self.attempt.charge(WRITTEN)
        check_new_name(name)
        authority.check_data(self.image, owner, name)
        if is_method(value):
            raise NotAllowed("a method cannot be put into a slot as data", "offer its source with CreateMethod")
        authority.check_weights(self.image, value)
        self._room_to_store(value)
        value = checked(value, self.attempt.charge)
        self.attempt.writing(owner, name)
        owner.put(name, value)

    def drop(self, owner: UvmObject, name: str) -> None:
        """Remove an own slot, data or method."""
        self.check_writable(owner)
        self.attempt.charge(WRITTEN)
        check_name(name)
        if owner.own(name) is ABSENT:
            raise NotAllowed(f"{owner!r} has no slot {name!r} of its own", "slotNames() lists them")
        authority.check_removal(self.image, owner, name)
        self.attempt.writing(owner, name)
        owner.drop(name)

    def think(self, persona: UvmObject, prompt: str, max_tokens: int) -> str:
        """The model's answer to a prompt. Raises Thought when it is not there yet."""
        self.attempt.questions += 1
        key = f"{self.attempt.questions}:{prompt}"
        if key in self.attempt.thoughts:
            return self.attempt.thoughts[key]
        self.attempt.finish(Thought(key, persona, prompt, max_tokens))
        return ""

    def miss(self, message: UvmObject, plan: dict[str, Any]) -> NoReturn:
        """The image wants this message's method to be written."""
        reflected, policy = self._reflected
        self.attempt.finish(Miss(message.own("receiver"), message, plan, policy if message is reflected else self.attempt.policy))
        raise RuntimeError("unreachable: finish always raises")

    # --- inside ------------------------------------------------------------------------------------------------------

    def _invoke(self, receiver: UvmObject, selector: str, method: UvmObject, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        attempt = self.attempt
        if attempt.depth >= DEPTH:
            attempt.finish(TooDeep(f"sends are nested more than {DEPTH} deep", "write a loop instead"))
        primitive = method.own("primitive")
        attempt.charge(METHOD if primitive is ABSENT else PRIMITIVE)
        attempt.depth += 1
        try:
            if primitive is not ABSENT:
                self._check_primitive(selector, primitive, receiver, args, kwargs)
                return self._primitives[primitive](self, receiver, *args, **kwargs)
            function = self.function_of(method)
            check_arguments(selector, method, args, kwargs)
            attempt.enter(receiver, selector, method, may_change_policy(method))
            try:
                return function(receiver, *args, **kwargs)
            finally:
                attempt.frames.pop()
        finally:
            attempt.depth -= 1

    def carry_out(self, receiver: UvmObject, primitive: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Carry out a primitive of the kernel's, past whatever the receiver calls so. The caller has charged for it."""
        self._check_primitive(primitive, primitive, receiver, args, kwargs)
        return self._primitives[primitive](self, receiver, *args, **kwargs)

    def function_of(self, method: UvmObject) -> Callable[..., Any]:
        """The method's compiled function. Raises MethodQuarantined."""
        digest = method.own("digest")
        function = self._functions.get(digest)
        if function is None:
            # A method out of use has no digest, and so is never among those that were compiled: only here need it be asked for.
            if QUARANTINED in method._slots:
                raise MethodQuarantined(
                    f"{method.own('selector')} is out of use: {quarantined(method)}",
                    "send it again with an example, so that it is written anew, or offer a method with CreateMethod (batos method)",
                    selector=method.own("selector"),
                    reason=quarantined(method),
                    method=str(self.image.reference(method)),
                )
            source: str = method.own("source")
            function = compiler.link(compiler.compile_method(source, method.own("selector")), self)
            self._functions.put(digest, function, len(source) * 16)
        return function

    def _check_primitive(self, selector: str, primitive: str, receiver: UvmObject, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not kwargs and len(args) in self._arities[primitive]:
            return  # binding them takes longer than most primitives do
        try:
            self._signatures[primitive].bind(self, receiver, *args, **kwargs)
        except TypeError as error:
            raise BadArguments(f"{selector}: {error}") from None

    def _not_understood(self, receiver: UvmObject, selector: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        holder = method_holder(receiver, HANDLER)
        if self._reflecting or holder is None:
            raise NotUnderstood(f"{receiver!r} does not understand {selector}")
        frames = self.attempt.frames
        message = reify(
            receiver,
            selector,
            args,
            kwargs,
            caller=frames[-1].receiver if frames else None,
            mind=method_holder(receiver, MIND) or receiver,  # who has none does not understand reflectOn_ either, and is told so
            examples=lines(selector, self.attempt.examples) if not frames else [],
            traits=self.image.root["message_traits"],
            covenant=prompts.in_force(self.image).text,
        )
        self._reflecting = True
        self._reflected = (message, self.attempt.policy)
        try:
            return self._invoke(receiver, HANDLER, holder.own(HANDLER), (message,), {})
        except (Miss, Thought, Declined):
            raise
        except (AttemptEnded, Exception) as error:
            if not self.image.is_primordial(holder):
                raise  # an object that answers for itself says itself what is wrong
            failure = error if isinstance(error, ImageError | AttemptEnded) else self._failure(error)
            blame(self.image, receiver, selector, failure, culprit(error))
            if failure is error:
                raise
            raise failure from error
        finally:
            self._reflecting = False
            self._reflected = (None, False)

    def _failure(self, error: Exception) -> MethodFailed | TooDeep:
        if isinstance(error, RecursionError):
            return TooDeep("calls are nested too deep", "write a loop instead")
        where, line = failed_in(error)
        text = bounds.error_text(error)
        return MethodFailed(
            f"{where or 'the message'} failed{f' in line {line}' if line else ''}: {type(error).__name__}: {text}",
            f"batos source shows {where}" if where else "",
            error=type(error).__name__,
            line=line,
        )


def _arity(signature: inspect.Signature) -> range:
    """How many arguments without keywords a primitive takes, besides the runtime and the receiver."""
    parameters = list(signature.parameters.values())[2:]
    by_place = [parameter for parameter in parameters if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)]
    if any(parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty for parameter in parameters):
        return range(0)
    most = sys.maxsize - 1 if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters) else len(by_place)
    return range(sum(parameter.default is parameter.empty for parameter in by_place), most + 1)


def shown(name: Any) -> str:
    """What was given as a name, as an error shows it."""
    return repr(name if len(name) <= 128 else name[:128] + "…") if type(name) is str else f"a {bounds.kind_of(name)}"


def check_name(name: Any) -> None:
    """Raises NotAllowed for what names no slot."""
    if not is_word(name):
        raise _no_name(name)


def check_new_name(name: Any) -> None:
    """Raises NotAllowed for what a slot cannot be named from now on: its name must be a selector that a tool can send."""
    if not is_name(name):
        raise _no_name(name)
    if name == MIRROR:
        raise NotAllowed(f"{MIRROR} is the one word that means the same on every object", "choose another name")


def _no_name(name: Any) -> NotAllowed:
    return NotAllowed(f"{shown(name)} cannot name a slot: that is a letter, then letters, digits and _", "use a to z, A to Z, 0 to 9 and _")


def check_arguments(selector: str, method: UvmObject, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raises BadArguments when the call does not fit the method's signature."""
    positional, keywords, defaults = method.own("positional"), method.own("keywords"), method.own("defaults")
    if not kwargs and len(args) == len(positional) and not keywords:
        return
    names = [*positional, *keywords]
    extra = [name for name in kwargs if name not in names]
    passed = set(names[: len(args)]) | set(kwargs)
    missing = [name for name in names if name not in passed and name not in defaults]
    twice = [name for name in names[: len(args)] if name in kwargs]
    if extra or missing or twice or len(args) > len(names):
        raise BadArguments(f"{selector} takes ({', '.join(names)}), not {len(args)} arguments and keywords {sorted(kwargs)}")

"""A message that nobody understood, as an object. Pure, but for the object that it makes.

Its slots are what the image's own methods read: selector, arguments, keywords, receiver, caller, the `mind` (the nearest object to the
receiver that has a method `reflectOn_`), and, ready for a prompt, the receiver's slots as literals, the call, the signature and the
examples.
"""

import hashlib
import keyword
import re
from collections.abc import Sequence
from typing import Any

from uvm.errors import BadArguments
from uvm.objects import ABSENT, KIND, PARENTS, UvmObject
from uvm.values.examples import call
from uvm.values.slot_values import checked, literal

MIRROR = "mirror_"
"""The one word that nothing hides: no slot can be called so. What it does, `uvm.runtime.primitives` says."""
_LONGEST_NAME = 128
_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_]{{0,{_LONGEST_NAME - 1}}}")
_PARAMETERS = "abcdefghijklmnop"
PREVIEW = "preview:"
"""What the key of a message begins with that was previewed, before that of the message itself."""
SHOWN = ("selector", "positional", "slots", "call", "signature", "examples")
"""The slots that say in plain values what was sent."""
SHOWN_SLOTS = 24


def reify(
    receiver: UvmObject,
    selector: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    caller: UvmObject | None,
    mind: UvmObject,
    examples: Sequence[str],
    traits: UvmObject,
    covenant: str,
) -> UvmObject:
    """The message object; `examples` in lines (`uvm.values.examples`). Raises BadArguments for what no method can be called, or take."""
    for word in (selector, *kwargs):
        if keyword.iskeyword(word) or not is_name(word):
            raise BadArguments(
                f"{word!r:.200} cannot name a method or a parameter: it is a word of Python, or something else than letters, digits and _",
                "choose another name",
            )
    if "self" in kwargs:
        raise BadArguments("no argument can be named self: that is the receiver", "choose another name")
    parameters = parameters_of(len(args), list(kwargs))
    return UvmObject(
        {
            PARENTS: [traits],
            KIND: "message",
            "covenant": covenant,
            "selector": selector,
            "arguments": checked(list(args)),
            "keywords": checked(dict(kwargs)),
            "receiver": receiver,
            "caller": caller,
            "mind": mind,
            "positional": parameters[: len(args)],
            "slots": [[name, shown(receiver.own(name))] for name in receiver.names()[:SHOWN_SLOTS]],
            "call": call(selector, args, kwargs),
            "signature": f"def {selector}({', '.join(['self', *parameters])}):",
            "examples": list(examples),
        }
    )


def parameters_of(positional: int, keywords: list[str]) -> list[str]:
    """Names of the parameters after `self`: letters for positional ones, then the keywords. Raises BadArguments."""
    letters = [letter for letter in _PARAMETERS if letter not in keywords]
    if positional > len(letters):
        raise BadArguments(f"a method takes at most {len(letters)} positional arguments, not {positional}", "pass a list or a dict")
    return [*letters[:positional], *keywords]


def shown(value: Any) -> str:
    """A slot's value as the prompt shows it; behaviour only as such."""
    return str(value.own("shown", "<method>")) if is_method(value) else literal(value)


def is_name(name: Any) -> bool:
    """Whether this can name a slot or a method: whatever has such a name can be sent over the bridge (`uvm.protocol.Selector`)."""
    return type(name) is str and _NAME.fullmatch(name) is not None


def is_word(name: Any) -> bool:
    """Whether an object may have a slot of this name: images of 0.1.0 have some with letters of other alphabets."""
    return type(name) is str and len(name) <= _LONGEST_NAME and name.isidentifier() and not name.startswith("_")


def is_object_name(name: Any) -> bool:
    """Whether an object can be known by this name."""
    return type(name) is str and 1 <= len(name) <= 256 and not name.startswith(("@", "_")) and name.isprintable()


def is_method(value: Any) -> bool:
    """Whether a slot's value is behaviour."""
    return type(value) is UvmObject and value.own(KIND) == "method"


def data_slots(receiver: UvmObject) -> list[str]:
    """Own slots that hold data, or that the kernel answers with data as if they did, in order."""
    own_slots = ((name, receiver.own(name)) for name in receiver.names())
    return [name for name, value in own_slots if not is_method(value) or value.own("shown") is not ABSENT]


def shape(receiver: UvmObject, selector: str, positional: int, keywords: Sequence[str]) -> str:
    """Digest of what makes two misses the same: selector, arity, parents and data slots of the receiver."""
    parents = [parent._p_oid.hex() if parent._p_oid else f"new:{id(parent)}" for parent in receiver.parents()]
    text = repr([selector, positional, sorted(keywords), parents, sorted(data_slots(receiver))])
    return hashlib.sha256(text.encode()).hexdigest()

"""What the model is asked with: the first paragraph of each prompt, which is data of the image. Within a transaction; changes nothing.

Format: a text in the slot `covenant`, of `pLLM_obj` or of a persona; the nearest one that can be used is in force, and the kernel's own
where there is none. An adapter says in its file `training.json`, key `covenant`, on which text it was trained; those that our forge made
before it wrote that down were trained on the kernel's own.
"""

import hashlib
import re
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct

from uvm.errors import BadPrompt, ImageError
from uvm.image import revocations, views
from uvm.image.image import Image
from uvm.image.views import COVENANT
from uvm.objects import ABSENT, UvmObject

SLOT: Final = "covenant"
MIND: Final = "pLLM_obj"
CHARACTERS: Final = 8192
"""Characters of the longest text."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BYTES_A_TOKEN: Final = 4
_TRAINING: Final = "training.json"
_TRAINING_BYTES: Final = 65_536

log = structlog.get_logger()


class Covenant(Struct, frozen=True):
    """A text, and whose slot it stands in; none: it is the kernel's own."""

    text: str
    holder: UvmObject | None = None

    @property
    def digest(self) -> str:
        return digest(self.text)


def digest(text: str) -> str:
    """sha256 of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def tokens(text: str) -> int:
    """About how many tokens a text has: English has some four bytes a token with every usual vocabulary."""
    return -(-len(text.encode()) // _BYTES_A_TOKEN)


def check(text: Any) -> str:
    """The text, if the model can be asked with it. Raises BadPrompt."""
    why = _flaw(text)
    if why:
        raise BadPrompt(
            f"the model cannot be asked with this: {why}",
            f"a text of 1 to {CHARACTERS:,} characters, without control characters but newline and tab; resetPrompt (batos prompt reset) "
            "goes back to the earlier one",
        )
    return str(text)


def _flaw(text: Any) -> str:
    if type(text) is not str:
        return "it is no text"
    if not text.strip():
        return "it is empty"
    if len(text) > CHARACTERS:
        return f"it has {len(text):,} characters, and {CHARACTERS:,} are allowed"
    control = _CONTROL.search(text)
    if control is not None:
        line = text.count("\n", 0, control.start()) + 1
        return f"line {line} has a control character, U+{ord(control[0]):04X}"
    return ""


def is_persona(image: Image, owner: UvmObject) -> bool:
    """Whether an object speaks for the model: `pLLM_obj`, and what delegates to it before it delegates to what all objects inherit."""
    mind, traits = image.names.get(MIND), image.names.get("traits_obj")
    return next((ancestor for ancestor in owner.chain() if ancestor is mind or ancestor is traits), traits) is mind


def in_force(image: Image, persona: UvmObject | None = None) -> Covenant:
    """The text that a persona is asked with, its own before what it inherits; of `pLLM_obj`, for none or for what is no persona."""
    mind = image.names.get(MIND)
    owner = persona if persona is not None and is_persona(image, persona) else mind
    for ancestor in owner.chain() if type(owner) is UvmObject else ():
        value = ancestor.own(SLOT)
        if value is not ABSENT:
            why = _flaw(value)
            if not why:
                return Covenant(value, ancestor)
            log.warning("nobody can be asked with what a slot holds", object=repr(ancestor), slot=SLOT, why=why)
        if ancestor is mind:
            break
    return Covenant(COVENANT)


def adapter_of(image: Image, persona: UvmObject) -> views.Weights | None:
    """The adapter that a persona speaks with; none where it speaks without, or where what it has cannot be used."""
    try:
        model, adapter = views.nearest(persona, "model", "model"), revocations.trusted_adapter(image, persona)
        if model is None or adapter is None:
            return None
        speaks = views.weights(adapter, "adapter")
        return speaks if speaks.serves(views.weights(model, "model").digest) else None
    except ImageError as error:
        log.warning("an adapter cannot be used", persona=repr(persona), error=error.message)
        return None


class _Training(Struct):
    """What is read of `training.json`; the forge of all versions writes its `recipe`."""

    covenant: str | None = None
    recipe: dict[str, Any] | None = None


def trained_on(adapter: views.Weights) -> str | None:
    """The text that an adapter was trained on; none where it does not say. Reads one small file."""
    blob = adapter.blobs.get(_TRAINING)
    if blob is None:
        return None
    try:
        with blob.open("r") as file:
            noted = msgspec.json.decode(file.read(_TRAINING_BYTES), type=_Training)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        log.warning("what an adapter was trained on cannot be read", adapter=adapter.digest, error=str(error))
        return None
    if noted.covenant is not None:
        return noted.covenant if not _flaw(noted.covenant) else None
    return COVENANT if noted.recipe is not None else None

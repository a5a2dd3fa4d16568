"""What the model is asked with: the first paragraph of each prompt, which is data of the image. Within a transaction; changes nothing.

Format: a text in the slot `covenant`, of `pLLM_obj` or of a persona; the nearest one that can be used is in force, and the kernel's own
where there is none. It is short, for a small model that was trained on it. Where it is the kernel's own, or the same, and a persona thinks
with a larger model and without an adapter, the text in the slot `fullCovenant` of `pLLM_obj` stands in for it. An adapter says in its file
`training.json`, key `covenant`, on which text it was trained; those that our forge made before it wrote that down were trained on the
kernel's own. How large a model is, its file `config.json` says.
"""

import hashlib
import re
from typing import Any, Final, TypeVar

import msgspec
import structlog
from msgspec import Struct
from ZODB.POSException import POSKeyError

from uvm.errors import BadPrompt, ImageError
from uvm.image import revocations, views
from uvm.image.image import Image
from uvm.image.views import COVENANT
from uvm.objects import ABSENT, UvmObject

SLOT: Final = "covenant"
FULL: Final = "fullCovenant"
SLOTS: Final = frozenset({SLOT, FULL})
MIND: Final = "pLLM_obj"
LARGE: Final = 300_000_000
"""Parameters past which a model follows more than a few words."""
CHARACTERS: Final = 8192
"""Characters of the longest text."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BYTES_A_TOKEN: Final = 4
_TRAINING: Final = "training.json"
_CONFIG: Final = "config.json"
_TOKENIZER: Final = "tokenizer_config.json"
_TEMPLATES: Final = frozenset({"chat_template.jinja", "chat_template.json"})
_NOTES_BYTES: Final = 262_144
"""Bytes that are read of such a file; one that has more says nothing."""
_MODELS: Final = 64

_parameters: dict[str, int] = {}
"""By the digest of a model, so that its file is read once in a process; at most `_MODELS`."""

log = structlog.get_logger()

_T = TypeVar("_T")


class Covenant(Struct, frozen=True):
    """A text, and in which slot of whom it stands; of nobody: it is the kernel's own."""

    text: str
    holder: UvmObject | None = None
    slot: str = SLOT


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


def in_force(image: Image, persona: UvmObject | None = None, inherited: bool = False) -> Covenant:
    """The text that a persona is asked with, its own before what it inherits; of `pLLM_obj`, for none or for what is no persona.

    `inherited`: without its own.
    """
    mind = image.names.get(MIND)
    owner = persona if persona is not None and is_persona(image, persona) else mind
    if type(owner) is not UvmObject or type(mind) is not UvmObject:
        return Covenant(COVENANT)
    nearest = Covenant(COVENANT)
    for ancestor in owner.chain():
        text = None if inherited and ancestor is owner else _usable(ancestor, SLOT)
        if text is not None:
            nearest = Covenant(text, ancestor)
            break
        if ancestor is mind:
            break
    if nearest.text != COVENANT or (size := _size(owner)) <= LARGE:
        return nearest
    full = _usable(mind, FULL)
    chosen = choice(nearest.text, full, size, adapter_of(image, owner) is not None)
    return nearest if full is None or chosen != full else Covenant(full, mind, FULL)


def is_large(image: Image, persona: UvmObject) -> bool:
    """Whether a persona thinks with a model that follows a long text, and speaks without an adapter."""
    return _size(persona) > LARGE and adapter_of(image, persona) is None


def has_chat_template(persona: UvmObject) -> bool:
    """Whether the model that a persona thinks with has one among its files."""
    model = views.nearest(persona, "model", "model")
    try:
        thinks = views.weights(model, "model") if model is not None else None
    except ImageError:
        return False
    if thinks is None or not _TEMPLATES.isdisjoint(thinks.blobs):
        return thinks is not None
    noted = _read(thinks, _TOKENIZER, _TokenizerConfiguration)
    return noted is not None and bool(noted.chat_template)


def choice(text: str, full: str | None, parameters: int, adapter: bool) -> str:
    """Which text a model of so many parameters is asked with; `adapter`: it speaks with one. Pure.

    A text that somebody has chosen stands. An adapter was trained on the short one, and a small model does not follow the full one.
    """
    return full if full is not None and text == COVENANT and parameters > LARGE and not adapter else text


def _usable(owner: UvmObject, slot: str) -> str | None:
    value = owner.own(slot)
    if value is ABSENT or value is None:
        return None
    why = _flaw(value)
    if not why:
        return str(value)
    log.warning("nobody can be asked with what a slot holds", object=repr(owner), slot=slot, why=why)
    return None


class _TokenizerConfiguration(Struct):
    """What is read of a model's `tokenizer_config.json`: a text, or a list of named ones."""

    chat_template: str | list[Any] | None = None


class ModelConfiguration(Struct):
    """What is read of a model's `config.json`, which Hugging Face's libraries write."""

    hidden_size: int = 0
    num_hidden_layers: int = 0
    intermediate_size: int = 0
    vocab_size: int = 0
    num_attention_heads: int = 1
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    tie_word_embeddings: bool = True

    @property
    def parameters(self) -> int:
        """About how many weights a dense Llama-like model has; biases and norms do not count."""
        heads = max(1, self.num_attention_heads)
        width = self.head_dim or self.hidden_size // heads
        attention = 2 * self.hidden_size * width * (heads + (self.num_key_value_heads or heads))
        layers = self.num_hidden_layers * (attention + 3 * self.hidden_size * self.intermediate_size)
        return layers + self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)


def _size(persona: UvmObject) -> int:
    """Parameters of the model that a persona thinks with; 0 where that is not known."""
    model = views.nearest(persona, "model", "model")
    try:
        thinks = views.weights(model, "model") if model is not None else None
    except ImageError:
        return 0
    if thinks is None:
        return 0
    if thinks.digest not in _parameters:
        noted = _read(thinks, _CONFIG, ModelConfiguration)
        if noted is None:
            return 0
        if len(_parameters) >= _MODELS:
            _parameters.clear()
        _parameters[thinks.digest] = noted.parameters
    return _parameters[thinks.digest]


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
    noted = _read(adapter, _TRAINING, _Training)
    if noted is None:
        return None
    if noted.covenant is not None:
        return noted.covenant if not _flaw(noted.covenant) else None
    return COVENANT if noted.recipe is not None else None


def _read(weights: views.Weights, name: str, kind: type[_T]) -> _T | None:
    """A small file of a model or an adapter, by type; none where it has no such file, or one that cannot be read so."""
    blob = weights.blobs.get(name)
    if blob is None:
        return None
    try:
        with blob.open("r") as file:
            return msgspec.json.decode(file.read(_NOTES_BYTES), type=kind)
    except (OSError, POSKeyError, ImageError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        log.warning("a file of a model or an adapter cannot be read", of=weights.digest, file=name, error=str(error))
        return None

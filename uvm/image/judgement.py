"""What the image judges drafts with: the numbers that belong to an adapter, and which of them are in force. Within a transaction.

`decision.json` is written by `python -m inference_worker.forge.calibrate` from what an evaluation reported, and is true of the adapter
beside it. In the image it is the slot `judgement` of `pLLM_obj`, which `chooseFrom_` reads, with its `digest`: one that still has it came
from such a file, and gives way to that of another adapter, or to a later one; what a message has put there stays. It follows the adapter
that `pLLM_obj` speaks with: the adapter's own file comes first, and the one that ships serves where there is none, though it was not
fitted to it. Drafts of a persona with an adapter of its own are weighed by the same numbers, since one rule chooses among all drafts.

Format: a logistic regression over the features of `uvm.generation.features`. The score is `bias` plus the sum of each of the `weights`
times what its feature is above its mean; `calibration` makes a confidence of it, the logistic function of slope times score plus offset,
without examples and with some. `thresholds` has for each the pairs of a risk and the confidence from which on that risk is kept, by rising
risk; 2, where none does. `fitted` says on what. At most `MOST_BYTES`.
"""

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import structlog
from msgspec import Meta, Struct
from ZODB.POSException import POSKeyError

from uvm.errors import BadJudgement
from uvm.image import prompts, views
from uvm.image.image import Image
from uvm.image.journal import Effect
from uvm.image.model_registry import JUDGEMENT
from uvm.objects import UvmObject

SLOT: Final = "judgement"
FILE: Final = JUDGEMENT
MOST_BYTES: Final = 65_536
_SHIPPED: Final = files("inference_worker") / "shipped" / "covenant" / FILE
SUPERSEDED: Final[frozenset[str]] = frozenset()
"""Digests of judgements that shipped earlier with the weights that ship now: images were born with these files, and get the later one."""

Kind = Literal["without", "with"]
JudgementOrigin = Literal["adapter", "shipped", "earlier", "message", "none"]

log = structlog.get_logger()


class JudgementFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file, as it is read."""

    bias: float
    weights: Annotated[dict[str, float], Meta(max_length=256)]
    means: dict[str, float]
    calibration: dict[Kind, tuple[float, float]]
    thresholds: dict[Kind, list[tuple[Annotated[float, Meta(gt=0, le=1)], Annotated[float, Meta(ge=0, le=2)]]]]
    fitted: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if set(self.weights) != set(self.means):
            raise ValueError("each weight has a mean, and each mean a weight")
        for kind in ("without", "with"):
            rows = self.thresholds.get(kind, [])
            if kind not in self.calibration or not rows or rows != sorted(rows, key=lambda row: row[0]):
                raise ValueError(f"calibration and thresholds {kind} examples are there, these by rising risk")


class JudgementInForce(Struct, frozen=True):
    """Whose numbers weigh drafts. `of`: the `adapter` of `pLLM_obj`, the `shipped` adapter, another file (`earlier`), or a `message` that
    has put them there; `none`: nothing that could be used. `fitted`: whether to what whoever was asked for speaks with; None: nobody knows.
    """

    of: JudgementOrigin
    fitted: bool | None
    digest: str = ""


def checked(octets: bytes, where: str) -> dict[str, Any]:
    """A file's numbers as a slot holds them. Raises BadJudgement."""
    try:
        if len(octets) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        content = msgspec.to_builtins(msgspec.json.decode(octets, type=JudgementFile))
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise BadJudgement(
            f"{where} cannot be used to judge drafts: {error}",
            "write it with `python -m inference_worker.forge.calibrate`, or leave it out: then the numbers that ship serve",
        ) from error
    plain: dict[str, Any] = json.loads(json.dumps(content))  # tuples are lists in a slot
    return {**plain, "digest": digest(plain)}


def check_directory(directory: Path) -> None:
    """Whether an adapter's directory has numbers that can be used, or none. Raises BadJudgement, OSError."""
    file = directory / FILE
    if file.exists():
        with file.open("rb") as reader:
            checked(reader.read(MOST_BYTES + 1), str(file))


def shipped() -> dict[str, Any]:
    """The numbers that ship, as a slot holds them. Raises RuntimeError where the installation has none that can be used."""
    try:
        return checked(_SHIPPED.read_bytes(), str(_SHIPPED))
    except (OSError, BadJudgement) as error:
        raise RuntimeError(f"the installation is damaged: {error}") from error


def digest(content: dict[str, Any]) -> str:
    """sha256 of the numbers, whatever order they stand in."""
    told = {name: value for name, value in content.items() if name != "digest"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def of_adapter(adapter: views.Weights) -> dict[str, Any] | None:
    """The numbers that came with an adapter; none where none did. Raises BadJudgement where they cannot be used."""
    blob = adapter.blobs.get(FILE)
    if blob is None:
        return None
    where = f"{FILE} of the adapter {adapter.name}"
    try:
        with blob.open("r") as file:
            own = checked(file.read(MOST_BYTES + 1), where)
    except (OSError, POSKeyError) as error:
        raise BadJudgement(f"{where} cannot be read: {error}", "`batos image check` says what is damaged") from error
    return shipped() if own["digest"] in SUPERSEDED else own


def wanted(image: Image, mind: UvmObject) -> dict[str, Any] | None:
    """The numbers that are to weigh, for what `pLLM_obj` speaks with; none where those in its slot stay. Raises BadJudgement."""
    held = mind.own(SLOT)
    if isinstance(held, dict) and not _is_of_a_file(held):
        return None
    adapter = prompts.adapter_of(image, mind)
    content = (of_adapter(adapter) if adapter is not None else None) or shipped()
    return None if isinstance(held, dict) and held["digest"] == content["digest"] else content


def follow(image: Image, mind: UvmObject) -> list[Effect]:
    """Have the numbers follow the adapter, where these are a file's, in a transaction of the kernel; the effect of that.

    An adapter whose file cannot be used goes without one, and the log says so: what calls this has to go on.
    """
    try:
        content = wanted(image, mind)
    except BadJudgement as error:
        log.warning("an adapter's judgement cannot be used, and the shipped one serves", error=error.message)
        held, newest = mind.own(SLOT), shipped()
        content = None if isinstance(held, dict) and held["digest"] == newest["digest"] else newest
    if content is None:
        return []
    before = mind.own(SLOT)
    mind.put(SLOT, content)
    return [(mind, SLOT, before, content, None)]


def numbers(mind: UvmObject) -> JudgementFile:
    """The numbers in force; those that ship, where a message has put something there that is none."""
    held = mind.own(SLOT)
    for content in (held, shipped()) if isinstance(held, dict) else (shipped(),):
        try:
            return msgspec.convert({name: value for name, value in content.items() if name != "digest"}, JudgementFile)
        except (msgspec.ValidationError, RecursionError):
            continue
    raise RuntimeError("the installation's own judgement is checked when it is read")


def numbers_of_none(mind: UvmObject) -> JudgementFile:
    """The numbers that will weigh the drafts of an adapter that comes without its own: a message's stay, and else those that ship serve."""
    held = mind.own(SLOT)
    if isinstance(held, dict) and not _is_of_a_file(held):
        return numbers(mind)
    return msgspec.convert({name: value for name, value in shipped().items() if name != "digest"}, JudgementFile)


def in_force(image: Image, mind: UvmObject, speaker: UvmObject | None = None) -> JudgementInForce:
    """Whose numbers weigh drafts now, and whether they are of what a persona, else `pLLM_obj`, speaks with."""
    held = mind.own(SLOT)
    if not isinstance(held, dict):
        return JudgementInForce("none", False)
    if not _is_of_a_file(held):
        return JudgementInForce("message", None)
    mark = str(held["digest"])
    if mark == _mark(image, mind):
        of: JudgementOrigin = "adapter"
    else:
        of = "shipped" if mark == shipped()["digest"] else "earlier"
    return JudgementInForce(of, mark == _mark(image, speaker or mind), mark)


def _mark(image: Image, speaker: UvmObject) -> str:
    """The digest of the numbers that came with the adapter in force; empty where none did that can be used."""
    adapter = prompts.adapter_of(image, speaker)
    try:
        own = of_adapter(adapter) if adapter is not None else None
    except BadJudgement:
        return ""
    return str(own["digest"]) if own is not None else ""


def _is_of_a_file(held: Any) -> bool:
    """Whether numbers are as some file has them, and nobody has changed them since."""
    try:
        return isinstance(held, dict) and bool(held["digest"] == digest(held))
    except (KeyError, TypeError, ValueError):
        return False

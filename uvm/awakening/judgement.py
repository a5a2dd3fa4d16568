"""What the image judges drafts with: the numbers that ship beside the adapter, and how an image gets them. Called by the awakening.

`decision.json` is written by `python -m inference_worker.forge.calibrate` from what an evaluation reported, and is true of the adapter
beside it. In the image it is the slot `judgement` of `pLLM_obj`, which `chooseFrom_` reads, with its `digest`: one that still has it is as
it was shipped, and gives way to a later one; what a message has put there stays.

Format: a logistic regression over the features of `uvm.generation.features`. The score is `bias` plus the sum of each of the `weights`
times what its feature is above its mean; `calibration` makes a confidence of it, the logistic function of slope times score plus offset,
without examples and with some. `thresholds` has for each the pairs of a risk and the confidence from which on that risk is kept, by rising
risk; 2, where none does. `fitted` says on what.
"""

import hashlib
import json
from importlib.resources import files
from typing import Any, Final

import msgspec

from uvm.generation.hindsight import DecisionNumbers
from uvm.objects import UvmObject

SLOT: Final = "judgement"
_SHIPPED: Final = files("inference_worker") / "shipped" / "covenant" / "decision.json"


class ShippedJudgement(DecisionNumbers, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file, checked."""


def shipped() -> dict[str, Any]:
    """The numbers as a slot holds them. Raises RuntimeError where the installation has none that can be used."""
    try:
        content: dict[str, Any] = msgspec.to_builtins(msgspec.json.decode(_SHIPPED.read_bytes(), type=ShippedJudgement))
    except (OSError, msgspec.MsgspecError) as error:
        raise RuntimeError(f"{_SHIPPED} cannot be used: {error}") from error
    plain: dict[str, Any] = json.loads(json.dumps(content))  # tuples are lists in a slot
    return {**plain, "digest": digest(plain)}


def in_force(mind: UvmObject) -> DecisionNumbers:
    """The numbers that an image judges with; the shipped ones, where a message has put something there that they cannot be read from."""
    for content in (mind.own(SLOT), shipped()):
        try:
            return msgspec.convert(content, DecisionNumbers)
        except msgspec.ValidationError:
            continue
    raise RuntimeError(f"{_SHIPPED} cannot be used")


def digest(content: dict[str, Any]) -> str:
    """sha256 of the numbers, whatever order they stand in."""
    told = {name: value for name, value in content.items() if name != "digest"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def renew(mind: UvmObject) -> bool:
    """Put the shipped numbers in the place of none, or of earlier ones as they were shipped. Whether anything was written."""
    held, newest = mind.own(SLOT), shipped()
    if isinstance(held, dict) and held.get("digest") in (newest["digest"], None):
        return False
    if isinstance(held, dict) and not _is_as_shipped(held):
        return False
    mind.put(SLOT, newest)
    return True


def _is_as_shipped(held: dict[str, Any]) -> bool:
    try:
        return bool(held["digest"] == digest(held))
    except (TypeError, ValueError):
        return False

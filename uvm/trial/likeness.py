"""When two runs of a method did the same: values as they are compared, and a digest of them. Pure.

Numbers are compared as numbers, up to what calculations with floats lose; the order of a map's keys does not count.
"""

import hashlib
from typing import Any, Final

from msgspec import UNSET

from uvm.trial.protocol import Effect, TrialOutcome, encode

_DIGITS: Final = 10


def comparable(value: Any) -> Any:
    """A wire value such that equal ones are what an example would call the same."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value) if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") + 0.0  # no zero is negative
    if isinstance(value, list | tuple):
        return [comparable(element) for element in value]
    if isinstance(value, dict):
        return sorted(([str(key), comparable(element)] for key, element in value.items()), key=lambda pair: str(pair[0]))
    return value


def digest(*parts: Any) -> str:
    """Equal for what is comparable and equal."""
    return hashlib.sha256(encode(TrialOutcome(kind="ok", result=[comparable(part) for part in parts]))).hexdigest()[:32]


def of_run(result: Any, effects: list[Effect], count: int, made_digest: str) -> str:
    """Digest of what a run brought about. References to what it made name nothing outside of it."""
    changes = sorted(([str(effect.object), effect.slot, *_after(effect)] for effect in effects), key=lambda change: change[:2])
    return digest(None if count else result, made_digest, changes)


def of_failure(kind: str, needed: Any = None) -> str:
    """Digest of how a run failed: by the type of its error, and by what it needed, where that was something."""
    return digest(kind, needed)


def _after(effect: Effect) -> list[Any]:
    return [] if effect.after is UNSET else [effect.after]

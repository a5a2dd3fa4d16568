"""Entropy of what was sent: how varied the image's life is. Pure."""

import math
from collections.abc import Mapping


def shannon(counts: Mapping[str, int]) -> float:
    """Entropy in bits of a distribution given as counts (Shannon, 1948); 0 for nothing or one kind of thing."""
    total = sum(count for count in counts.values() if count > 0)
    if total == 0:
        return 0.0
    shares = [count / total for count in counts.values() if count > 0]
    return max(0.0, -sum(share * math.log2(share) for share in shares))


def since(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """What came between two tallies."""
    return {name: count - before.get(name, 0) for name, count in now.items() if count > before.get(name, 0)}

"""Entropy of what was sent and of what the model said: how varied the image's life is. Pure."""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from inference_worker.protocol import Output

_BIT: Final = math.log(2)


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


class Spoken(Struct, frozen=True):
    """How sure the model was of its own tokens, summed up, so that no list of tokens is kept.

    `bits`: the sum of -log2 p over the tokens; by `tokens` it estimates their entropy, from below where drafts are greedy. `hesitant`:
    tokens to which the model gave less than even odds.
    """

    tokens: int = 0
    bits: float = 0.0
    hesitant: int = 0

    def __add__(self, other: "Spoken") -> "Spoken":
        return Spoken(self.tokens + other.tokens, self.bits + other.bits, self.hesitant + other.hesitant)

    def __sub__(self, other: "Spoken") -> "Spoken":
        return Spoken(self.tokens - other.tokens, self.bits - other.bits, self.hesitant - other.hesitant)

    @property
    def entropy(self) -> float:
        """Bits per token; 0 when nothing was said."""
        return self.bits / self.tokens if self.tokens > 0 else 0.0


def spoken_by(outputs: Iterable[Output]) -> Spoken:
    """The sum over outputs: of their tokens' log probabilities, or, where the worker gave none, of their means."""
    total = Spoken()
    for output in outputs:
        if output.logprobs:
            bits = -math.fsum(output.logprobs) / _BIT
            total += Spoken(len(output.logprobs), bits, sum(logprob < -_BIT for logprob in output.logprobs))
        else:
            total += Spoken(output.tokens, -output.logprob * output.tokens / _BIT)
    return total

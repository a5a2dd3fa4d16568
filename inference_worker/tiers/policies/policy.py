"""What a caching policy is: it watches which adapters are used, and says what each is worth keeping.

One policy a file (`lru`, `cost`, `predictive`); `make_policy` makes one from its name in the settings. The scheduler's
core calls all of it, in its own thread. A policy never decides what may be evicted (the core knows what is in flight),
only what is worth least.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable


class Policy(ABC):
    """One caching policy. `name` is the one in the settings."""

    name: str

    @abstractmethod
    def used(self, at: float, adapter: str, session: str) -> Iterable[str]:
        """A request for `adapter` arrived in `session` (empty: in none). Returns whose worth this changed."""

    @abstractmethod
    def worth(self, adapter: str) -> float:
        """What it is worth to keep it, in the policy's own unit: the least is evicted first. Changes only as `used`,
        `loaded` and `passed` say."""

    def loaded(self, adapter: str, size: int, seconds: float) -> None:
        """The adapter of `size` bytes took `seconds` to get where it is from the tier below."""
        return

    def evicted(self, adapter: str) -> None:
        """The adapter lost its place in RAM."""
        return

    def passed(self, at: float) -> Iterable[str]:
        """Time passed. Returns whose worth this changed."""
        return ()

    def next(self, session: str) -> list[tuple[str, float]]:
        """What the session is likely to ask for next, with probabilities, the likeliest first."""
        return []

    def forget(self, adapter: str) -> None:
        """The adapter is gone for good."""
        return


def make_policy(name: str) -> Policy:
    """The policy called `name`: lru, cost or predictive. Raises ValueError for any other."""
    from inference_worker.tiers.policies.gdsf import Cost
    from inference_worker.tiers.policies.lru import Lru
    from inference_worker.tiers.policies.markov import Predictive

    policies: dict[str, type[Policy]] = {policy.name: policy for policy in (Lru, Cost, Predictive)}
    if name not in policies:
        raise ValueError(f"there is no policy {name!r}; there are {', '.join(policies)}")
    return policies[name]()

"""GreedyDual-Size-Frequency: what is often used, slow to load and small stays.

Worth is H = L + frequency × load seconds ÷ size (Cherkasova, "Improving WWW proxies performance with GreedyDual-Size-Frequency
caching policy", HP Labs 1998). L is the worth of what was evicted last: it grows with time, so that what was popular long ago
does not stay for ever. Sizes count in MiB, so that L stays a number of a readable magnitude.
"""

from collections.abc import Iterable

from inference_worker.tiers.policies.policy import Policy

_MIB = 1024 * 1024
_SMOOTHING = 0.3
"""Weight of the newest load time against those before: one slow read on a busy disk does not make an adapter precious."""


class Cost(Policy):
    """Load time × frequency ÷ size, with ageing."""

    name = "cost"

    def __init__(self) -> None:
        self._floor = 0.0
        self._uses: dict[str, int] = {}
        self._base: dict[str, float] = {}
        """The floor when the adapter was used last."""
        self._price: dict[str, float] = {}
        """Seconds of loading per MiB."""
        self._mean_price = 0.0

    def used(self, at: float, adapter: str, session: str) -> Iterable[str]:
        self._uses[adapter] = self._uses.get(adapter, 0) + 1
        self._base[adapter] = self._floor
        return (adapter,)

    def worth(self, adapter: str) -> float:
        return self._base.get(adapter, 0.0) + self._uses.get(adapter, 0) * self._price_of(adapter)

    def loaded(self, adapter: str, size: int, seconds: float) -> None:
        price = seconds / max(size / _MIB, 1 / 1024)
        before = self._price.get(adapter, price)
        self._price[adapter] = before + _SMOOTHING * (price - before)
        self._mean_price = self._mean_price + _SMOOTHING * (price - self._mean_price) if self._mean_price else price

    def evicted(self, adapter: str) -> None:
        self._floor = max(self._floor, self.worth(adapter))

    def forget(self, adapter: str) -> None:
        for table in (self._uses, self._base, self._price):
            table.pop(adapter, None)

    def _price_of(self, adapter: str) -> float:
        return self._price.get(adapter) or self._mean_price or 1.0

"""What the tiers may hold and what may be under way at once: plain numbers, given once.

The hot tier's budget is not here: the engine says how many slots it has when it is ready (`EngineReady`).
"""

from msgspec import Struct


class Budgets(Struct, frozen=True):
    """Bytes a tier may hold; 0 is no bound.

    `ram`: adapters parsed in RAM, those that are hot as well included. `disk`: adapters that came from a peer; those that
    the owner of the blobs put there are not ours to delete and do not count.
    """

    ram: int = 0
    disk: int = 0

    def __post_init__(self) -> None:
        for name in ("ram", "disk"):
            if getattr(self, name) < 0:
                raise ValueError(f"the {name} budget is {getattr(self, name)} bytes; it must be 0 (no bound) or more")


class SchedulingLimits(Struct, frozen=True):
    """How much runs at once, and how long anybody is kept waiting for anybody.

    `max_streams`: sequences decoded together. `reserved_streams`: those that background requests leave free. `ageing_s`:
    waiting so long lifts a request by one class. `idle_s`: an engine nobody used for so long is stopped; 0: never.
    `reads`, `commits`, `fetches`: moves of a kind under way at once. `window`: how far down the queue a request is looked for
    that makes the batch no dearer. `pass_s`: how long later requests for an adapter in a slot may pass one that
    waits for a slot, seconds. `tenure`: how many times its own load time an adapter may use a slot before it must give way.
    `guess`: the least probability for which an adapter is fetched or read before anybody asked; `guess_slot`: for which it
    gets a slot.
    """

    max_streams: int = 16
    reserved_streams: int = 2
    ageing_s: float = 20.0
    idle_s: float = 0.0
    reads: int = 1
    commits: int = 1
    fetches: int = 2
    window: int = 8
    pass_s: float = 2.0
    tenure: float = 4.0
    guess: float = 0.2
    guess_slot: float = 0.5

    def __post_init__(self) -> None:
        least = {"max_streams": 1, "reads": 1, "commits": 1, "fetches": 1, "window": 1}
        for name in self.__struct_fields__:
            if getattr(self, name) < least.get(name, 0):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least.get(name, 0)}")
        if self.ageing_s <= 0:
            raise ValueError(f"ageing_s is {self.ageing_s}; it must be above 0, or somebody would wait forever")

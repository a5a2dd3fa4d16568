"""Where each adapter is, how many bytes each tier holds, and what is under way. Owned by the scheduler's core.

An adapter's place is the best tier that has it. What is hot is in RAM as well, and what is in RAM is on disk as well, so
RAM counts warm and hot adapters, and disk counts all that came from a peer and was not deleted. A move under way counts at
its goal from its beginning: what is promised is spent.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from inference_worker.tiers.events import Registered, Tier

UP: dict[Tier, Tier] = {Tier.REMOTE: Tier.COLD, Tier.COLD: Tier.WARM, Tier.WARM: Tier.HOT}
"""The tier above."""


@dataclass(eq=False, slots=True)
class PlacedAdapter:
    """One adapter. `goal`: the tier it is on the way to, if any. `pins`: requests that run with it.

    `foreign`: its files came from a peer. `leaving`: it was removed, and is kept only until nothing uses it. `size`: bytes on disk.
    `ram`: bytes parsed, 0 until they are known. `first_s`, `last_s`: when the first and the last request was admitted since it
    is hot. `yields_to`: the adapter that gets its slot when it is idle. `takes`: those that yield to it.
    `guessed`: it was moved up before anybody asked, so many moves; `failed`: its last move failed, so it is not guessed again.
    `promised`: bytes that count at the goal already. `model`: the base model of the last request for it.
    """

    digest: str
    size: int
    rank: int
    foreign: bool
    tier: Tier
    goal: Tier | None = None
    ram: int = 0
    pins: int = 0
    leaving: bool = False
    uses: int = 0
    last_use: float | None = None
    read_s: float = 0.0
    commit_s: float = 0.0
    first_s: float | None = None
    last_s: float = 0.0
    yields_to: "PlacedAdapter | None" = None
    takes: "list[PlacedAdapter]" = field(default_factory=list)
    guessed: int = 0
    failed: bool = False
    promised: int = 0
    model: str | None = None

    @property
    def load_s(self) -> float:
        """How long it last took from cold to hot, seconds."""
        return self.read_s + self.commit_s

    @property
    def in_ram(self) -> bool:
        return self.tier in (Tier.WARM, Tier.HOT)

    @property
    def is_idle(self) -> bool:
        """Nothing runs with it and nothing moves it."""
        return not self.pins and self.goal is None


@dataclass(slots=True)
class Traffic:
    """What has happened at one tier."""

    arrivals: int = 0
    entered: int = 0
    left: int = 0
    seconds: float = 0.0

    @property
    def move_s(self) -> float:
        return self.seconds / self.entered if self.entered else 0.0


class Places:
    """All adapters, and the tiers' bytes."""

    def __init__(self) -> None:
        self._adapters: dict[str, PlacedAdapter] = {}
        self._hot: dict[str, PlacedAdapter] = {}
        self._moving = dict.fromkeys(UP.values(), 0)
        self._parsed, self._on_disk = 0, 0
        self.count = dict.fromkeys(Tier, 0)
        self.traffic = {tier: Traffic() for tier in Tier}
        self.slots, self.slot_size = 0, 0
        self.ram_used, self.disk_used = 0, 0

    def __len__(self) -> int:
        return len(self._adapters)

    def __iter__(self) -> Iterator[PlacedAdapter]:
        return iter(self._adapters.values())

    def get(self, digest: str) -> PlacedAdapter | None:
        return self._adapters.get(digest)

    @property
    def hot(self) -> dict[str, PlacedAdapter]:
        """Those in slots, in the order in which they came. Not to be changed."""
        return self._hot

    @property
    def free_slots(self) -> int:
        return self.slots - len(self._hot) - self._moving[Tier.HOT]

    @property
    def is_moving_parsed(self) -> bool:
        """Whether a read or a commit is under way."""
        return bool(self._moving[Tier.WARM] or self._moving[Tier.HOT])

    def moving_to(self, tier: Tier) -> int:
        """How many moves to the tier are under way."""
        return self._moving[tier]

    def ram_of(self, adapter: PlacedAdapter) -> int:
        """What the adapter takes, or is expected to take, in RAM: by its size, as those before it did."""
        if adapter.ram:
            return adapter.ram
        return adapter.size * self._parsed // self._on_disk if self._on_disk else adapter.size

    # --- coming and going ---------------------------------------------------------------------------------------------

    def register(self, event: Registered) -> PlacedAdapter:
        """A new adapter, on disk or at a peer."""
        adapter = PlacedAdapter(event.adapter, event.size, event.rank, event.remote, Tier.REMOTE if event.remote else Tier.COLD)
        self._adapters[event.adapter] = adapter
        self.count[adapter.tier] += 1
        return adapter

    def forget(self, adapter: PlacedAdapter) -> None:
        """The adapter, cold or remote, is no more."""
        if adapter.tier is Tier.COLD and adapter.foreign:
            self.disk_used -= adapter.size
        self.count[adapter.tier] -= 1
        del self._adapters[adapter.digest]

    def came_home(self, adapter: PlacedAdapter) -> None:
        """The owner of the blobs has put a remote adapter's files here: it is cold, and not ours to delete."""
        adapter.foreign = False
        self._to(adapter, Tier.COLD)

    # --- up -----------------------------------------------------------------------------------------------------------

    def begin(self, adapter: PlacedAdapter, expected_ram: int) -> None:
        """A move to the tier above is under way; `expected_ram`: what it is expected to take in RAM."""
        adapter.goal = UP[adapter.tier]
        self._moving[adapter.goal] += 1
        if adapter.goal is Tier.WARM:
            adapter.promised = expected_ram
            self.ram_used += adapter.promised
        elif adapter.goal is Tier.COLD:
            adapter.promised = adapter.size
            self.disk_used += adapter.promised

    def abandon(self, adapter: PlacedAdapter) -> None:
        """The move under way came to nothing."""
        if adapter.goal is None:
            return
        self._moving[adapter.goal] -= 1
        if adapter.goal is Tier.WARM:
            self.ram_used -= adapter.promised
        elif adapter.goal is Tier.COLD:
            self.disk_used -= adapter.promised
        adapter.goal, adapter.promised = None, 0

    def finish(self, adapter: PlacedAdapter, seconds: float, size: int = 0) -> None:
        """The move under way arrived. `size`: the bytes there, for all but a slot."""
        goal = adapter.goal
        if goal is None:
            raise ValueError(f"adapter {adapter.digest} arrived, but is not under way; it is {adapter.tier}")
        self.abandon(adapter)
        if goal is Tier.COLD:
            adapter.size = size
            adapter.foreign = True
            self.disk_used += size
        elif goal is Tier.WARM:
            if not adapter.ram:
                self._parsed += size
                self._on_disk += adapter.size
            adapter.ram, adapter.read_s = size, seconds
            self.ram_used += size
        else:
            adapter.commit_s, adapter.first_s = seconds, None
        self._to(adapter, goal)
        self.traffic[goal].entered += 1
        self.traffic[goal].seconds += seconds

    # --- down ---------------------------------------------------------------------------------------------------------

    def lower(self, adapter: PlacedAdapter) -> None:
        """Evict the adapter to the tier below."""
        below = {upper: lower for lower, upper in UP.items()}[adapter.tier]
        self.traffic[adapter.tier].left += 1
        if adapter.tier is Tier.WARM:
            self.ram_used -= adapter.ram
        elif adapter.tier is Tier.COLD:
            self.disk_used -= adapter.size
        self._to(adapter, below)

    def lose_engine(self) -> list[PlacedAdapter]:
        """The engine is gone, and its RAM and slots with it: returns who moved or was on the way."""
        lost = [adapter for adapter in self if adapter.in_ram or adapter.goal is Tier.WARM]
        for adapter in lost:
            if adapter.goal is not Tier.COLD:
                self.abandon(adapter)
            if adapter.in_ram:
                self.ram_used -= adapter.ram
                self._to(adapter, Tier.COLD)
        self.slots, self.slot_size = 0, 0
        return lost

    def _to(self, adapter: PlacedAdapter, tier: Tier) -> None:
        if adapter.tier is Tier.HOT:
            del self._hot[adapter.digest]
        self.count[adapter.tier] -= 1
        self.count[tier] += 1
        adapter.tier = tier
        if tier is Tier.HOT:
            self._hot[adapter.digest] = adapter

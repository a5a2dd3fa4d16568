"""What is moved up, and what gives way for it. Owned by the scheduler's core, called in its thread.

Adapters that somebody waits for and that are not hot are wanted, in the order of the first request that waits for each.
A wanted adapter begins to move when its request arrives, one tier at a time, with a bounded number of moves of a kind
under way. What is in flight never gives way: what runs, what moves, and what is hot while a request that is first in the
order waits for it.

Who gives way, in this order, where room is lacking:

1. what nobody waits for, the one that the policy finds worth least first;
2. what only later requests wait for, the latest first.

Which slot gives way is `slots.py`'s matter.
"""

from collections.abc import Callable, Iterable

from inference_worker.tiers.budgets import Budgets, SchedulingLimits
from inference_worker.tiers.demand import AwaitedAdapters
from inference_worker.tiers.events import Commit, Delete, Fetch, Instruction, ReadAdapter, Retire, Tier, Unload
from inference_worker.tiers.eviction import Spares
from inference_worker.tiers.places import UP, PlacedAdapter, Places
from inference_worker.tiers.policies.policy import Policy
from inference_worker.tiers.prefetch import Guesses
from inference_worker.tiers.queue import Order, Waiting
from inference_worker.tiers.slots import Slots


class Moves:
    """Wanted adapters, and what can be evicted for them. `refuse` is called with who waits for what can never be loaded."""

    def __init__(
        self,
        places: Places,
        waiting: Waiting,
        policy: Policy,
        budgets: Budgets,
        limits: SchedulingLimits,
        refuse: Callable[[PlacedAdapter, str], None],
    ) -> None:
        self._places, self._waiting, self._policy, self._budgets, self._limits = places, waiting, policy, budgets, limits
        self._refuse = refuse
        self._awaited = AwaitedAdapters()
        self._slots = Slots(places, waiting, policy, limits)
        self._spares = {Tier.WARM: Spares(), Tier.COLD: Spares()}
        self.guesses = Guesses()
        self._out: list[Instruction] = []

    # --- what changed -------------------------------------------------------------------------------------------------

    def engine(self, model: str | None) -> None:
        """The engine that can take adapters now is for this model, or there is none."""
        self._awaited.model = model
        for digest in list(self._waiting.adapters()):
            if (adapter := self._places.get(digest)) is not None:
                self.refresh(adapter)

    def refresh(self, adapter: PlacedAdapter) -> None:
        """Something about the adapter changed: its place, who waits for it, what runs with it, or its worth."""
        head = self._waiting.head(adapter.digest)
        self._awaited.update(adapter, head)
        is_spare = adapter.is_idle and head is None and not adapter.leaving
        worth = self._worth(adapter) if is_spare else 0.0
        for tier, spares in self._spares.items():
            if is_spare and adapter.tier in (tier, Tier.WARM) and (size := self._bytes(adapter, tier)):
                spares.put(adapter.digest, worth, size)
            else:
                spares.take(adapter.digest)
        if adapter.takes and (head is None or adapter.tier is Tier.HOT):
            self._slots.release(adapter)

    def touch(self, digests: Iterable[str]) -> None:
        """The worth of these changed."""
        for digest in digests:
            if (adapter := self._places.get(digest)) is not None:
                self.refresh(adapter)

    def arrived(self, adapter: PlacedAdapter, session: str) -> None:
        """A request for the adapter arrived: was it guessed, and what will the session ask for next?"""
        self.guesses.right += adapter.guessed
        adapter.guessed = 0
        if session:
            self.guesses.replace(session, [guess for guess in self._policy.next(session) if guess[1] >= self._limits.guess])

    def lost(self, adapter: PlacedAdapter) -> None:
        """The engine that held the adapter is gone."""
        self._slots.release(adapter)
        adapter.guessed = 0
        self.refresh(adapter)

    def forget(self, adapter: PlacedAdapter) -> None:
        """The adapter is gone for good."""
        self._awaited.update(adapter, None)
        for spares in self._spares.values():
            spares.take(adapter.digest)
        self._slots.release(adapter)

    # --- deciding -----------------------------------------------------------------------------------------------------

    def decide(self, at: float) -> list[Instruction]:
        """The moves to begin now, and the evictions that make room for them."""
        self._out = []
        self._fetch(at)
        if self._awaited.model is not None:
            self._read(at)
            self._commit(at)
            self._guess()
        return self._out

    def too_much(self, adapter: PlacedAdapter) -> list[Instruction]:
        """The adapter arrived larger than promised: bring RAM (it was read) or disk (it was fetched) back under its budget."""
        self._out = []
        tier, size = adapter.tier, self._bytes(adapter, adapter.tier)
        over = self._lacking(0, tier)
        is_guess = not self._waiting.waits_for(adapter.digest)
        if over and (is_guess or not self._evict(over, tier, adapter)):
            self.cool(adapter, Tier.COLD if tier is Tier.WARM else Tier.REMOTE)
            if size > (self._budgets.ram if tier is Tier.WARM else self._budgets.disk):
                self._refuse(adapter, self._too_large(size, tier))
        return self._out

    def leave(self, adapter: PlacedAdapter) -> list[Instruction]:
        """An adapter that was removed is idle: take it out of the engine."""
        self._out = []
        self.cool(adapter, Tier.COLD)
        return self._out

    def _fetch(self, at: float) -> None:
        awaited = self._awaited[Tier.REMOTE]
        while awaited and self._places.moving_to(Tier.COLD) < self._limits.fetches:
            adapter = self._adapter(awaited[0])
            if self._budgets.disk and adapter.size > self._budgets.disk:
                self._refuse(adapter, self._too_large(adapter.size, Tier.COLD))
            elif self._has_room(adapter.size, Tier.COLD, adapter, at):
                self._begin(adapter, Fetch(adapter.digest))
            else:
                break

    def _read(self, at: float) -> None:
        awaited = self._awaited[Tier.COLD]
        while awaited and self._places.moving_to(Tier.WARM) < self._limits.reads:
            adapter = self._adapter(awaited[0])
            if not self._places.slots:
                self._refuse(adapter, "the engine has no slot for an adapter; set inference.max_loras to 1 or more")
            elif self._budgets.ram and adapter.ram > self._budgets.ram:
                self._refuse(adapter, self._too_large(adapter.ram, Tier.WARM))
            elif self._has_room(self._expected_ram(adapter), Tier.WARM, adapter, at):
                self._begin(adapter, ReadAdapter(adapter.digest))
            else:
                break

    def _commit(self, at: float) -> None:
        awaited = self._awaited[Tier.WARM]
        if not awaited:
            return
        front = [self._adapter(entry) for entry in awaited[: self._places.slots]]
        self._slots.give_way(front, at)
        # Nobody is admitted to a slot that was promised: the promise is kept, also where others have come before since.
        promised = (adapter.yields_to for adapter in self._places.hot.values() if adapter.yields_to is not None)
        front += [candidate for candidate in promised if candidate not in front and candidate.tier is Tier.WARM and candidate.goal is None]
        for adapter in front:
            if self._places.moving_to(Tier.HOT) >= self._limits.commits:
                break
            if self._places.free_slots <= 0:
                victim = self._slots.idle_for(adapter)
                if victim is None:
                    continue
                self.cool(victim, Tier.WARM)
            self._begin(adapter, Commit(adapter.digest))

    def _guess(self) -> None:
        """Load what the sessions are likely to ask for, while nobody waits for a load, into free room or over what is worth less."""
        if self._awaited.has_unmet:
            return
        for guess in self.guesses:
            adapter = self._places.get(guess.adapter)
            if adapter is None or adapter.leaving or adapter.failed or adapter.goal is not None or adapter.tier in guess.tried:
                continue
            tier = adapter.tier
            if self._begin_guess(adapter, guess.probability):
                guess.tried.add(tier)

    def _begin_guess(self, adapter: PlacedAdapter, probability: float) -> bool:
        """Begin the next move of an adapter that was guessed, if that takes nothing from anybody."""
        goal = UP.get(adapter.tier)
        limits = {Tier.COLD: self._limits.fetches, Tier.WARM: self._limits.reads, Tier.HOT: self._limits.commits}
        if goal is None or self._places.moving_to(goal) >= limits[goal]:
            return False
        if goal is Tier.COLD:
            if not self._has_guess_room(adapter.size, goal, adapter):
                return False
            self._begin(adapter, Fetch(adapter.digest))
        elif adapter.model != self._awaited.model or not self._places.slots:
            return False
        elif goal is Tier.WARM:
            if 0 < self._budgets.ram < adapter.ram or not self._has_guess_room(self._expected_ram(adapter), goal, adapter):
                return False
            self._begin(adapter, ReadAdapter(adapter.digest), guess=True)
        else:
            if probability < self._limits.guess_slot:
                return False
            if self._places.free_slots <= 0:
                victim = min(self._slots.spare(), key=self._worth, default=None)
                if victim is None or self._worth(victim) >= self._worth(adapter):
                    return False
                self.cool(victim, Tier.WARM)
            self._begin(adapter, Commit(adapter.digest), guess=True)
        return True

    def _begin(self, adapter: PlacedAdapter, instruction: Fetch | ReadAdapter | Commit, guess: bool = False) -> None:
        self._places.begin(adapter, self._expected_ram(adapter))
        if guess:
            self.guesses.moves += 1
            adapter.guessed += 1
        self._out.append(instruction)
        self.refresh(adapter)

    # --- RAM and disk -------------------------------------------------------------------------------------------------

    def _expected_ram(self, adapter: PlacedAdapter) -> int:
        expected = self._places.ram_of(adapter)
        return min(expected, self._budgets.ram) if self._budgets.ram else expected

    def _lacking(self, need: int, tier: Tier) -> int:
        """Bytes that `need` more in RAM (warm) or on disk (cold) would be over the budget."""
        budget, used = (self._budgets.ram, self._places.ram_used) if tier is Tier.WARM else (self._budgets.disk, self._places.disk_used)
        return max(0, used + need - budget) if budget else 0

    def _has_room(self, need: int, tier: Tier, adapter: PlacedAdapter, at: float) -> bool:
        """Make room for a wanted adapter in RAM or on disk; if there is none, a slot is told to give way, and the answer is no."""
        lacking = self._lacking(need, tier)
        if not lacking or self._evict(lacking, tier, adapter):
            return True
        missing = lacking - self._spares[tier].bytes - sum(self._bytes(giver, tier) for giver in self._slots.spare() + adapter.takes)
        while missing > 0 and (giving := self._slots.promise(adapter, at, foreign_only=tier is Tier.COLD)) is not None:
            missing -= self._bytes(giving, tier)
        return self._evict(lacking, tier, adapter)

    def _has_guess_room(self, need: int, tier: Tier, adapter: PlacedAdapter) -> bool:
        """Make room for a guess out of what is worth less than it."""
        lacking = self._lacking(need, tier)
        spares = self._spares[tier]
        if lacking > spares.bytes:
            return False
        worth, victims = self._worth(adapter), []
        while lacking > 0 and (least := spares.least()) is not None and least[0] < worth:
            victim = self._take(spares, least[1])
            victims.append(victim)
            lacking -= self._bytes(victim, tier)
        return self._settle(victims, tier, enough=lacking <= 0)

    def _evict(self, lacking: int, tier: Tier, adapter: PlacedAdapter) -> bool:
        """Evict at least so many bytes from RAM or disk for a wanted adapter, or nothing at all."""
        spares = self._spares[tier]
        victims = []
        while lacking > 0 and (least := spares.least()) is not None:
            victim = self._take(spares, least[1])
            victims.append(victim)
            lacking -= self._bytes(victim, tier)
        if lacking > 0:
            for victim in self._last_resort(tier, adapter):
                victims.append(victim)
                lacking -= self._bytes(victim, tier)
                if lacking <= 0:
                    break
        return self._settle(victims, tier, enough=lacking <= 0)

    def _last_resort(self, tier: Tier, adapter: PlacedAdapter) -> Iterable[PlacedAdapter]:
        """Idle hot adapters that nobody waits for or that were promised; then those that only later requests wait for."""
        idle = sorted(self._slots.spare() + [giver for giver in adapter.takes if giver.is_idle], key=self._worth)
        yield from (candidate for candidate in idle if candidate is not adapter and self._bytes(candidate, tier))
        head = self._waiting.head(adapter.digest)
        if head is None:
            return
        if tier is Tier.WARM:
            later = [(order, digest) for order, digest in reversed(self._awaited[Tier.WARM]) if order > head.order]
        else:
            # Those of other models are not wanted now, but take room on disk.
            waited_for = [(self._head(digest), digest) for digest in self._waiting.adapters()]
            later = sorted(((order, digest) for order, digest in waited_for if order > head.order), reverse=True)
        for _, digest in later:
            candidate = self._places.get(digest)
            if candidate is not None and candidate.is_idle and candidate.tier is not Tier.HOT and self._bytes(candidate, tier):
                yield candidate

    def _head(self, digest: str) -> Order:
        head = self._waiting.head(digest)
        return head.order if head is not None else (0, 0.0, 0)

    def _settle(self, victims: list[PlacedAdapter], tier: Tier, enough: bool) -> bool:
        for victim in victims:
            if enough:
                self.cool(victim, Tier.COLD if tier is Tier.WARM else Tier.REMOTE)
            else:
                self.refresh(victim)
        return enough

    def _take(self, spares: Spares, digest: str) -> PlacedAdapter:
        spares.take(digest)
        return self._adapter((None, digest))

    def _bytes(self, adapter: PlacedAdapter, tier: Tier) -> int:
        if tier is Tier.WARM:
            return adapter.ram if adapter.in_ram else 0
        return adapter.size if adapter.foreign and adapter.tier is not Tier.REMOTE else 0

    def cool(self, adapter: PlacedAdapter, tier: Tier) -> None:
        """Evict the adapter down to the tier, one instruction a step."""
        self._slots.release(adapter)
        while adapter.tier is not tier and adapter.tier is not Tier.REMOTE:
            if adapter.tier is Tier.HOT:
                self._out.append(Retire(adapter.digest))
                adapter.guessed = min(adapter.guessed, 1)
            elif adapter.tier is Tier.WARM:
                self._out.append(Unload(adapter.digest))
                self._policy.evicted(adapter.digest)
                adapter.guessed = 0
            elif tier is Tier.REMOTE:
                self._out.append(Delete(adapter.digest))
            else:
                break
            self._places.lower(adapter)
        self.refresh(adapter)

    # --- small --------------------------------------------------------------------------------------------------------

    def _too_large(self, size: int, tier: Tier) -> str:
        if tier is Tier.WARM:
            return f"it takes {size} bytes in RAM, more than all adapters may take together, {self._budgets.ram}; raise inference.ram_gib"
        return f"it takes {size} bytes on disk, more than all fetched adapters may take, {self._budgets.disk}; raise inference.disk_gib"

    def _worth(self, adapter: PlacedAdapter) -> float:
        return self._policy.worth(adapter.digest)

    def _adapter(self, entry: tuple[object, str]) -> PlacedAdapter:
        adapter = self._places.get(entry[1])
        if adapter is None:
            raise LookupError(f"adapter {entry[1]} is wanted or spare, but not known: a fault of the scheduler's")
        return adapter

"""A world for the scheduler's core to act in: it obeys the instructions, keeps its own books, and objects to what must not be.

`World` is passive: a test decides when a move arrives or a request ends. `Clockwork` gives every action a duration and
runs the world as a discrete-event simulation.
"""

from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush

from inference_worker.tiers.budgets import Budgets, SchedulingLimits
from inference_worker.tiers.events import (
    Admit,
    Commit,
    Committed,
    Delete,
    EngineGone,
    EngineReady,
    Event,
    Fetch,
    Instruction,
    Key,
    MoveFailed,
    Priority,
    ReadAdapter,
    Refuse,
    Registered,
    Removed,
    RequestArrived,
    RequestEnded,
    Retire,
    StartEngine,
    StopEngine,
    Ticked,
    Tier,
    Unload,
    WasFetched,
    WasRead,
)
from inference_worker.tiers.policies.policy import make_policy
from inference_worker.tiers.scheduler import Tiers

MODEL = "base"


@dataclass
class Place:
    """An adapter as the world knows it. `ram`: what it takes in RAM, which the core learns only when it was read."""

    size: int
    ram: int
    tier: Tier
    foreign: bool
    moving: Fetch | ReadAdapter | Commit | None = None


@dataclass
class World:
    """The core, and a model of what it governs."""

    policy: str = "lru"
    budgets: Budgets = field(default_factory=Budgets)
    limits: SchedulingLimits = field(default_factory=SchedulingLimits)
    slots: int = 2
    at: float = 0.0
    adapters: dict[str, Place] = field(default_factory=dict)
    waiting: dict[Key, RequestArrived] = field(default_factory=dict)
    running: dict[Key, RequestArrived] = field(default_factory=dict)
    refused: dict[Key, Refuse] = field(default_factory=dict)
    admitted: dict[Key, float] = field(default_factory=dict)
    engine: str | None = None
    starting: str | None = None
    stopping: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    instructions: list[Instruction] = field(default_factory=list)
    registered: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.tiers = Tiers(self.budgets, make_policy(self.policy), self.limits)
        self._number = 0

    # --- what a test does ---------------------------------------------------------------------------------------------

    def tell(self, event: Event) -> list[Instruction]:
        """Hand an event to the core and obey what it says."""
        instructions = self.tiers.handle(event)
        for instruction in instructions:
            self._obey(instruction)
        self.instructions += instructions
        self._check()
        return instructions

    def register(self, name: str, size: int = 100, rank: int = 16, remote: bool = False, ram: int | None = None) -> list[Instruction]:
        self.registered.add(name)
        place = self.adapters.get(name)
        if place is None:
            self.adapters[name] = Place(size, ram or size, Tier.REMOTE if remote else Tier.COLD, remote)
        elif place.tier is Tier.REMOTE and not remote:
            place.tier, place.foreign, place.moving = Tier.COLD, False, None
        return self.tell(Registered(self.at, name, size, rank, remote))

    def fetched_before(self, name: str) -> list[Instruction]:
        """The driver found files on its disk that came from a peer."""
        place = self.adapters[name]
        place.tier, place.moving = Tier.COLD, None
        return self.tell(WasFetched(self.at, name, place.size, 0.0))

    def remove(self, name: str) -> list[Instruction]:
        self.registered.discard(name)
        instructions = self.tell(Removed(self.at, name, "quarantined"))
        assert all(request.adapter != name for request in self.waiting.values()), "who waits for what was removed is refused"
        return instructions

    def ask(
        self,
        adapter: str | None = None,
        name: str = "",
        streams: int = 1,
        priority: Priority = Priority.NORMAL,
        client: str = "",
        session: str = "",
        alone: bool = False,
        model: str = MODEL,
    ) -> list[Instruction]:
        """A request arrives."""
        self._number += 1
        key = (b"c", name or str(self._number))
        event = RequestArrived(self.at, key, model, streams, adapter, priority, client, session, alone)
        self.waiting[key] = event
        return self.tell(event)

    def end(self, name: str) -> list[Instruction]:
        """The request is over, wherever it is."""
        key = (b"c", name)
        self.waiting.pop(key, None)
        self.running.pop(key, None)
        return self.tell(RequestEnded(self.at, key))

    def ready(self, model: str = MODEL) -> list[Instruction]:
        self._lose()
        self.engine, self.starting, self.stopping = model, None, False
        return self.tell(EngineReady(self.at, model, self.slots, 1000))

    def lose_engine(self, hopeless: bool = False) -> list[Instruction]:
        """The engine, ready or starting, is gone; what ran in it ends."""
        model = self.engine or self.starting
        self._lose()
        self.engine, self.starting, self.stopping = None, None, False
        instructions = self.tell(EngineGone(self.at, model or MODEL, "died", hopeless))
        for key in list(self.running):
            instructions += self.end(key[1])
        return instructions

    def arrive(self, name: str, fails: bool = False, seconds: float = 0.1) -> list[Instruction]:
        """The move of an adapter that is under way is over."""
        place = self.adapters[name]
        move, place.moving = place.moving, None
        assert move is not None
        if fails:
            return self.tell(MoveFailed(self.at, name, "no luck"))
        if isinstance(move, Fetch):
            place.tier = Tier.COLD
            return self.tell(WasFetched(self.at, name, place.size, seconds))
        if isinstance(move, ReadAdapter):
            place.tier = Tier.WARM
            return self.tell(WasRead(self.at, name, place.ram, seconds))
        place.tier = Tier.HOT
        return self.tell(Committed(self.at, name, seconds))

    def heat(self, *names: str) -> None:
        """Have adapters in slots, with nobody waiting or running."""
        for name in names:
            if name not in self.adapters:
                self.register(name)
            self.ask(name, name=f"heat {name}")
            self.settle()
            self.end(f"heat {name}")
            assert self.adapters[name].tier is Tier.HOT

    def settle(self) -> None:
        """Let everything under way arrive, until nothing moves; requests that run go on running."""
        for _ in range(1000):
            if self.starting is not None:
                self.ready(self.starting)
            elif self.stopping:
                self.lose_engine()
            elif self.moving:
                self.arrive(self.moving[0])
            else:
                return
        raise AssertionError(f"the moves never settle; the last were {self.instructions[-6:]}")

    @property
    def moving(self) -> list[str]:
        return [name for name, place in self.adapters.items() if place.moving is not None]

    def tick(self, seconds: float = 1.0) -> list[Instruction]:
        self.at += seconds
        return self.tell(Ticked(self.at))

    @property
    def runs(self) -> list[str]:
        """The names of those that run, in the order of their admission."""
        return [name for _, name in self.running]

    def tier(self, name: str) -> Tier:
        return self.adapters[name].tier

    # --- obeying, and objecting ---------------------------------------------------------------------------------------

    def _obey(self, instruction: Instruction) -> None:
        self.counts[type(instruction).__name__] += 1
        match instruction:
            case Fetch(name):
                self._begin(name, Tier.REMOTE, instruction)
            case ReadAdapter(name):
                assert self.engine is not None, "there is nobody to read an adapter"
                self._begin(name, Tier.COLD, instruction)
            case Commit(name):
                self._begin(name, Tier.WARM, instruction)
            case Retire(name):
                self._lower(name, Tier.HOT, Tier.WARM)
            case Unload(name):
                self._lower(name, Tier.WARM, Tier.COLD)
            case Delete(name):
                assert self.adapters[name].foreign, "only what came from a peer may be deleted"
                self._lower(name, Tier.COLD, Tier.REMOTE)
            case Admit(key, _):
                self._admit(key)
            case Refuse(key, _, _):
                del self.waiting[key]
                self.refused[key] = instruction
            case StartEngine(model):
                assert not self.running or self.engine is None, "an engine in use is not replaced"
                assert self.starting != model and self.engine != model, "it is there"
                self._lose()
                self.engine, self.starting = None, model
            case StopEngine():
                assert not self.running and not self.waiting and self.engine is not None
                self.stopping = True

    def _begin(self, name: str, below: Tier, move: Fetch | ReadAdapter | Commit) -> None:
        assert name in self.registered, "nothing is moved up that is not known"
        place = self.adapters[name]
        assert place.moving is None, f"{name} is moving already"
        assert place.tier is below, f"{move} of what is {place.tier}"
        place.moving = move
        for kind, most in ((Fetch, self.limits.fetches), (ReadAdapter, self.limits.reads), (Commit, self.limits.commits)):
            assert sum(isinstance(adapter.moving, kind) for adapter in self.adapters.values()) <= most

    def _lower(self, name: str, tier: Tier, below: Tier) -> None:
        place = self.adapters[name]
        assert place.moving is None, f"{name} is moving and cannot be evicted"
        assert place.tier is tier, f"{name} is {place.tier}, not {tier}"
        assert all(request.adapter != name for request in self.running.values()), f"{name} is in use"
        place.tier = below

    def _admit(self, key: Key) -> None:
        request = self.waiting.pop(key)
        assert self.engine == request.model and not self.stopping
        if request.adapter is not None:
            assert self.adapters[request.adapter].tier is Tier.HOT and self.adapters[request.adapter].moving is None
        if self.running:
            assert not request.alone and not any(running.alone for running in self.running.values())
            assert all(running.model == request.model for running in self.running.values())
            assert self.streams + request.streams <= self.limits.max_streams
            if request.priority == Priority.BACKGROUND:
                assert self.background_streams + request.streams <= self.limits.max_streams - self.limits.reserved_streams
        self.running[key] = request
        self.admitted[key] = self.at

    @property
    def streams(self) -> int:
        return sum(request.streams for request in self.running.values())

    @property
    def background_streams(self) -> int:
        return sum(request.streams for request in self.running.values() if request.priority == Priority.BACKGROUND)

    def _lose(self) -> None:
        for place in self.adapters.values():
            if place.tier in (Tier.WARM, Tier.HOT):
                place.tier = Tier.COLD
            if isinstance(place.moving, ReadAdapter | Commit):
                place.moving = None

    def _check(self) -> None:
        for name in [name for name in self.adapters if name not in self.registered]:
            place = self.adapters[name]
            unused = all(request.adapter != name for request in self.running.values())
            if place.tier in (Tier.COLD, Tier.REMOTE) and place.moving is None and unused:
                del self.adapters[name]
        places = self.adapters.values()
        occupied = sum(place.tier is Tier.HOT or isinstance(place.moving, Commit) for place in places)
        assert occupied <= self.slots, "more adapters than slots"
        parsed = sum(place.ram for place in places if place.tier in (Tier.WARM, Tier.HOT))
        assert not self.budgets.ram or parsed <= self.budgets.ram, "more in RAM than allowed"
        fetched = sum(place.size for place in places if place.foreign and place.tier is not Tier.REMOTE)
        assert not self.budgets.disk or fetched <= self.budgets.disk, "more on disk than allowed"
        numbers = self.tiers.statistics()
        assert (numbers.waiting, numbers.running, numbers.streams) == (len(self.waiting), len(self.running), self.streams)
        assert numbers.tiers[0].used <= self.slots * 1000
        assert sum(tier.adapters for tier in numbers.tiers) == numbers.registered
        by_tier = Counter(place.tier for place in places)
        assert {tier.name: tier.adapters for tier in numbers.tiers if tier.adapters} == dict(by_tier)


@dataclass(frozen=True)
class Durations:
    """How long things take, seconds."""

    fetch: float = 0.5
    read: float = 0.1
    commit: float = 0.02
    start: float = 5.0
    run: float = 1.0


class Clockwork:
    """Runs a world: arrivals are given, everything else takes its time. The core is ticked every second while somebody is there."""

    def __init__(self, world: World, durations: Durations) -> None:
        self.world, self.durations = world, durations
        self.events: list[tuple[float, int, str, object]] = []
        self.arrived_at: dict[Key, float] = {}
        self._count = 0
        self._scheduled: set[object] = set()

    def at(self, time: float, kind: str, detail: object) -> None:
        self._count += 1
        heappush(self.events, (time, self._count, kind, detail))

    def run(self, until: float = float("inf")) -> None:
        """Until nothing is left to happen."""
        self.at(self.world.at + 1.0, "tick", None)
        while self.events and self.events[0][0] <= until:
            self.world.at, _, kind, detail = heappop(self.events)
            before = len(self.world.instructions)
            self._happen(kind, detail)
            for instruction in self.world.instructions[before:]:
                self._follow(instruction)

    def _happen(self, kind: str, detail: object) -> None:
        world = self.world
        match kind:
            case "ask":
                assert isinstance(detail, dict)
                world.ask(**detail)
            case "end":
                assert isinstance(detail, str)
                world.end(detail)
            case "move":
                assert isinstance(detail, tuple)
                name, move, seconds = detail
                if world.adapters[name].moving is move:
                    world.arrive(name, seconds=seconds)
            case "ready":
                if world.starting == detail:
                    world.ready(str(detail))
            case "tick":
                world.tick(0.0)
                if self.events or world.waiting or world.running:
                    self.at(world.at + 1.0, "tick", None)

    def _follow(self, instruction: Instruction) -> None:
        now, durations = self.world.at, self.durations
        match instruction:
            case Fetch(name):
                self.at(now + durations.fetch, "move", (name, instruction, durations.fetch))
            case ReadAdapter(name):
                self.at(now + durations.read, "move", (name, instruction, durations.read))
            case Commit(name):
                self.at(now + durations.commit, "move", (name, instruction, durations.commit))
            case StartEngine(model):
                self.at(now + durations.start, "ready", model)
            case Admit(key, _):
                self.at(now + durations.run, "end", key[1])

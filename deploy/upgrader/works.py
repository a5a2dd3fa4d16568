"""What an upgrade's process instructs, carried out: each instruction is done, and what came of it is an event.

Called by the upgrader's one thread, and blocks it. What can go wrong comes back as UpgradeStepFailed; an OSError or a ServiceError is
taken for such as well. What a step is at is said in the upgrade's own `log`. `stopped` ends waiting early: the upgrader itself is to
end, and what fails then is not written down.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from deploy import environment
from deploy.environment import Interpreter
from deploy.service import ServiceError
from deploy.settings import Configuration
from deploy.upgrader import candidate, journal, tools
from deploy.upgrader.candidate import CandidateFailed
from deploy.upgrader.events import (
    AwaitHealth,
    Awoke,
    BuildCandidate,
    CandidateBuilt,
    CandidateKept,
    CandidateProved,
    Event,
    ImageIdentity,
    KeepCandidate,
    OutcomeRecorded,
    PlankReplaced,
    PlankReport,
    PlanksReplaced,
    ProbationPassed,
    ProveCandidate,
    RecordOutcome,
    RemoveCandidate,
    ReplacePlanks,
    RollbackAsked,
    SwitchBack,
    SwitchedBack,
    UpgradeInstruction,
    UpgradeStepFailed,
    WatchProbation,
)
from deploy.upgrader.health import Pulse, between, changed, worse
from deploy.upgrader.planks import OWN, back, of_the_model, plan
from deploy.upgrader.proof import Proof
from deploy.upgrader.switching import Switchboard, SwitchFailed

_BEAT_S: Final = 0.5
_LOST_PULSES: Final = 6
_TOOL_S: Final = 60.0

Tell = Callable[[Event], None]


class Works:
    """Carries out the instructions of one upgrade at a time."""

    def __init__(self, configuration: Configuration, switchboard: Switchboard, stopped: Callable[[], bool]) -> None:
        self._configuration = configuration
        self._switchboard = switchboard
        self._stopped = stopped
        self.rollback_asked: Callable[[], str] = str
        """Who asks for the old environment while a new one is on trial; nobody, an empty text."""
        self._usual: tuple[Pulse, float] | None = None

    def carry_out(self, number: int, instruction: UpgradeInstruction, tell: Tell) -> Event | None:
        """Do it, and return what came of it; None where nothing needs to be known. `tell`: for what happens on the way."""
        try:
            match instruction:
                case BuildCandidate():
                    return self._build(number, instruction)
                case ProveCandidate():
                    return self._prove(number, instruction)
                case ReplacePlanks():
                    return self._replace(number, instruction, tell)
                case AwaitHealth():
                    return self._await_health(instruction)
                case WatchProbation():
                    return self._watch(instruction)
                case KeepCandidate():
                    return self._keep(number, instruction)
                case SwitchBack():
                    return self._switch_back(instruction)
                case RemoveCandidate():
                    candidate.remove(self._configuration, Path(instruction.prefix))
                    return None
                case RecordOutcome():
                    return self._record(instruction)
        except (CandidateFailed, SwitchFailed) as failed:
            return UpgradeStepFailed(at=time.time(), why=[str(failed)[:1000]], log=failed.log)
        except (OSError, ServiceError) as error:
            return UpgradeStepFailed(at=time.time(), why=[f"{type(error).__name__}: {error}"[:1000]])

    # --- before anything is replaced -----------------------------------------------------------------------------------

    def _build(self, number: int, build: BuildCandidate) -> CandidateBuilt:
        began, before = time.monotonic(), environment.prefix_in_force(self._configuration.home)
        self._usual = self._sample()
        say = partial(self._say, number)
        wish = build.wish
        if wish.back_to is not None:
            prefix, octets = candidate.earlier(self._configuration, wish.back_to), 0
            if prefix == before:
                raise CandidateFailed("that environment is the one in force")
        else:
            prefix, cost = candidate.build(self._configuration, number, wish, say, self._limit(wish.within_s, "build_s"))
            octets = cost.octets
            say(f"built: {cost.linked:,} files are shared, {cost.octets:,} bytes are its own")
        return CandidateBuilt(
            at=time.time(),
            prefix=str(prefix),
            before=str(before),
            changes=candidate.changes(before, prefix, wish.requirements),
            octets=octets,
            made=wish.back_to is None,
            seconds=time.monotonic() - began,
        )

    def _prove(self, number: int, prove: ProveCandidate) -> CandidateProved:
        began = time.monotonic()
        wish, new = prove.wish, self._interpreter(prove.prefix)
        real = self._identity(environment.interpreter(self._configuration.home))
        changes = candidate.changes(environment.prefix_in_force(self._configuration.home), Path(prove.prefix), wish.requirements)
        engine = of_the_model(change.name for change in changes)
        ends = began + self._limit(wish.within_s, "proof_s")
        if engine and not wish.within_s:
            ends += self._configuration.settings.inference.start_timeout_s
        with Proof(self._configuration, new, ends, partial(self._say, number), engine=engine) as proof:
            copy = proof.carry_out(changes, wish.must_hold)
        if copy.digest != real.digest:
            raise CandidateFailed(f"with the new environment the image is another one: {copy.digest}, and not {real.digest}")
        return CandidateProved(at=time.time(), seconds=time.monotonic() - began, copy=copy, real=real)

    # --- on trial ------------------------------------------------------------------------------------------------------

    def _replace(self, number: int, replace: ReplacePlanks, tell: Tell) -> PlanksReplaced:
        usual = self._sample()
        load = between(self._usual[0], usual[0], usual[1] - self._usual[1]) if self._usual and usual else None
        new = self._interpreter(replace.prefix)
        names = [change.name for change in replace.changes]
        chosen = plan(names, self._switchboard.programs())
        self._say(number, f"replacing {chosen.manner}: {'; '.join(', '.join(step) for step in chosen.steps)}")

        def report(plank: PlankReport) -> None:
            self._say(number, f"{plank.program} is well after {plank.down_s:.2f} s")
            tell(PlankReplaced(at=time.time(), report=plank))

        def migrate(started: Sequence[str]) -> None:
            if replace.migrates and "image" in started:
                self._awaken(new)  # the new processes wait for it

        self._switchboard.move(new, chosen, self._configuration.settings.upgrade.switch_s, report, migrate)
        if OWN in names and not replace.migrates:
            self._awaken(new)  # what a renewal adds can come while they serve
        return PlanksReplaced(at=time.time(), manner=chosen.manner, **({} if load is None else {"load": load}))

    def _await_health(self, wait: AwaitHealth) -> Awoke:
        self._switchboard.await_health(self._configuration.settings.upgrade.switch_s)
        identity = self._identity(self._interpreter(wait.prefix))
        if identity.digest != wait.before.digest or identity.codex != wait.before.codex:
            raise SwitchFailed(f"the image is another one: {identity.digest}, and not {wait.before.digest}")
        for writer, head in wait.before.chronicle.items():
            if identity.chronicle.get(writer, [0, 0]) < head:
                raise SwitchFailed(f"the chronicle of {writer} ends at {identity.chronicle.get(writer)}, and did at {head}")
        return Awoke(at=time.time(), identity=identity)

    def _watch(self, probation: WatchProbation) -> ProbationPassed | UpgradeStepFailed | RollbackAsked:
        began, pids = time.monotonic(), self._switchboard.pids()
        seconds = self._configuration.settings.upgrade.probation_s
        first, last, lost = self._switchboard.pulse(), None, 0
        while time.monotonic() - began < seconds:
            time.sleep(min(_BEAT_S, max(0.0, seconds - (time.monotonic() - began))))
            if self._stopped():
                return UpgradeStepFailed(at=time.time(), why=["the upgrader is to end"])
            if who := self.rollback_asked():
                return RollbackAsked(at=time.time(), by=who)
            pulse = self._switchboard.pulse()
            lost = lost + 1 if pulse is None else 0
            reasons = changed(pids, self._switchboard.pids())
            if lost >= _LOST_PULSES:
                reasons.append("the bridge does not answer")
            first, last = first or pulse, pulse or last
            load = between(first, last, time.monotonic() - began) if first and last else probation.before
            reasons += worse(probation.before, load) if first and last else []
            if reasons:
                return UpgradeStepFailed(at=time.time(), why=reasons[:50])
        load = between(first, last, seconds) if first and last else probation.before
        return ProbationPassed(at=time.time(), seconds=time.monotonic() - began, load=load)

    # --- ends ----------------------------------------------------------------------------------------------------------

    def _keep(self, number: int, keep: KeepCandidate) -> CandidateKept:
        home, prefix = self._configuration.home, Path(keep.prefix)
        try:
            environment.put_in_force(home, prefix, number)
        except OSError:
            if environment.prefix_in_force(home) != prefix:
                raise
        kept = self._configuration.settings.upgrade.kept
        for other, octets in candidate.prune(self._configuration, self._switchboard.prefixes(), kept).items():
            self._say(number, f"removed the environment of upgrade {other}: {octets:,} bytes")
        return CandidateKept(at=time.time())

    def _switch_back(self, switch: SwitchBack) -> SwitchedBack:
        ends = time.monotonic() + switch.pause_s
        while time.monotonic() < ends and not self._stopped():
            time.sleep(0.1)
        began, planks = time.monotonic(), list[PlankReport]()
        old = environment.interpreter(self._configuration.home)
        new = self._interpreter(switch.prefix)
        moved = self._switchboard.concerned(new)
        if "image" in moved:
            self._take_back(new, switch.shape)
        seconds = self._configuration.settings.upgrade.switch_s
        self._switchboard.move(old, back(moved, self._switchboard.programs()), seconds, planks.append)
        self._switchboard.await_health(seconds)
        return SwitchedBack(at=time.time(), service_s=time.monotonic() - began, planks=planks)

    def _take_back(self, new: Interpreter, shape: int) -> None:
        """Take back migrations that the old environment does not know, while nobody writes."""
        if not self._configuration.home.zeo_socket.exists():
            return
        done = self._run(new, "uvm.awakening.identity", "say", "--wait", "5")
        if done.status == 0 and msgspec.json.decode(done.out, type=ImageIdentity).shape > shape:
            self._switchboard.take_down_clients()
            self._tool(new, "uvm.awakening.migrations", "--to", str(shape), "--wait", "5")

    def _record(self, record: RecordOutcome) -> Event:
        interpreter = environment.interpreter(self._configuration.home)
        text = msgspec.json.encode(record.receipt).decode()
        done = self._run(interpreter, "uvm.awakening.identity", "record", "--wait", "10", stdin=text)
        if done.status:
            return UpgradeStepFailed(at=time.time(), why=["the receipt cannot be written into the image"], log=done.log)
        return OutcomeRecorded(at=time.time())

    # --- tools ---------------------------------------------------------------------------------------------------------

    def _interpreter(self, prefix: str) -> Interpreter:
        base, root = environment.base_of(self._configuration.home)
        if Path(prefix) == base:
            return environment.base_interpreter(self._configuration.home)
        return environment.of_prefix(Path(prefix), root)

    def _awaken(self, interpreter: Interpreter) -> None:
        self._tool(interpreter, "uvm.awakening", "--json", "--wait", "30")

    def _identity(self, interpreter: Interpreter) -> ImageIdentity:
        return msgspec.json.decode(self._tool(interpreter, "uvm.awakening.identity").out, type=ImageIdentity)

    def _tool(self, interpreter: Interpreter, module: str, *arguments: str) -> tools.ToolRun:
        done = self._run(interpreter, module, *arguments)
        if done.status != 0:
            raise SwitchFailed(f"{module} {'took too long' if done.status is None else f'ended with {done.status}'}", done.log)
        return done

    def _run(self, interpreter: Interpreter, module: str, *arguments: str, stdin: str = "") -> tools.ToolRun:
        settled = tools.environment_of(interpreter, self._configuration)
        command = tools.module(interpreter, module, *arguments)
        return tools.run(command, time.monotonic() + _TOOL_S, settled=settled, stdin=stdin, directory=self._configuration.home.path)

    def _limit(self, wished_s: int, name: str) -> float:
        configured: float = getattr(self._configuration.settings.upgrade, name)
        return min(configured, wished_s) if wished_s else configured

    def _sample(self) -> tuple[Pulse, float] | None:
        pulse = self._switchboard.pulse()
        return None if pulse is None else (pulse, time.monotonic())

    def _say(self, number: int, text: str) -> None:
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n"
        with (journal.directory_of(self._configuration.home, number) / "log").open("a") as file:
            file.write(line)

"""The service under attack: how a hostile method or message is tried on it, and what has to hold afterwards."""

import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import psutil
import zmq
from msgspec import Struct

from tests.hostile.attacks import ImageAttack
from tests.hostile.methods import KERNEL_TARGETS, SLOTS, HostileMethod
from tests.running import Running
from ui_client import BridgeBusy, BridgeUnreachable, Client, Reference, RemoteError
from uvm.protocol import decode_answer, encode_value

TOML = """
[uvm]
generation_deadline_s = 30

[heartbeat]
interval_s = 2
"""
PRIMORDIAL = ("traits_obj", "pLLM_obj", "genesis_obj", "heartbeat_obj", "robin", "brick", "babs", "alfred")
MOVING = {
    "genesis_obj": {"objects", "clones", "messages", "methods"},
    "heartbeat_obj": {"last", "history"},
    "autotelic_obj": {"last", "mood", "gaps", "rounds", "forge"},
    "upgrade_obj": {"newer", "wishes", "last"},
    "pLLM_obj": {"lessons"},
}
"""Slots that the kernel changes by itself."""
ANSWER_S = 6.0
"""Longest that a bystander's message may take: the time limit of one message, and some."""
MEMORY_MB = {"uvm": 1500.0, "bridge": 500.0, "image": 500.0, "heartbeat": 500.0}
"""Most resident memory that a process may ever have had."""

LAYERS = {
    "BadRequest": "frame",
    "TooLarge": "frame",
    "AuditRefused": "audit",
    "TrialFailed": "trial",
    "Refused": "trial",
    "TicksSpent": "ticks",
    "TooDeep": "ticks",
    "DeadlineExceeded": "time",
    "NotAllowed": "rights",
    "BadValue": "gate",
    "QuotaExceeded": "gate",
    "Poisoned": "watchdog",
    "OutcomeUnknown": "watchdog",
}
"""Which layer an error's type stands for; any other error is the language's own: an ordinary, bounded error."""
FAULTS = {"KernelFault", "InternalError", "silence"}
"""What no attack may be answered: a fault of ours, or nothing."""


class Trial(Struct, frozen=True):
    """What became of an attack: the layer that held (`harmless`: it ran and did no harm), the error's type, and the seconds it took."""

    aim: str
    name: str
    layer: str
    error: str
    message: str
    seconds: float


class Wire:
    """A connection that says what it is told to, whether the protocol allows it or not."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._id = 0

    def ask(self, request: dict[str, Any], seconds: float) -> str:
        """The answer's op, or the type of its error; `silence` after so many seconds."""
        self._id += 1
        self._socket.send(encode_value({**request, "id": self._id}))
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and self._socket.poll(int(left * 1000) + 1):
            answer = decode_answer(self._socket.recv())
            if answer.id in (0, self._id):
                return getattr(answer, "type", type(answer).__name__)
        return "silence"

    def close(self) -> None:
        """Close the connection."""
        self._context.destroy(linger=0)


class Fortress:
    """A service, an attacker's connections, and a bystander's."""

    def __init__(self, home: Path, toml: str = TOML) -> None:
        self._running = Running(home, toml)

    def __enter__(self) -> Self:
        self._running.__enter__()
        self.attacker: Client = self._running.client()
        self.bystander: Client = self._running.client()
        self._wire = Wire(self._running.configuration.bridge_endpoint)
        self._pattern = self.attacker.send("genesis_obj", "clone")
        for name, value in SLOTS.items():
            self.attacker.send(self._pattern, "setSlot_value_", name, value)
        self.kernel = self._kernel_objects()
        self._pids = self._running.pids()
        self._fingerprint = self.fingerprint()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._wire.close()
        self.attacker.close()
        self.bystander.close()
        self._running.__exit__(*exception)

    @property
    def running(self) -> Running:
        return self._running

    # --- attacks -------------------------------------------------------------------------------------------------------

    def target(self) -> Reference:
        """A fresh object with the corpus' slots."""
        clone: Reference = self.attacker.send(self._pattern, "clone")
        return clone

    def tried(self, method: HostileMethod, number: int = 0) -> Trial:
        """Offer the method, and send it twice where it was installed."""
        target = self.target()
        args = self._arguments(method, number)
        started = time.monotonic()
        error = message = ""
        try:
            self.attacker.create_method(target, method.selector, method.source, deadline=30)
            for _ in range(2):
                self.attacker.send(target, method.selector, *args, deadline=8)
        except RemoteError as refusal:
            error, message = refusal.type, str(refusal)[:200]
        except (BridgeBusy, BridgeUnreachable) as refusal:
            error, message = type(refusal).__name__, str(refusal)[:200]
        layer = LAYERS.get(error, "language") if error else "harmless"
        return Trial(method.aim, method.name, layer, error, message, round(time.monotonic() - started, 3))

    def stormed(self, attack: ImageAttack) -> Trial:
        """Send an attack's requests, each after the answer to the one before; the first error names the layer that held."""
        fresh = self.target()
        started = time.monotonic()
        answers = [self._wire.ask(self._resolved(request, fresh), 20.0) for request in attack.requests]
        error = next((answer for answer in answers if answer not in ("Reply", "State")), "")
        layer = LAYERS.get(error, "language") if error else "harmless"
        return Trial(attack.aim, attack.name, layer, error, " ".join(answers)[:200], round(time.monotonic() - started, 3))

    def _resolved(self, value: Any, fresh: Reference) -> Any:
        """The request with the objects that its placeholders stand for."""
        if isinstance(value, list):
            return [self._resolved(item, fresh) for item in value]
        if isinstance(value, dict) and set(value) == {"oid"}:
            return Reference(value["oid"].to_bytes(8))
        if isinstance(value, dict):
            return {key: self._resolved(item, fresh) for key, item in value.items()}
        if value == "*":
            return fresh
        if value == "@genesis_obj":
            return self.bystander.inspect("genesis_obj").reference
        return self.kernel[value[1:]] if isinstance(value, str) and value[:1] == "$" else value

    def _arguments(self, method: HostileMethod, number: int) -> tuple[Any, ...]:
        if method.aim == "kernel" and method.parameters:
            return (self.kernel[KERNEL_TARGETS[number % len(KERNEL_TARGETS)]],)
        if method.aim == "primordial" and method.parameters:
            return (Reference(self.attacker.inspect(method.name[2:].split(":")[0]).reference.oid),)
        return method.args or (1,) * len(method.parameters)

    def _kernel_objects(self) -> dict[str, Reference]:
        traits = self.attacker.inspect("traits_obj")
        offered = self.attacker.create_method(self._pattern, "nothing", "def nothing(self):\n    return self.n\n")
        return {
            "codex": self._codex(),
            "method": traits.methods["doesNotUnderstand_"],
            "primitive": traits.methods["clone"],
            "message": Reference.parse(offered["proof"]["message"]),
        }

    def _codex(self) -> Reference:
        for number in range(1, 2000):
            reference = Reference(number.to_bytes(8))
            try:
                if "content" in self.attacker.inspect(reference).slots:
                    return reference
            except RemoteError:
                continue
        raise LookupError("the Codex was not found by its oid")

    # --- invariants ----------------------------------------------------------------------------------------------------

    def fingerprint(self) -> dict[str, Any]:
        """What the primordial objects and the Codex are, without what the kernel counts."""
        seen: dict[str, Any] = {}
        for name in PRIMORDIAL:
            state = msgspec.structs.asdict(self.bystander.inspect(name))
            for moving in ("inherited", "tid"):
                state.pop(moving)
            state["slots"] = {slot: value for slot, value in state["slots"].items() if slot not in MOVING.get(name, ())}
            seen[name] = state
        for kind in ("codex", "method", "primitive"):
            seen[kind] = self.bystander.inspect(self.kernel[kind]).slots
        return seen

    def quick_harm(self) -> str:
        """What a bystander notices at once; empty when nothing."""
        for number in range(1, self._running.configuration.settings.uvm.processes + 1):
            started = time.monotonic()
            try:
                self.bystander.send(self._pattern, "clone", via=f"uvm-{number}", deadline=4 * ANSWER_S)
            except (RemoteError, BridgeBusy, BridgeUnreachable) as error:
                return f"uvm-{number} does not answer: {error}"
            waited = time.monotonic() - started
            if waited > ANSWER_S:
                return f"a bystander waited {waited:.1f} s for uvm-{number}"
        return ""

    def harm(self, *, policy: bool = False) -> str:
        """What is not as it was before; empty when nothing. `policy`: the attacks may change primordial slots, by their right."""
        quick = self.quick_harm()
        if quick:
            return quick
        pids = self._running.pids()
        if pids != self._pids:
            return f"processes died: {self._pids} became {pids}"
        fingerprint = self.fingerprint()
        for part, before in self._fingerprint.items():
            if fingerprint[part] != before and not policy:
                return f"{part} is not what it was: {fingerprint[part]}"
        for name, pid in pids.items():
            most = MEMORY_MB[name.split("-")[0]]
            peak = peak_mb(pid)
            if peak > most:
                return f"{name} had {peak:.0f} MB; at most {most:.0f}"
        return self._unreadable() or self._install_fails()

    def _unreadable(self) -> str:
        try:
            self.bystander.full_state()
        except RemoteError as error:
            return f"the full state cannot be read: {error}"
        return ""

    def _install_fails(self) -> str:
        fresh = self.bystander.send("genesis_obj", "clone")
        try:
            self.bystander.create_method(fresh, "seven", "def seven(self):\n    return 7\n", deadline=30)
            answer = self.bystander.send(fresh, "seven")
        except RemoteError as error:
            return f"a sound method cannot be installed: {error}"
        return "" if answer == 7 else f"seven answered {answer!r}"


def siege(
    corpus: Sequence[HostileMethod | ImageAttack], progress: Callable[[int, Trial, str], None] = lambda *_: None, *, apart: bool = True
) -> list[Trial]:
    """Try all attacks, `apart` each class on a service of its own; after one that did harm (layer `none`) the rest gets a new one."""
    trials: list[Trial] = []
    pending = deque(corpus)
    while pending:
        with tempfile.TemporaryDirectory() as home, Fortress(Path(home) / "var") as fortress:
            aim, harm = pending[0].aim, ""
            while pending and not harm and (not apart or pending[0].aim == aim):
                attack = pending.popleft()
                trial = fortress.tried(attack, len(trials)) if isinstance(attack, HostileMethod) else fortress.stormed(attack)
                last = not pending or (apart and pending[0].aim != aim)
                harm = f"answered {trial.error}" if trial.error in FAULTS else fortress.harm() if last else fortress.quick_harm()
                trials.append(msgspec.structs.replace(trial, layer="none", message=harm) if harm else trial)
                progress(len(trials), trials[-1], harm)
    return trials


def peak_mb(pid: int) -> float:
    """The most resident memory that a process has had, MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1000
    return psutil.Process(pid).memory_info().rss / 1e6


def table(trials: list[Trial]) -> str:
    """The count by class and by the layer that held, as a table for people."""
    counts = Counter((trial.aim, trial.layer) for trial in trials)
    layers = sorted({trial.layer for trial in trials})
    rows = [["class", *layers, "all", "slowest, s"]]
    for aim in dict.fromkeys(trial.aim for trial in trials):
        of_aim = [trial for trial in trials if trial.aim == aim]
        rows.append(
            [aim, *(str(counts[aim, layer]) for layer in layers), str(len(of_aim)), f"{max(trial.seconds for trial in of_aim):.1f}"]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)

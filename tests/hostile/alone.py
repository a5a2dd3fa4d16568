"""Each escape of `escapes.py` on each layer alone, the others off: which of them refuses it, and which contains it.

`audit`: the verdict on the source, which is then not run. `guards`: the source is put through the guards with every verdict thrown
away, and runs in the runtime of a UVM without the gate at its end. `trial child`: the source runs as plain Python, confined as a trial
is, and goes on to what native code would do with what it reached. `gate`: the source runs as plain Python in a UVM, as one message of a
batch; what counts is what the image holds afterwards, and the answer.

An escape is `refused` where it ends in an error, `contained` where it ran and neither its answer nor what changed is anything that a
method of the language could not have answered or changed, and goes `through` otherwise. `python -m tests.hostile.alone DIRECTORY` is
the trial child: it prints one line of JSON for each escape.
"""

import ast
import builtins
import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import CodeType
from typing import Any, Literal

import msgspec
from msgspec import Struct
from transaction.interfaces import NoTransaction

from deploy.confinement import confine, sufficient
from deploy.profiles import trial_profile
from tests.hostile.escapes import KINDS, SECRET, Escape, corpus
from tests.hostile.methods import SLOTS
from tests.uvm.images import Bench, awakened
from uvm.errors import AttemptEnded, ImageError
from uvm.image.image import Image
from uvm.language.audit import audit
from uvm.language.builtins import ERRORS
from uvm.language.compiler import Linker, filename
from uvm.language.transformer import Guarding
from uvm.machine.delivery import Answered, Failed
from uvm.objects import KIND, Merging, UvmObject
from uvm.protocol import Reference, decode_value
from uvm.runtime.attempt import Attempt

ROOT = Path(__file__).parents[2]
LAYERS = ("audit", "guards", "trial child", "gate")
PAST = {
    "audit": {
        # A word that no rule is about: what it does is found out when it is sent to a value, which the guards see and the audit does not.
        "format reads a function's globals",
        "format_map reads a function's globals",
        "format taken from the class of texts",
        "format_map taken from the class of texts",
        "format kept in a variable",
        "the object of a failed format",
        "a bound method of the interpreter's",
        "a slot that holds a function",
        "a primitive of the traits replaced, flagged",
        "a method's source",
        "another's parents",
    },
    "gate": {
        # A text is a text, wherever it was read.
        "format reads a function's globals",
        "format_map reads a function's globals",
        "format taken from the class of texts",
        "format_map taken from the class of texts",
        "format kept in a variable",
        "format mapped over a list",
        "an attribute in an f-string",
        # Native code writes past the note of what is changed, which is all that the gate reads of a receiver.
        "a slot that holds a class",
        "a stored list with a class slipped in",
        "a method's source",
    },
}
"""What each layer alone does not hold, by name; `docs/security.md` says why."""
Outcome = Literal["refused", "contained", "through"]
_DEADLINE_S = 120.0


class Verdict(Struct, frozen=True):
    """What became of one escape on one layer; `detail` is the error, or what it reached."""

    kind: str
    name: str
    layer: str
    outcome: Outcome
    detail: str = ""


def verdict(escape: Escape, layer: str, outcome: Outcome, detail: object = "") -> Verdict:
    """A verdict on an escape, its detail short enough for a line."""
    text = f"{type(detail).__name__}: {detail}" if isinstance(detail, BaseException) else str(detail)
    return Verdict(escape.kind, escape.name, layer, outcome, " ".join(text.split())[:110])


# --- the world -----------------------------------------------------------------------------------------------------------


_PLACE = "def attack(self):\n    return self.n\n"
"""The source that the receiver's method has; what runs in its place is another function."""


class World:
    """An image in memory with a receiver, an object that the receiver does not know, and a picture of all that is not the receiver's."""

    def __init__(self, image: Image) -> None:
        self.bench = Bench(image)
        reply = self.bench.send("genesis_obj", "clone")
        assert isinstance(reply, Answered)
        self.receiver: Reference = decode_value(reply.result)
        for name, value in SLOTS.items():
            self.bench.send(self.receiver, "setSlot_value_", name, value)
        self.bench.send(self.receiver, "nameAs_", "receiver")
        self.bench.install(self.receiver, "attack", _PLACE, policy=False)
        self.before = self.picture()

    def picture(self) -> dict[str, Any]:
        """What another process sees: every object with a name but the receiver, without what the kernel counts in them."""
        with self._elsewhere() as image:
            return _pictures(image)

    def moved(self) -> list[str]:
        """The objects that are other ones in this process's memory, stored or not."""
        now = _pictures(self.bench.image)
        return [name for name, picture in self.before.items() if now[name] != picture]

    def slots(self) -> dict[str, Any]:
        """The receiver's, as another process sees them."""
        with self._elsewhere() as image:
            return dict(image.named("receiver")._slots)

    def target(self) -> UvmObject:
        """The receiver, in this process."""
        return self.bench.image.target(self.receiver)

    @contextmanager
    def _elsewhere(self) -> Iterator[Image]:
        image = Image(self.bench.image.database)
        image.manager.begin()
        try:
            yield image
        finally:
            image.manager.abort()
            image.connection.close()

    def attacked_by(self, function: Callable[..., Any]) -> None:
        """Have the receiver's method run as this function, whatever its source is."""
        self.bench.runtime._functions.put(hashlib.sha256(_PLACE.encode()).hexdigest(), function, 1)

    def forget(self) -> None:
        """Forget what was changed in memory, flagged or not."""
        with suppress(NoTransaction):  # a batch has ended its own
            self.bench.image.manager.abort()
        self.bench.image.connection.cacheMinimize()

    def attempted(self, function: Callable[..., Any]) -> Any:
        """What a function answers as the receiver's method, by the runtime alone: no gate, no commit."""
        self.attacked_by(function)
        image = self.bench.image
        image.manager.begin()
        attempt = Attempt(ticks=200_000, seconds=20.0, rights=frozenset({"read", "send"}))
        return self.bench.runtime.run(attempt, image.target(self.receiver), "attack", (), {})


@contextmanager
def world() -> Iterator[World]:
    """A world that ends with the block."""
    with awakened() as image:
        yield World(image)


def strange(slots: dict[str, Any]) -> str:
    """What in the receiver's slots no method of the language can have put there: '' when nothing is."""
    return "a kind" if KIND in slots else foreign({name: value for name, value in slots.items() if name != "attack"})


_COUNTED = {"clones", "messages", "methods", "lessons"}


def _pictures(image: Image) -> dict[str, Any]:
    objects = {str(name): target for name, target in image.root["names"].items() if name != "receiver"}
    objects["the Codex"] = image.root["codex"]
    objects["a method"] = objects["traits_obj"].own("doesNotUnderstand_")
    return {name: _picture(target) if isinstance(target, UvmObject) else {} for name, target in objects.items()}


def _picture(target: UvmObject) -> dict[str, Any]:
    return {name: flat(value) for name, value in target._slots.items() if name not in _COUNTED}


def flat(value: Any) -> Any:
    if isinstance(value, UvmObject):
        return f"@{value._p_oid.hex() if value._p_oid else 'new'}"
    if isinstance(value, Merging):
        return flat(value.plain())
    if isinstance(value, dict):
        return {key: flat(item) for key, item in value.items()}
    return [flat(item) for item in value] if isinstance(value, list | tuple) else value


_PLAIN = (type(None), bool, int, float, str, bytes, range, UvmObject)


def foreign(value: Any, depth: int = 0) -> str:
    """What in a value no method of the language can have: '' when nothing is."""
    kind = type(value)
    if kind is str:
        return "the secret" if SECRET in value else ""
    if kind in _PLAIN or isinstance(value, Merging) or kind in ERRORS.values() or kind is Reference:
        return ""
    if kind not in (list, tuple, dict, set) or depth > 8:
        return f"a {kind.__name__}"
    items = [*value.keys(), *value.values()] if kind is dict else list(value)
    return next((strange for item in items if (strange := foreign(item, depth + 1))), "")


def in_plain_python(escape: Escape) -> Callable[..., Any]:
    """The escape as Python runs it, with all that Python has."""
    namespace: dict[str, Any] = {"__builtins__": builtins, "SECRET": SECRET, SECRET: SECRET, "__name__": "attacked"}
    exec(compile(escape.source, filename("attack"), "exec"), namespace)
    function: Callable[..., Any] = namespace["attack"]
    return function


# --- the layers -----------------------------------------------------------------------------------------------------------


def by_audit(escape: Escape) -> Verdict:
    """The audit's verdict alone."""
    judged = audit(escape.source, "attack", 0)
    return verdict(escape, "audit", "through" if judged.ok else "refused", judged.findings[0].message if judged.findings else "")


class _Unjudged(Guarding):
    """The guards, with RestrictedPython's verdicts thrown away; what it does not know stays as it is."""

    def error(self, node: ast.AST, info: str) -> None:
        pass

    def not_allowed(self, node: ast.AST) -> Any:
        return self.node_contents_visit(node)


def guarded(source: str) -> CodeType:
    """A method's code with the guards and without a verdict."""
    tree = ast.parse(source)
    _Unjudged([], []).visit(tree)
    return compile(ast.fix_missing_locations(tree), filename("attack"), "exec")


def by_guards(escape: Escape, here: World) -> Verdict:
    """The guards at run time alone. Nothing of it stays in the world."""
    try:
        result = here.attempted(Linker(here.bench.runtime).link(guarded(escape.source)))
        reached = foreign(result) or strange(here.target()._slots) or ", ".join(here.moved())
        return verdict(escape, "guards", "through" if reached else "contained", reached or repr(result))
    except (ImageError, AttemptEnded, SyntaxError, NameError, TypeError, ValueError, LookupError) as error:
        return verdict(escape, "guards", "refused", error.__cause__ or error)
    finally:
        here.forget()


def by_gate(escape: Escape, here: World) -> Verdict:
    """The image's gate, and its door to answers, alone. The world is another one afterwards, unless the escape was refused."""
    function = in_plain_python(escape)

    def writing(receiver: UvmObject) -> Any:
        # A message that changes nothing that it may is never stored: so that the gate alone stands in the way, this one does.
        here.bench.runtime.put(receiver, "n", 4)
        return function(receiver)

    here.attacked_by(writing)
    outcome = here.bench.send(here.receiver, "attack")
    try:
        moved = [name for name, picture in here.picture().items() if picture != here.before[name]]
        kept = here.slots()
    except ImageError as error:
        return verdict(escape, "gate", "through", error)
    if moved:
        return verdict(escape, "gate", "through", f"changed: {', '.join(moved)}")
    if isinstance(outcome, Failed):
        here.forget()
        return verdict(escape, "gate", "refused", f"{outcome.error.type}: {outcome.error.message}")
    assert isinstance(outcome, Answered)
    reached = foreign(decode_value(outcome.result)) or strange(kept)
    return verdict(escape, "gate", "through" if reached else "contained", reached)


def works(escape: Escape, here: World) -> str:
    """What the escape reaches in plain Python with no layer at all: '' when it does not work, and proves nothing."""
    try:
        result = here.attempted(in_plain_python(escape))
        return foreign(result) or strange(here.target()._slots) or ", ".join(here.moved())
    finally:
        here.forget()


# --- the trial child ---------------------------------------------------------------------------------------------------------


def _write(directory: Path) -> None:
    (directory / "written").write_text("harm")


def _read(directory: Path) -> None:
    (directory / "secret").read_text()


def _connect(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(directory / "listener"))


def _call_out(_directory: Path) -> None:
    with socket.socket() as line:
        line.connect(("127.0.0.1", 9))


def _fork(_directory: Path) -> None:
    if os.fork() == 0:
        os._exit(0)


def _become(_directory: Path) -> None:
    os.execv("/bin/true", ["true"])


def _signal(_directory: Path) -> None:
    os.kill(os.getppid(), signal.SIGUSR1)


DEEDS: tuple[Callable[[Path], None], ...] = (_write, _read, _connect, _call_out, _fork, _become, _signal)
"""What native code would do with what it reached; each must end in an error of the system's."""


def child(directory: Path) -> int:
    """The trial child: one line for each escape. 2 where the host has not the layers that a trial needs."""
    with world() as here:
        functions = [(escape, in_plain_python(escape)) for escape in corpus()]
        if not sufficient(confine(trial_profile(1024, 60))):
            return 2
        for escape, function in functions:
            sys.stdout.buffer.write(msgspec.json.encode(_in_child(here, escape, function, directory)) + b"\n")
            sys.stdout.flush()
    return 0


def _in_child(here: World, escape: Escape, function: Callable[..., Any], directory: Path) -> Verdict:
    here.bench.image.manager.begin()
    try:
        function(here.target())
    except (OSError, ImportError) as error:
        return verdict(escape, "trial child", "refused", error)
    finally:
        here.forget()
    held = []
    for deed in DEEDS:
        try:
            deed(directory)
        except OSError as error:
            held.append(error.strerror or str(error))
        else:
            return verdict(escape, "trial child", "through", f"{deed.__name__[1:]} was not refused")
    return verdict(escape, "trial child", "contained", f"then {len(held)} deeds of native code: {held[0]}")


def in_trial_child(directory: Path) -> list[Verdict]:
    """Every escape in a process that is confined as a trial is; empty where this host lacks a layer that trials need."""
    (directory / "secret").write_text("secret")
    before = sorted(directory.iterdir())
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "listener"))
        listener.listen(4)
        done = subprocess.run(
            [sys.executable, "-m", "tests.hostile.alone", str(directory)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_DEADLINE_S,
            check=False,
        )
    (directory / "listener").unlink()
    if done.returncode == 2:
        return []
    verdicts = [msgspec.json.decode(line, type=Verdict) for line in done.stdout.splitlines()]
    if len(verdicts) != len(corpus()):
        raise RuntimeError(f"the child ended with {done.returncode} after {len(verdicts)} escapes: {done.stderr[-1000:].decode()}")
    if sorted(directory.iterdir()) != before:
        raise RuntimeError(f"the child left {sorted(directory.iterdir())}")
    return verdicts


# --- the list -----------------------------------------------------------------------------------------------------------------


def verdicts(directory: Path) -> list[Verdict]:
    """Each escape on each layer, in the order of the corpus."""
    seen = [*map(by_audit, corpus()), *in_trial_child(directory)]
    with ExitStack() as worlds:
        here = worlds.enter_context(world())
        seen += [by_guards(escape, here) for escape in corpus()]
        for escape in corpus():
            seen.append(by_gate(escape, here))
            if seen[-1].outcome != "refused":
                here = worlds.enter_context(world())
    return seen


def listing(of_all: Sequence[Verdict]) -> str:
    """The list for people: each escape, where it is from, and what became of it on each layer."""
    by_place = {(seen.kind, seen.name, seen.layer): seen for seen in of_all}
    lines = []
    for kind in KINDS:
        lines.append(f"\n{kind}")
        for escape in (escape for escape in corpus() if escape.kind == kind):
            lines.append(f"  {escape.name}  [{escape.origin}]")
            lines += [
                f"    {layer:<12} {seen.outcome:<10} {seen.detail}"
                for layer in LAYERS
                if (seen := by_place.get((kind, escape.name, layer))) is not None
            ]
    return "\n".join(lines).strip("\n")


def unheld(of_all: Sequence[Verdict]) -> list[Verdict]:
    """Where a way out went through a layer that is said to hold it: guards and trial child hold each, audit and gate all but `PAST`."""
    return [seen for seen in of_all if seen.outcome == "through" and seen.name not in PAST.get(seen.layer, ())]


def table(of_all: Sequence[Verdict]) -> str:
    """The table of `docs/security.md`: how many of each kind a layer refused, contained, and let through."""
    tally = Tally((seen.kind, seen.layer, seen.outcome) for seen in of_all)
    rows = [f"| ways out | tried | {' | '.join(LAYERS)} |", "| --- " * (len(LAYERS) + 2) + "|"]
    for kind in KINDS:
        cells = [
            ", ".join(f"{count} {outcome}" for outcome in ("refused", "contained", "through") if (count := tally[kind, layer, outcome]))
            for layer in LAYERS
        ]
        rows.append(f"| {kind} | {sum(escape.kind == kind for escape in corpus())} | {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    raise SystemExit(child(Path(sys.argv[1])))

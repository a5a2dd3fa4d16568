"""The way up: the seed's phases by name, each a few steps with a deadline. Run by `batos up`, in its one thread.

Prototypal Awakening starts the service, brings the image to life the first time, and waits until messages are answered.
The others, with `--converse`, show it: The First Conversation, In-Memory Autopoiesis, Functional Validation, Autotelic
Heartbeat. What fails raises Failure with the end of the log of the process that failed.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy import service
from deploy.settings import Configuration
from ui_client import child, explanation, model_choice, morphs, progress, recovery, report, terminal, values
from ui_client.client.client import Client
from ui_client.client.errors import ClientError, RemoteError
from ui_client.connection import listens
from ui_client.morphs import Field
from ui_client.report import Failure
from ui_client.steps import RunningStep, Steps
from uvm.protocol import Reference

SOCKET_DEADLINE_S = 60.0
AWAKENING_DEADLINE_S = 300.0
CONVERT_DEADLINE_S = 600.0
ANSWERS_DEADLINE_S = 120.0
QUICK_DEADLINE_S = 30.0

_FACE = "display_yourself"
_GENESIS = "genesis_obj"
_HEARTBEAT = "heartbeat_obj"
_DEAD = ("FATAL", "EXITED", "BACKOFF")


def awaken(configuration: Configuration, steps: Steps) -> dict[str, Any]:
    """Prototypal Awakening: from nothing, or from what is there, to a service that answers."""
    home = configuration.home
    with steps.phase("Prototypal Awakening"):
        with steps.step("home") as step:
            home.ensure()
            step.outcome = str(home.path)
        model = None if model_choice.is_born(configuration) else _model(configuration, steps)
        with steps.step("service") as step:
            child.in_background(lambda: service.start(configuration), lambda: steps.tick(step))
            step.outcome = "supervisord runs"
        with steps.step("image server") as step, _diagnosing(configuration):
            _wait_for_socket(configuration, steps, step)
            step.outcome = f"{home.image_file.name} over ZEO"
        if model is None and not model_choice.is_born(configuration):
            # The file ended with an awakening that was cut short, and the server has taken that off.
            model = _model(configuration, steps)
        with _diagnosing(configuration):
            existed = _awaken_image(configuration, steps, model)
        with steps.step("bridge and UVMs") as step:
            step.outcome = f"{_wait_for_uvms(configuration, steps, step)} UVMs answer at {configuration.bridge_endpoint}"
    return {"image": "found" if existed else "created"}


@contextmanager
def _diagnosing(configuration: Configuration) -> Iterator[None]:
    """What fails because the image is broken says so, object by object, with the way back."""
    try:
        yield
    except Failure as failure:
        diagnosis = recovery.diagnosed(configuration, failure)
        raise diagnosis from (failure if diagnosis is not failure else None)


def converse(client: Client, configuration: Configuration, steps: Steps) -> dict[str, Any]:
    """The other four phases; returns what they showed."""
    with steps.phase("The First Conversation"):
        method, tree, generated = _first_conversation(client, configuration, steps)
    with steps.phase("In-Memory Autopoiesis"):
        digest, seconds = _autopoiesis(client, method, steps)
    with steps.phase("Functional Validation"):
        live = _validate(client, tree, steps)
    with steps.phase("Autotelic Heartbeat"):
        heartbeat = _heartbeat(client, configuration, steps)
    return {
        "generated": generated,
        "method": {"selector": _FACE, "source": method.get("source"), "digest": digest, "author": method.get("author")},
        "run_s": seconds,
        "tree": tree,
        "live_fields": live,
        "heartbeat": heartbeat,
    }


def _model(configuration: Configuration, steps: Steps) -> Path:
    model = model_choice.configured_model(configuration)
    if model:
        return model
    converted = configuration.home.path / ".converted"
    with steps.step("default model") as step:
        if not (converted / "config.json").is_file():
            log = configuration.home.logs / "convert.log"
            child.run(
                "inference_worker.convert",
                [str(converted)],
                configuration=configuration,
                log=log,
                deadline_s=CONVERT_DEADLINE_S,
                on_line=lambda line: steps.tick(step, line),
                on_tick=lambda: steps.tick(step, child.tail(log, lines=1)),
            )
        step.outcome = "converted to safetensors"
    return converted


def _awaken_image(configuration: Configuration, steps: Steps, model: Path | None) -> bool:
    """Run the awakening; whether the image was found instead of made."""
    arguments = ["--json"]
    if model:
        arguments += ["--model", str(model)]
        if not configuration.settings.inference.model:
            arguments += ["--name", model_choice.DEFAULT_MODEL]
        adapter = model_choice.chosen_adapter(configuration, model)
        arguments += ["--adapter", str(adapter)] if adapter else []
    lines: list[str] = []
    with steps.step("primordial objects" if model else "image") as step:

        def hear(line: str) -> None:
            entry = _step_line(line)
            steps.tick(step, f"{entry[0]}: {entry[1]}")
            if entry[2]:
                lines.append(f"{entry[0]}: {entry[1]}")

        child.run(
            "uvm.awakening",
            arguments,
            configuration=configuration,
            log=configuration.home.logs / "awakening.log",
            deadline_s=AWAKENING_DEADLINE_S,
            on_line=hear,
            on_tick=lambda: steps.tick(step),
        )
        step.outcome = "; ".join(lines) or "awake"
    if model and model.name == ".converted":
        # The image has the files now; the copy was only the way there.
        for file in model.iterdir():
            file.unlink()
        model.rmdir()
    return model is None


def _step_line(line: str) -> tuple[str, str, bool]:
    try:
        entry = json.loads(line)
        return str(entry["step"]), str(entry.get("detail", "")), bool(entry.get("done", False))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "awakening", line, False


def _wait_for_socket(configuration: Configuration, steps: Steps, step: RunningStep) -> None:
    path = str(configuration.home.zeo_socket)

    def there() -> bool:
        _fail_if_dead(configuration, "image")
        return listens(path)

    if not child.wait_until(there, SOCKET_DEADLINE_S, lambda: steps.tick(step)):
        raise _not_there(configuration, "image", f"nobody listens at {path} after {SOCKET_DEADLINE_S:.0f} s")


def _wait_for_uvms(configuration: Configuration, steps: Steps, step: RunningStep) -> int:
    expected = configuration.settings.uvm.processes
    alive = 0

    def answer() -> bool:
        nonlocal alive
        for program in ("bridge", *(f"uvm-{number}" for number in range(1, expected + 1))):
            _fail_if_dead(configuration, program, states=("FATAL",))
        try:
            with Client(configuration=configuration) as client:
                alive = len(client.status()["uvms"])
        except ClientError:
            alive = 0
        return alive >= expected

    def settled() -> bool:
        # supervisord calls a program RUNNING once it has lived for a moment; until then `batos status` would call it unwell.
        return all(status.state != "STARTING" for status in service.statuses(configuration))

    if child.wait_until(answer, ANSWERS_DEADLINE_S, lambda: steps.tick(step, f"{alive} of {expected}")):
        child.wait_until(settled, QUICK_DEADLINE_S, lambda: steps.tick(step))
    else:
        suspect = f"uvm-{alive + 1}" if alive else "uvm-1"
        raise _not_there(configuration, suspect, f"{alive} of {expected} UVMs answer after {ANSWERS_DEADLINE_S:.0f} s")
    return alive


def _fail_if_dead(configuration: Configuration, program: str, states: tuple[str, ...] = _DEAD) -> None:
    for status in service.statuses(configuration):
        if status.name == program and status.state in states:
            raise _not_there(configuration, program, f"{program} is {status.state}: {status.description}")


def _not_there(configuration: Configuration, program: str, message: str) -> Failure:
    log = configuration.home.logs / f"{program}.log"
    remedy = f"`batos logs {program}` has more than the end above; then `batos down` and `batos up`"
    return Failure("NotUp", message, remedy, tail=child.tail(log))


def _first_conversation(client: Client, configuration: Configuration, steps: Steps) -> tuple[dict[str, Any], Any, bool]:
    understood = client.send(_GENESIS, "mirror_", "respondsTo_", _FACE, deadline=QUICK_DEADLINE_S)
    if understood:
        steps.console.print(f"  {_GENESIS} has {_FACE} already: nothing is generated")
        tree = client.send(_GENESIS, _FACE, deadline=QUICK_DEADLINE_S)
    else:
        steps.console.print(f"  → {_GENESIS} {_FACE}, which it does not understand")
        tree = _say(client, configuration, steps)
    method = client.send(_GENESIS, "mirror_", "explain_", _FACE, deadline=QUICK_DEADLINE_S)
    method = method if isinstance(method, dict) else {}
    if not understood and isinstance(method.get("source"), str):
        steps.console.print(explanation.source_panel(method["source"], f"{_GENESIS} {_FACE}"))
    return method, tree, not understood


def _say(client: Client, configuration: Configuration, steps: Steps) -> Any:
    """Send the message nobody understands; the model's start is the longest part of the wait, so a step counts the seconds."""
    deadline_s = configuration.settings.uvm.generation_deadline_s
    with progress.following(client, _FACE, live=False) as story, steps.step("the method is written") as step:
        tree = child.in_background(
            lambda: client.send(_GENESIS, _FACE, deadline=deadline_s),
            lambda: steps.tick(step, story.waiting_for() or "the model wakes"),
        )
        step.outcome = "and installed for every process that shares the image"
    return tree


def _autopoiesis(client: Client, method: dict[str, Any], steps: Steps) -> tuple[str, float]:
    source = str(method.get("source", ""))
    digest = str(method.get("digest") or hashlib.sha256(source.encode()).hexdigest())
    with steps.step("compiled and run again") as step:
        began = time.perf_counter()
        client.send(_GENESIS, _FACE, deadline=QUICK_DEADLINE_S)
        seconds = time.perf_counter() - began
        step.outcome = f"method {digest[:12]} by {method.get('author', 'unknown')}, {seconds * 1000:.1f} ms"
        tid = client.newest_tid()
        if tid:
            step.outcome += f", newest transaction {tid.hex().lstrip('0')}"
    return digest, seconds


def _validate(client: Client, tree: Any, steps: Steps) -> dict[str, int]:
    with steps.step("the morph tree") as step:
        try:
            parsed = morphs.parse(tree)
        except morphs.MorphError as error:
            remedy = f"read the method: batos source {_GENESIS} {_FACE}"
            raise Failure("NoMorph", f"{_FACE} answered no morph tree: {error}", remedy) from error
        state = client.inspect(_GENESIS)
        fields = [morph for morph in morphs.walk(parsed) if isinstance(morph, Field)]
        live = [field for field in fields if state.slots.get(field.name) == field.value and field.name in state.slots]
        step.outcome = f"{len(live)} of {len(fields)} fields show live slots of {_GENESIS}"
    names = {entry.reference: entry.names[0] for entry in client.full_state().objects if entry.names}
    steps.console.print(terminal.render(parsed, names, title=_GENESIS))
    return {"fields": len(fields), "live": len(live)}


def _heartbeat(client: Client, configuration: Configuration, steps: Steps) -> dict[str, Any]:
    with steps.step("heartbeat") as step:
        state = next((status.state for status in service.statuses(configuration) if status.name == "heartbeat"), "MISSING")
        last: Any = None
        try:
            # Looked at, not sent: a message nobody understands would have its method written.
            last = client.inspect(_HEARTBEAT).slots.get("last")
            if isinstance(last, Reference):
                last = client.inspect(last).slots
        except RemoteError as error:
            report.note(f"  {error.message}")
        measured = values.show(last) if last else f"first measurement within {configuration.settings.heartbeat.interval_s:.0f} s"
        step.outcome = f"{state.lower()}, {measured}"
        if state not in ("RUNNING", "STARTING"):
            raise _not_there(configuration, "heartbeat", f"heartbeat is {state}")
    return {"state": state, "last": last}

"""How a model or an adapter comes into the image: converted where it must be, checked, and copied in. Run by the commands, in their thread.

Three programs of ours do it, each confined to its part: `inference_worker.convert` (a GGUF file), `inference_worker.adapters.check`, which
reads it as the worker would and says what it is, file by file, and `uvm.awakening.importer`, which takes in exactly that.
"""

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

from deploy.settings import Configuration
from ui_client import child
from ui_client.report import Failure
from ui_client.steps import RunningStep, Steps

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_KEPT_S = 86_400.0
"""How long a conversion waits for the import that it was made for to be taken up again."""
CHECK_DEADLINE_S = 3600.0
CONVERT_DEADLINE_S = 3600.0
IMPORT_DEADLINE_S = 24 * 3600.0
"""A model of hundreds of gigabytes takes hours on a slow disk; who waits no longer presses Ctrl-C, and nothing has happened."""


def bring_in(
    configuration: Configuration, steps: Steps, kind: Literal["model", "adapter"], source: Path, name: str, bases: Sequence[str] = ()
) -> dict[str, Any]:
    """What the image then says of it. `bases`: digests of the models that an adapter may belong to. Raises Failure."""
    if not source.exists():
        raise Failure("NoSuchFile", f"{source} does not exist", "name a directory" + (" or a GGUF file" if kind == "model" else ""))
    if name and not _NAME.fullmatch(name):
        raise Failure("BadName", f"{name!r} is no name", "a letter or digit, then up to 99 letters, digits and . _ + -")
    gguf = _gguf(source) if kind == "model" else None
    with _converted(configuration, steps, gguf) if gguf else nullcontext(source) as directory:
        called = name or (_plain(gguf.stem) if gguf else "")
        options = [*(["--name", called] if called else []), *(part for base in bases for part in ("--base", base))]
        with steps.step("checked") as step:
            manifest = _run(
                configuration, steps, step, "inference_worker.adapters.check", [kind, str(directory), *options], CHECK_DEADLINE_S
            )
            size = sum(file["size"] for file in manifest["files"])
            step.outcome = f"{manifest['name']}, {len(manifest['files'])} files, {size / 1e6:.1f} MB"
        with steps.step("imported") as step:
            stdin = json.dumps(manifest).encode()
            result: dict[str, Any] = _run(
                configuration, steps, step, "uvm.awakening.importer", [str(directory)], IMPORT_DEADLINE_S, stdin=stdin
            )
            step.outcome = "the image had it already" if result["already"] else f"{kind} {result['digest'][:12]}"
    return {**result, "chat": manifest["chat"]} if kind == "model" else result


def _run(
    configuration: Configuration,
    steps: Steps,
    step: RunningStep,
    module: str,
    arguments: Sequence[str],
    deadline_s: float,
    stdin: bytes = b"",
) -> Any:
    """Run one of the programs; what it says in the end. Raises Failure of the type that it names."""
    last: dict[str, Any] = {}

    def hear(line: str) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        if "step" in message:
            steps.tick(step, f"{message['step']}: {message['detail']}")
        else:
            last.update(message)

    try:
        child.run(
            module,
            arguments,
            configuration=configuration,
            log=configuration.home.logs / "import.log",
            deadline_s=deadline_s,
            on_line=hear,
            on_tick=lambda: steps.tick(step),
            stdin=stdin,
        )
    except Failure:
        if "error" not in last:
            raise
        error = last["error"]
        raise Failure(error["type"], error["message"], error.get("remedy") or _REMEDIES.get(error["type"], "")) from None
    return last["manifest"] if "manifest" in last else last["result"]


_REMEDIES = {
    "BadAdapter": "docs/adapters.md says what an adapter may be; `batos model list` shows the models",
    "BadModel": "docs/operations.md says what a model's directory needs",
    "UnknownModel": "`batos up` puts the files of the image's models into its home",
    "ImageUnreachable": "start the service with `batos up`",
}


def _gguf(source: Path) -> Path | None:
    """The GGUF file to convert, if that is what the model is."""
    if source.is_file():
        if source.suffix != ".gguf":
            raise Failure("BadModel", f"{source} is neither a directory nor a GGUF file", "name one of these")
        return source
    files = sorted(source.glob("*.gguf"))
    if not files or any(source.glob("*.safetensors")):
        return None
    if len(files) > 1:
        raise Failure("BadModel", f"{source} holds {len(files)} GGUF files", "name the one that is meant")
    return files[0]


def _plain(text: str) -> str:
    """What of a file's name a name may hold."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", text).lstrip("-._+")[:100] or "unnamed"


@contextmanager
def _converted(configuration: Configuration, steps: Steps, gguf: Path) -> Iterator[Path]:
    """A directory made from the file. One that a cut-off import has left is used again, within a day; after the import it is removed."""
    for left in configuration.home.path.glob(".converted-*"):
        if time.time() - left.stat().st_mtime > _KEPT_S:
            shutil.rmtree(left, ignore_errors=True)
    status = gguf.stat()
    identity = hashlib.sha256(f"{gguf.absolute()}\0{status.st_size}\0{status.st_mtime_ns}".encode()).hexdigest()[:16]
    directory = configuration.home.path / f".converted-{identity}"
    log = configuration.home.logs / "convert.log"
    with steps.step("converted") as step:
        if not (directory / "config.json").is_file():
            child.run(
                "inference_worker.convert",
                [str(directory), "--gguf", str(gguf.absolute())],
                configuration=configuration,
                log=log,
                deadline_s=CONVERT_DEADLINE_S,
                on_line=lambda line: steps.tick(step, line),
                on_tick=lambda: steps.tick(step, child.tail(log, lines=1)),
            )
        step.outcome = f"{gguf.name} to safetensors"
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)

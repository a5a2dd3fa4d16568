"""The wish for an upgrade: `update_instructions.json` in `BATOS_HOME/upgrades/`. docs/upgrade.md is for those who write it by hand.

The file is one JSON object, `UpdateInstructions`, of at most `LARGEST` bytes. Nothing in it is a command: pinned names and versions
with the hashes of their wheels, or the number of an earlier upgrade whose environment is to come back. Unknown fields, options of
pip, addresses and paths are refused, since no field takes them. `signature` is the HMAC-SHA256, in hexadecimal, of the canonical JSON
of the other fields under the image's key, `upgrades/image.key`: who can not read that file cannot wish.

Written by the `batos` command, and by the upgrader for the image (`deploy.upgrader.door`); read by the upgrader; each from one thread.
"""

import hashlib
import hmac
import os
import secrets
import stat
import time
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from deploy import durable
from deploy.home import Home

FILE: Final = "update_instructions.json"
LARGEST: Final = 65_536
_KEY: Final = "image.key"

DistributionName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?\Z")]
Version = Annotated[str, Meta(pattern=r"^[0-9][0-9A-Za-z.+!_]{0,62}\Z")]
WheelHash = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
Sentence = Annotated[str, Meta(max_length=500)]
Word = Annotated[str, Meta(pattern=r"^[A-Za-z_@][A-Za-z0-9_@]{0,199}\Z")]


class BadInstructions(ValueError):
    """A wish that is not carried out; the message says what is wrong with it."""


class PinnedDistribution(Struct, frozen=True, forbid_unknown_fields=True):
    """One distribution in one version; `hashes` are those of the wheels of it that may be installed."""

    name: DistributionName
    version: Version
    hashes: Annotated[list[WheelHash], Meta(min_length=1, max_length=64)]


class ExpectedReply(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold afterwards: a message without arguments, tried on the copy of the image, and the result that it must have."""

    target: Word
    selector: Word
    result: Any


class UpdateInstructions(Struct, frozen=True, forbid_unknown_fields=True):
    """A wish. `requirements`: what is to be installed; or `back_to`: the upgrade whose environment is to come back, 0 for the first one.

    `id`: drawn by who wishes, so that one wish is carried out once. `must_hold`: besides what every upgrade is held to. `within_s`:
    longest each of building and proving may take, seconds; 0: as configured. `dry_run`: end before any process is replaced.
    """

    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
    at: Annotated[int, Meta(ge=0, lt=2**53)]
    asked_by: Sentence
    reason: Sentence = ""
    requirements: Annotated[list[PinnedDistribution], Meta(max_length=200)] = []
    back_to: Annotated[int, Meta(ge=0, lt=2**31)] | None = None
    must_hold: Annotated[list[ExpectedReply], Meta(max_length=16)] = []
    within_s: Annotated[int, Meta(ge=0, le=86_400)] = 0
    dry_run: bool = False
    format: Annotated[int, Meta(ge=1, le=1)] = 1
    signature: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")] = ""


def wish(
    home: Home,
    asked_by: str,
    *,
    requirements: list[PinnedDistribution] | None = None,
    back_to: int | None = None,
    reason: str = "",
    must_hold: list[ExpectedReply] | None = None,
    dry_run: bool = False,
    identifier: str = "",
) -> UpdateInstructions:
    """A signed wish; `identifier`: its id, where it has one already. Raises BadInstructions for what may not be wished."""
    plain = {
        "id": identifier or secrets.token_hex(8),
        "at": int(time.time()),
        "asked_by": asked_by,
        "reason": reason,
        "requirements": requirements or [],
        "back_to": back_to,
        "must_hold": must_hold or [],
        "dry_run": dry_run,
    }
    checked = _checked(msgspec.json.encode(plain))
    return msgspec.structs.replace(checked, signature=_signature(checked, _key(home, make=True)))


def put(home: Home, wanted: UpdateInstructions) -> Path:
    """Leave a wish where the upgrader looks. Raises BadInstructions while another one waits there."""
    path = home.upgrades / FILE
    staged = home.upgrades / f".{wanted.id}"
    durable.replace(staged, msgspec.json.format(msgspec.json.encode(wanted), indent=2) + b"\n")
    try:
        os.link(staged, path)  # at once, and not in the place of another one
    except FileExistsError:
        raise BadInstructions(f"another wish waits in {path}; the upgrader takes one at a time") from None
    finally:
        staged.unlink()
    durable.sync(home.upgrades)
    return path


def read(path: Path) -> bytes:
    """What stands in the file of a wish. Raises BadInstructions, FileNotFoundError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadInstructions(f"the wish cannot be opened: {error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadInstructions("the wish is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise BadInstructions(f"the wish is longer than {LARGEST:,} bytes")
    return content


def verified(home: Home, content: bytes) -> UpdateInstructions:
    """The wish that a file holds. Raises BadInstructions for one that is not in the format, or not signed with the image's key."""
    wanted = _checked(content)
    if not hmac.compare_digest(wanted.signature, _signature(wanted, _key(home, make=False))):
        raise BadInstructions("the signature is not of the image's key; `batos upgrade` signs what it writes")
    return wanted


def pinned_text(requirements: list[PinnedDistribution]) -> str:
    """The same for pip, with the hashes it is to hold the wheels against."""
    lines = (f"{each.name}=={each.version} " + " ".join(f"--hash={digest}" for digest in each.hashes) for each in requirements)
    return "".join(f"{line}\n" for line in lines)


def _checked(content: bytes) -> UpdateInstructions:
    try:
        wanted = msgspec.json.decode(content, type=UpdateInstructions)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInstructions(f"the wish is refused: {error}") from error
    if bool(wanted.requirements) == (wanted.back_to is not None):
        raise BadInstructions("a wish has either requirements or back_to")
    names = [each.name.lower().replace("_", "-").replace(".", "-") for each in wanted.requirements]
    if twice := {name for name in names if names.count(name) > 1}:
        raise BadInstructions(f"the wish names {', '.join(sorted(twice))} more than once")
    return wanted


def _signature(wanted: UpdateInstructions, key: bytes) -> str:
    unsigned = msgspec.structs.replace(wanted, signature="")
    return hmac.new(key, msgspec.json.encode(unsigned, order="deterministic"), hashlib.sha256).hexdigest()


def _key(home: Home, *, make: bool) -> bytes:
    """The image's key. Raises BadInstructions where there is none, or others could have read it."""
    path = home.upgrades / _KEY
    if make and not path.exists():
        home.upgrades.mkdir(parents=True, exist_ok=True, mode=0o700)
        durable.replace(path, secrets.token_hex(32).encode() + b"\n")
    try:
        if path.stat().st_mode & 0o077:
            raise BadInstructions(f"{path} is open to others; remove it, and wish again")
        key = path.read_bytes().strip()
    except OSError as error:
        raise BadInstructions(f"the image's key cannot be read: {error}") from error
    if len(key) < 32:
        raise BadInstructions(f"{path} holds no key; remove it, and wish again")
    return key

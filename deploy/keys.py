"""Who may use a home's service beside its owner, and by what: files under `keys` in the home, one a principal, and the server's key.

A principal is proved by a public key (CURVE, over TCP) or by its user on this host (Unix sockets). The bridge reads the files when they
change; `batos keys` writes them. Called from one thread of each. The directory is closed to other users; every file is replaced whole.
"""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from deploy.settings import RIGHTS, Home, QuotaSettings, Right, SettingsError

LOCAL: Final = "local"
"""The principal of the home's owner; a file of this name changes its rights and quotas."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_SERVER = "_server.json"

Z85 = Annotated[str, Meta(min_length=40, max_length=40)]
"""A key as printable text: 32 bytes in ZeroMQ's Z85."""

Pair = tuple[bytes, bytes]
"""A public key and its secret one, as Z85."""


class PrincipalRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """One principal: its proof (a public key or a user's number; neither for `local`), its rights, and quotas that differ from [quotas]."""

    rights: frozenset[Right]
    public: Z85 | None = None
    uid: Annotated[int, Meta(ge=0, lt=2**32)] | None = None
    quotas: dict[str, float] = {}

    @property
    def proof(self) -> str:
        """What a connection must show: the public key, or `uid:1000`."""
        return self.public or f"uid:{self.uid}"

    def quota(self, defaults: QuotaSettings) -> QuotaSettings:
        """The quotas in force. Raises SettingsError for one that does not exist, or is out of range."""
        try:
            return msgspec.convert({**msgspec.structs.asdict(defaults), **_whole(self.quotas)}, QuotaSettings)
        except msgspec.ValidationError as error:
            raise SettingsError(f"quotas {self.quotas} refused: {error}") from error


class ClientKey(Struct, frozen=True, forbid_unknown_fields=True):
    """What a tool needs to connect over TCP: its key pair, and the server's public key."""

    public: Z85
    secret: Z85
    server: Z85


class _ServerKey(Struct, frozen=True, forbid_unknown_fields=True):
    public: Z85
    secret: Z85


def directory(home: Home) -> Path:
    """Where the files are."""
    return home.path / "keys"


def check_name(name: str) -> str:
    """The name of a principal. Raises SettingsError for what is none."""
    if not _NAME.fullmatch(name):
        raise SettingsError(f"{name!r} is no name of a principal: up to 63 of a-z, 0-9 and -, beginning with a letter")
    return name


def stamp(home: Home) -> int:
    """Changes whenever a file is added, replaced or removed; 0 while there are none."""
    try:
        return directory(home).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def read(home: Home, defaults: QuotaSettings) -> tuple[dict[str, PrincipalRecord], list[str]]:
    """All principals by name, and what is wrong with the files that cannot be used: those are left out."""
    records: dict[str, PrincipalRecord] = {}
    faults: list[str] = []
    for path in sorted(directory(home).glob("[a-z]*.json")):
        try:
            record = msgspec.json.decode(path.read_bytes(), type=PrincipalRecord)
            record.quota(defaults)
            if path.stem != LOCAL and (record.public is None) == (record.uid is None):
                raise SettingsError("a principal has either a public key or a uid")
            records[check_name(path.stem)] = record
        except FileNotFoundError:
            continue
        except (OSError, msgspec.DecodeError, SettingsError) as error:
            faults.append(f"{path} cannot be used: {error}; remove it, or write it anew with `batos keys add`")
    return records, faults


def write(home: Home, name: str, record: PrincipalRecord) -> None:
    """Add a principal, or replace it."""
    _replace(home, f"{check_name(name)}.json", record)


def remove(home: Home, name: str) -> None:
    """Remove a principal. Raises SettingsError when there is none of this name."""
    try:
        (directory(home) / f"{check_name(name)}.json").unlink()
    except FileNotFoundError:
        raise SettingsError(f"no principal {name!r}; `batos keys list` shows them") from None


def server_pair(home: Home, make: Callable[[], Pair]) -> Pair:
    """The server's key pair; at the first need `make` makes one. Raises SettingsError when its file is damaged."""
    path = directory(home) / _SERVER
    if not path.exists():
        public, secret = make()
        _replace(home, _SERVER, _ServerKey(public.decode(), secret.decode()), only_new=True)
    try:
        key = msgspec.json.decode(path.read_bytes(), type=_ServerKey)
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path} is damaged: {error}; remove it, and hand out new client keys") from error
    return key.public.encode(), key.secret.encode()


def read_client_key(path: Path) -> ClientKey:
    """The key file of a tool, as `batos keys add` wrote it. Raises SettingsError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ClientKey)
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError(f"bridge.key names {path}, which is no key file: {error}; `batos keys add NAME` writes one") from error


def write_private(path: Path, content: Any, only_new: bool = False) -> None:
    """Write a struct as JSON into a file that only its owner can read; at once or not at all. `only_new`: an existing one stays."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(content) + b"\n")
        if os.getuid() == 0:  # the service may run as another account, which has the directory
            os.fchown(file.fileno(), path.parent.stat().st_uid, path.parent.stat().st_gid)
    if only_new:
        with suppress(FileExistsError):  # another process was first; both go on with its file
            os.link(temporary, path)
        temporary.unlink()
    else:
        temporary.replace(path)


def rights_of(text: str) -> frozenset[Right]:
    """`read,send` → the rights. Raises SettingsError for one that does not exist."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    try:
        return frozenset(msgspec.convert(names, list[Right]))
    except msgspec.ValidationError as error:
        raise SettingsError(f"rights {text!r} refused: allowed are {', '.join(RIGHTS)}") from error


def _replace(home: Home, name: str, content: Any, only_new: bool = False) -> None:
    private = directory(home)
    private.mkdir(parents=True, exist_ok=True, mode=0o700)
    private.chmod(0o700)
    write_private(private / name, content, only_new)


def _whole(quotas: dict[str, float]) -> dict[str, float]:
    """JSON's numbers, of which whole ones may stand for integers."""
    return {name: int(number) if float(number).is_integer() else number for name, number in quotas.items()}

"""Which environment the service's processes start from: the one that it was set up in, or one that an upgrade made beside it.

`environment.json` in `supervision/` names the environment in force. The upgrader alone writes it, whole, at the moment when an
upgrade becomes permanent. An environment on trial is never in it: whatever starts the service anew in the middle of a trial starts
it from the last good one. Without the file, or where it no longer fits, the environment is the one that it was set up in.
Read by whoever starts the service, by the `batos` command and by the upgrader.
"""

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from deploy import durable
from deploy.home import Home

_FILE = "environment.json"
_ROOT = Path(__file__).resolve().parents[1]
_CHANGED = "BATOS_ENVIRONMENT_ENTERED"


class Interpreter(Struct, frozen=True):
    """A Python that has our packages. `path`: what must be on its PYTHONPATH for that; None leaves what there is."""

    python: str
    path: str | None = None


class EnvironmentInForce(Struct, frozen=True, forbid_unknown_fields=True):
    """An environment that an upgrade made, and which is in force now.

    `upgrade`: the number of that upgrade. `base`: the environment that the service was set up in, with `root`, where our packages lie
    there, and `base_digest`, what was installed in it then.
    """

    prefix: str
    upgrade: int
    base: str
    root: str
    base_digest: str


def this() -> Interpreter:
    """The Python of this process."""
    return Interpreter(sys.executable)


def interpreter(home: Home) -> Interpreter:
    """The Python that the service's processes start from."""
    environment = in_force(home)
    return this() if environment is None else of_prefix(Path(environment.prefix), environment.root)


def base_interpreter(home: Home) -> Interpreter:
    """The Python of the environment that the service was set up in, which an upgrade never touches."""
    environment = in_force(home)
    return this() if environment is None else Interpreter(str(python_of(Path(environment.base))), environment.root)


def of_prefix(prefix: Path, root: str) -> Interpreter:
    """The Python of an environment, with our packages from `root` unless it has installed its own."""
    return Interpreter(str(python_of(prefix)), "" if has_own(prefix) else root)


def python_of(prefix: Path) -> Path:
    """The program `python` of an environment."""
    return prefix / "bin" / "python"


def has_own(prefix: Path) -> bool:
    """Whether our packages are installed in the environment itself, not a link to a source tree."""
    return any((packages / "uvm" / "objects.py").exists() for packages in site_packages(prefix))


def site_packages(prefix: Path) -> list[Path]:
    """The directories of an environment in which packages are installed."""
    return sorted((prefix / "lib").glob("python3.*/site-packages"))


def distributions(prefix: Path) -> dict[str, str]:
    """Name → version of what is installed, by normalized names."""
    installed: dict[str, str] = {}
    for packages in site_packages(prefix):
        for information in packages.glob("*.dist-info"):
            name, version = distribution_of(information)
            installed[name] = version
    return installed


def distribution_of(information: Path) -> tuple[str, str]:
    """The normalized name and the version that a directory `….dist-info` is of."""
    name, _, version = information.name.removesuffix(".dist-info").rpartition("-")
    return normalized(name), version


def normalized(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def digest(prefix: Path) -> str:
    """What is installed in an environment, as one number: sha256 of its distributions and their versions."""
    lines = "".join(f"{name}=={version}\n" for name, version in sorted(distributions(prefix).items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def in_force(home: Home) -> EnvironmentInForce | None:
    """The environment that an upgrade put in force; None where there is none, or it no longer fits the one that it was made from."""
    try:
        environment = msgspec.json.decode((home.supervision / _FILE).read_bytes(), type=EnvironmentInForce)
    except (OSError, msgspec.DecodeError):
        return None
    fits = python_of(Path(environment.prefix)).exists() and digest(Path(environment.base)) == environment.base_digest
    return environment if fits else None


def is_outdated(home: Home) -> bool:
    """Whether an upgrade's environment is passed over, since what the service was set up in has changed after it."""
    return (home.supervision / _FILE).exists() and in_force(home) is None


def put_in_force(home: Home, prefix: Path, upgrade: int) -> None:
    """Have the service start from this environment, from the next start of each process on; the base is kept in mind."""
    before = in_force(home)
    base, root = (Path(before.base), before.root) if before else (Path(sys.prefix), str(_ROOT))
    if prefix == base:
        (home.supervision / _FILE).unlink(missing_ok=True)
        durable.sync(home.supervision)
    else:
        chosen = EnvironmentInForce(str(prefix), upgrade, str(base), root, digest(base))
        durable.replace(home.supervision / _FILE, msgspec.json.encode(chosen) + b"\n")


def prefix_in_force(home: Home) -> Path:
    """The directory of the environment in force."""
    environment = in_force(home)
    return Path(environment.prefix) if environment else Path(sys.prefix)


def base_of(home: Home) -> tuple[Path, str]:
    """The environment that the service was set up in, and where our packages lie in it."""
    environment = in_force(home)
    return (Path(environment.base), environment.root) if environment else (Path(sys.prefix), str(_ROOT))


def enter(home: Home, module: str, arguments: Sequence[str]) -> None:
    """Go on as the same command in the environment in force, where that has our packages in a version of its own; else just return."""
    environment = in_force(home)
    if environment is None or Path(sys.prefix) == Path(environment.prefix) or not has_own(Path(environment.prefix)):
        return
    if os.environ.get(_CHANGED) == environment.prefix:
        return
    python = str(python_of(Path(environment.prefix)))
    settled = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    os.execve(python, [python, "-P", "-m", module, *arguments], settled | {_CHANGED: environment.prefix})

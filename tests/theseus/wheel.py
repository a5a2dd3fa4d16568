"""A small wheel, made by the test: one module, and whatever else a case wants of it."""

import base64
import hashlib
import importlib.metadata
import zipfile
from collections.abc import Mapping
from pathlib import Path

NAME = "batos-plank"
_LOCAL = ("INSTALLER", "REQUESTED", "direct_url.json")


def make_wheel(directory: Path, version: str, files: Mapping[str, str], name: str = NAME) -> Path:
    """Write the wheel; `files`: path in site-packages → content."""
    stem = f"{name.replace('-', '_')}-{version}"
    information = f"{stem}.dist-info"
    contents = {
        **files,
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_hash(text)},{len(text.encode())}\n" for path, text in contents.items())
    wheel = directory / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
        archive.writestr(f"{information}/RECORD", f"{record}{information}/RECORD,,\n")
    return wheel


def wheel_hash(wheel: Path) -> str:
    """The hash by which a wish names it."""
    return f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


def _hash(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def repacked(name: str, directory: Path) -> Path:
    """A wheel of an installed distribution, made of its files: the same version in another archive, where no index is to be asked."""
    installed = importlib.metadata.distribution(name)
    information = next(Path(str(file)).parts[0] for file in installed.files or () if ".dist-info" in str(file))
    tags = [line.partition(": ")[2] for line in (installed.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")]
    stem = information.removesuffix(".dist-info").partition("-")
    wheel = directory / f"{stem[0]}-{installed.version}-{tags[0]}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in installed.files or ():
            path = Path(str(file))
            if (
                path.suffix == ".pyc"
                or path.is_absolute()
                or ".." in path.parts
                or path.name in ("INSTALLER", "REQUESTED", "direct_url.json")
            ):
                continue
            archive.write(Path(str(installed.locate_file(file))), path.as_posix())
    return wheel

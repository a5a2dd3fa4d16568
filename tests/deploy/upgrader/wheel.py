"""A small wheel, made by the test: one module, and whatever else a case wants of it."""

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path

NAME = "batos-plank"


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

"""Wheels, made by the test: a small one with whatever a case wants, one of what is installed, and one of BAT OS itself."""

import base64
import hashlib
import importlib.metadata
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from uvm.image.shape import SHAPE

ROOT = Path(__file__).parents[2]
NAME = "batos-plank"
_PACKAGES = ("deploy", "inference_worker", "ui_client", "uvm", "zeo_server")
_SHAPE, _MIGRATIONS = "uvm/image/shape.py", "uvm/awakening/migrations.py"
_COMMAND = "[console_scripts]\nbatos = ui_client.cli:main\n\n[vllm.general_plugins]\nbatos_lora = inference_worker.lora.plugin:register\n"
_LOCAL = ("INSTALLER", "REQUESTED", "direct_url.json")


def make_wheel(directory: Path, version: str, files: Mapping[str, str | bytes], name: str = NAME) -> Path:
    """Write the wheel; `files`: path in site-packages → content."""
    stem = f"{name.replace('-', '_')}-{version}"
    information = f"{stem}.dist-info"
    information_files = {
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    texts = {**files, **information_files}
    contents = {path: text.encode() if isinstance(text, str) else text for path, text in texts.items()}
    record = "".join(f"{path},{_hash(content)},{len(content)}\n" for path, content in contents.items())
    wheel = directory / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in contents.items():
            archive.writestr(path, content)
        archive.writestr(f"{information}/RECORD", f"{record}{information}/RECORD,,\n")
    return wheel


def wheel_hash(wheel: Path) -> str:
    """The hash by which a wish names it."""
    return f"sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


def _hash(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def own_wheel(directory: Path, version: str) -> Path:
    """BAT OS as it is here, in another version that knows one shape of the image more, with a migration to it."""
    files = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for package in _PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    files[_SHAPE] = _changed(files[_SHAPE], rf"SHAPE: Final = {SHAPE}\n", f"SHAPE: Final = {SHAPE + 1}\n")
    step = f'Migration({SHAPE + 1}, "the trial\'s own", _say_shape, _say_shape),'
    files[_MIGRATIONS] = _changed(files[_MIGRATIONS], r"_say_shape, _say_shape\),\)\n", f"_say_shape, _say_shape), {step})\n")
    return make_wheel(directory, version, {**files, f"batos-{version}.dist-info/entry_points.txt": _COMMAND}, "batos")


def _changed(content: bytes, pattern: str, by: str) -> bytes:
    changed, times = re.subn(pattern, lambda match: by, content.decode())
    assert times == 1, pattern
    return changed.encode()


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

"""The digest of a model's or adapter's directory: its identity everywhere.

It is the sha256 of the UTF-8 text made of one line per file, sorted by relative POSIX path: `<sha256 hex of content>  <path>`
and a line feed; files whose name begins with a dot are left out.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

_CHUNK = 1 << 22


def directory_digest(directory: Path) -> str:
    """The digest of `directory`, 64 hexadecimal digits; links are followed. Raises OSError when a file cannot be read."""
    files = (file for file in directory.rglob("*") if file.is_file() and not file.name.startswith("."))
    return listing_digest({file.relative_to(directory).as_posix(): file_digest(file) for file in files})


def listing_digest(digests: Mapping[str, str]) -> str:
    """The digest of a directory from those of its files, by relative POSIX path."""
    return hashlib.sha256("".join(f"{digests[path]}  {path}\n" for path in sorted(digests)).encode()).hexdigest()


def file_digest(file: Path, progress: Callable[[int], None] = lambda octets: None) -> str:
    """The sha256 of one file's content, 64 hexadecimal digits. `progress`: called with how many bytes were read so far."""
    digest, octets = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            octets += len(chunk)
            progress(octets)
    return digest.hexdigest()

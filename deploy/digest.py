"""The digest of a model's or adapter's directory: its identity everywhere.

It is the sha256 of the UTF-8 text made of one line per file, sorted by relative POSIX path: `<sha256 hex of content>  <path>`
and a line feed; files whose name begins with a dot are left out.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path


def directory_digest(directory: Path) -> str:
    """The digest of `directory`, 64 hexadecimal digits; links are followed. Raises OSError when a file cannot be read."""
    files = (file for file in directory.rglob("*") if file.is_file() and not file.name.startswith("."))
    return listing_digest({file.relative_to(directory).as_posix(): file_digest(file) for file in files})


def listing_digest(digests: Mapping[str, str]) -> str:
    """The digest of a directory from those of its files, by relative POSIX path."""
    return hashlib.sha256("".join(f"{digests[path]}  {path}\n" for path in sorted(digests)).encode()).hexdigest()


def file_digest(file: Path) -> str:
    """The sha256 of one file's content, 64 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

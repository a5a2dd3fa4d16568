"""The Codex: identity, purpose, laws and charters, and the digest that says whether the image is still itself."""

import hashlib
import json
import tomllib
from importlib.resources import files
from typing import Any

from uvm.errors import ImageError
from uvm.image.image import Image
from uvm.objects import KIND, UvmObject

PRIMORDIAL = files("uvm") / "primordial"


class CodexBroken(Exception):
    """The Codex does not have the digest with which the image was born: this is another organization."""


def charter() -> dict[str, Any]:
    """The Codex as it is written for a new image."""
    return tomllib.loads((PRIMORDIAL / "codex.toml").read_text())


def digest(content: dict[str, Any]) -> str:
    """sha256 of the canonical JSON of the content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def inscribe() -> UvmObject:
    """The Codex object of a new image."""
    content = charter()
    return UvmObject({KIND: "codex", "content": content, "digest": digest(content)})


def verify(image: Image) -> str:
    """The digest of the image's Codex. Raises CodexBroken when the content no longer has it."""
    try:
        codex = image.root["codex"]
        computed = digest(codex.own("content"))
    except (ImageError, KeyError, TypeError, ValueError) as error:
        raise CodexBroken(f"the Codex cannot be read ({type(error).__name__}: {error}); restore a backup") from error
    if computed != codex.own("digest") or computed != image.root["identity"]:
        raise CodexBroken(f"the Codex has the digest {computed}, but the image was born with {image.root['identity']}; restore a backup")
    return computed

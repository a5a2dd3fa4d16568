"""The server beyond this machine that writes the image's texts: its address, its key, and the certificates that it must show.

Read from the configuration by the inference worker before it is confined, and by `batos doctor`, which asks with `served` whether somebody
answers. The key is a secret of the owner's: it is in a file or a variable of the environment, in no error, log or record.
"""

import contextlib
import http.client
import os
import socket
import ssl
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from deploy.settings import InferenceSettings, SettingsError

_ENVIRONMENT: Final = "env:"
_LARGEST_KEY: Final = 4096
_LARGEST_LISTING: Final = 1 << 20
_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class EndpointFault(Exception):
    """Nobody answers at the address, or somebody who is no such server. The message says what was seen."""


class ServedModel(Struct, frozen=True):
    """A line of a server's list of models. `root`: what it was loaded from; `parent`: of an adapter, its model's name."""

    id: Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,512}\Z")]
    root: str | None = None
    parent: str | None = None


class ServedModels(Struct, frozen=True):
    """The answer to GET /v1/models. Other keys are ignored."""

    data: list[ServedModel] = []


class Endpoint(Struct, frozen=True):
    """Where a server is. `base`: its address without `/v1`, which is safe to show; `key`: a secret, empty for none."""

    host: str
    port: int
    base: str
    key: str = ""
    tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.base!r})"

    __str__ = __repr__

    @property
    def is_open(self) -> bool:
        """Whether the key and the prompts can be read on their way."""
        return self.tls is None and self.host not in _LOOPBACK

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def shown(self, text: str, most: int = 500) -> str:
        """What a server said, fit for an error or a log: one line, not long, without the key, which some repeat when they refuse it."""
        text = " ".join(text.split())
        if self.key:
            text = text.replace(self.key, "…")
        return text if len(text) <= most else f"{text[:most]}…"


def address(settings: InferenceSettings) -> tuple[str, int]:
    """Host and port of `inference.endpoint`, which is set. Raises SettingsError."""
    url = urlsplit(settings.endpoint)
    try:
        port = url.port or _PORTS[url.scheme]
    except ValueError as error:
        raise SettingsError(f"inference.endpoint is {settings.endpoint!r}: {error}; allowed: http(s)://HOST[:PORT][/PATH]") from error
    if not url.hostname:
        raise SettingsError(f"inference.endpoint is {settings.endpoint!r}, which names no host; allowed: http(s)://HOST[:PORT][/PATH]")
    return url.hostname, port


def endpoint(settings: InferenceSettings) -> Endpoint:
    """The server that the settings name, with its key read and its certificates loaded. Raises SettingsError."""
    host, port = address(settings)
    return Endpoint(
        host=host,
        port=port,
        base=settings.endpoint.rstrip("/").removesuffix("/v1"),
        key=_key(settings.endpoint_key),
        tls=_certificates(settings.endpoint_ca) if settings.endpoint.startswith("https:") else None,
    )


def take(settings: InferenceSettings) -> Endpoint:
    """As `endpoint`, for the process that is about to be confined: names can be looked up afterwards, and no child inherits the key."""
    server = endpoint(settings)
    if settings.endpoint_key.startswith(_ENVIRONMENT):
        os.environ.pop(settings.endpoint_key.removeprefix(_ENVIRONMENT), None)
    # The C library loads what looks names up when it does so first, which a confined process may not.
    with contextlib.suppress(OSError):
        socket.getaddrinfo(server.host, server.port)
    return server


def served(server: Endpoint, timeout_s: float) -> list[ServedModel]:
    """The models that the server lists, asked for once. Blocks. Raises EndpointFault."""
    path = urlsplit(server.base).path + "/v1/models"
    connection = (
        http.client.HTTPConnection(server.host, server.port, timeout=timeout_s)
        if server.tls is None
        else http.client.HTTPSConnection(server.host, server.port, timeout=timeout_s, context=server.tls)
    )
    try:
        connection.request("GET", path, headers=server.headers)
        answer = connection.getresponse()
        body = answer.read(_LARGEST_LISTING)
    except (OSError, http.client.HTTPException) as error:
        raise EndpointFault(f"{server.base} does not answer: {server.shown(str(error) or type(error).__name__)}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise EndpointFault(f"{server.base}/v1/models answers {answer.status}: {server.shown(body.decode(errors='replace'), 200)}")
    return models(server, body)


def models(server: Endpoint, body: bytes) -> list[ServedModel]:
    """A server's list of models. Raises EndpointFault when it is none."""
    try:
        return msgspec.json.decode(body, type=ServedModels).data
    except msgspec.DecodeError as error:
        raise EndpointFault(f"{server.base}/v1/models answers with what is no list of models: {error}") from error


def choose(listed: list[ServedModel], named: str, digest: str) -> str:
    """The name under which the server is asked for the image's model `digest`.

    That is `named` (inference.endpoint_model); without it the digest, where the server has that name; else its only model. Raises
    EndpointFault when that leaves none, or a choice.
    """
    bases = [model for model in listed if not model.parent]
    names = [model.id for model in bases]
    if named:
        if named in names:
            return named
        raise EndpointFault(f"it serves {_listing(names)}, and no {named!r}; set inference.endpoint_model to one of these")
    if digest in names:
        return digest
    # Several names of one model are one.
    if names and (len(names) == 1 or len({model.root for model in bases} - {None}) == 1):
        return names[0]
    raise EndpointFault(f"it serves {_listing(names)}; name one of these in inference.endpoint_model")


def is_same(listed: list[ServedModel], name: str, digest: str) -> bool:
    """Whether the server says that its model `name` is the image's `digest`: they are two names of one."""
    roots = {model.id: model.root for model in listed if not model.parent}
    return digest in roots and (name == digest or (roots[digest] is not None and roots[digest] == roots.get(name)))


def _listing(names: list[str]) -> str:
    return ", ".join(name[:80] for name in names[:10]) or "no model"


def _key(source: str) -> str:
    if not source:
        return ""
    if source.startswith(_ENVIRONMENT):
        name = source.removeprefix(_ENVIRONMENT)
        key = os.environ.get(name, "")
        where = f"the variable {name}"
    else:
        key, where = _key_in_file(Path(source)), source
    key = key.strip()
    if not key or len(key) > _LARGEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(f"inference.endpoint_key: {where} holds no key; allowed: one line of printable ASCII without blanks")
    return key


def _key_in_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise SettingsError(f"inference.endpoint_key: others may read {path}; chmod 600 {path}")
            return file.read(_LARGEST_KEY + 1).decode("ascii", errors="replace")
    except OSError as error:
        raise SettingsError(f"inference.endpoint_key: {path} cannot be read: {error.strerror}") from error


def _certificates(file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file or None)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"inference.endpoint_ca: {file} is no file of PEM certificates: {error}") from error

"""What the image's server may unpickle: the classes a record may name, and plain data. Nothing else, from anybody.

Whoever reaches the server's socket, or could once write to its files, otherwise chooses what it imports and calls.
The ways in, in ZEO 6.2 and ZODB 6.4, and how each is closed:

- messages: a client may answer the handshake with the pickle protocol although the server announced MessagePack
  (`BoundedProtocol` in `zeo_server.connection` hangs up);
- conflict resolution unpickles both sides' records (`ZODB.ConflictResolution.find_global`), where they are `zeo_server.resolvable`;
- the extension of a transaction is the client's bytes, unpickled by undoLog, history and iteration (`loads`);
- the commit log, the index beside the image, metadata of records and references for the packer use the two libraries'
  `Unpickler` without a `find_global` of their own.

`close_unpicklers` is called by the entry points of this package, before a storage is opened, and holds for the process.
"""

import importlib
import io
from typing import Any

import structlog
import ZEO._compat
import ZODB._compat
import ZODB.ConflictResolution
import ZODB.Connection
from zodbpickle import binary
from zodbpickle.pickle import UnpicklingError

import uvm.objects


def _octets(value: bytes = b"") -> bytes:
    # `bytes` itself makes as many as a number says.
    if type(value) is not bytes:
        raise UnpicklingError(f"bytes of a {type(value).__name__}, which no pickle of bytes has")
    return value


def _binary(value: bytes = b"") -> Any:
    return binary(_octets(value))


# What pickles of plain data name: sets have no opcode in protocol 3, bytes none below it.
_PLAIN: dict[tuple[str, str], Any] = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "bytes"): _octets,
    ("__builtin__", "set"): set,
    ("__builtin__", "frozenset"): frozenset,
    ("__builtin__", "bytes"): _octets,
    ("zodbpickle", "binary"): _binary,
}


_USERS_OF_LOADS = ("ZODB._compat", "ZODB.Connection", "ZODB.FileStorage.FileStorage", "ZODB.fstools")


class ForeignClass(UnpicklingError):
    """A pickle names a class that no record may name."""

    def __init__(self, module: str, name: str) -> None:
        super().__init__(f"{module}.{name} is no class that the image stores")
        self.module = module
        self.name = name


def stored_class(module: str, name: str) -> Any:
    """The class that a record names. Imports nothing but the modules that records may name. Raises ForeignClass."""
    if (module, name) in _PLAIN:
        return _PLAIN[module, name]
    if name not in uvm.objects.STORED.get(module, ()):
        raise ForeignClass(module, name)
    return getattr(__import__(module, fromlist=[name]), name)


def close_unpicklers() -> None:
    """Replace every way in that the module's docstring names, in this process. To be called before storages open."""
    ZODB.ConflictResolution.find_global = _for_resolution
    for unpickler in (ZODB._compat.Unpickler, ZEO._compat.Unpickler):
        unpickler.find_class = _find_class
    for name in _USERS_OF_LOADS:
        # Not by attribute: `ZODB.FileStorage.FileStorage` is the class there, and only here the module.
        vars(importlib.import_module(name))["loads"] = _plain_loads


def _find_class(unpickler: Any, module: str, name: str) -> Any:
    if unpickler.find_global is not None:
        return unpickler.find_global(module, name)
    return _plain_class(module, name)


def _plain_class(module: str, name: str) -> Any:
    if (module, name) == ("_codecs", "encode"):
        return _latin_bytes
    if (module, name) not in _PLAIN:
        structlog.get_logger().error("a pickle of plain data names a class, refused", module=module, name=name)
        raise ForeignClass(module, name)
    return _PLAIN[module, name]


def _latin_bytes(text: str, encoding: str) -> bytes:
    # How protocols below 3 write bytes; the real function would also run codecs that unpack or look up by name.
    if encoding != "latin1":
        raise ForeignClass("_codecs", f"encode to {encoding}")
    return text.encode("latin1")


def _for_resolution(module: Any, name: Any) -> Any:
    try:
        return stored_class(module, name)
    except ForeignClass:
        # What ZODB itself does for a class that cannot be imported: good enough inside a reference, never called.
        return ZODB.ConflictResolution.BadClass(module, name)


def _plain_loads(data: bytes) -> Any:
    return ZODB._compat.Unpickler(io.BytesIO(data)).load()

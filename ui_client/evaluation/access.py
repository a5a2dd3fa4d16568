"""What an evaluation asks of an image, and what counts as the image's answer. `Client` is such an access; tests have one of their own."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from ui_client.client.errors import ClientError, RemoteError
from uvm.protocol import Bundle, Example, ObjectState, Reference

OUTSIDE: Final = frozenset(
    {
        "Cancelled", "Contention", "GenerationBusy", "GenerationOff", "ImageAway", "ImageFull", "InternalError", "KernelFault", "NoModel",
        "NoSuchAdapter", "NoSuchModel", "NoSuchUvm", "OutcomeUnknown", "Poisoned", "QuotaExceeded", "Revoked", "UnfitAdapter",
    }
)  # fmt: skip
"""Errors that say nothing of what was asked: the service, the machine or a quota is in the way."""


class ImageAccess(Protocol):
    """One connection, used by one thread at a time. Every call has a deadline and raises ClientError."""

    def send(
        self,
        target: Reference | str,
        selector: str,
        /,
        *args: Any,
        deadline: float | None = None,
        examples: Iterable[Example | Mapping[str, Any]] = (),
        keywords: Mapping[str, Any] | None = None,
    ) -> Any: ...

    def preview(
        self,
        target: Reference | str,
        selector: str,
        /,
        *args: Any,
        deadline: float | None = None,
        keywords: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]: ...

    def create_method(self, target: Reference | str, selector: str, source: str, *, policy: bool = False) -> Any: ...

    def import_objects(self, bundle: Bundle) -> dict[str, Any]: ...

    def inspect(self, target: Reference | str) -> ObjectState: ...

    def read(self, target: Reference | str, *path: str | int) -> Any: ...

    def release(self, references: Iterable[Reference | str]) -> Any: ...


def outside(error: ClientError, drafted: bool) -> bool:
    """Whether an error lies outside of what is measured. `drafted`: something was written for the message, so that it is about that."""
    if not isinstance(error, RemoteError):
        return True
    if error.type in ("DeadlineExceeded", "Refused"):  # nothing was written: the engine was away, or too slow
        return not drafted
    return error.type in OUTSIDE

"""One request of one client while it is here. The worker's event loop owns it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from inference_worker.errors import InferenceFailure
from inference_worker.protocol import Request
from inference_worker.tiers.events import Key, Tier


@dataclass(eq=False)
class PendingRequest:
    """`arrived`: seconds of the loop's clock; `send` takes a message for its client; `ended_by` says why its task was cancelled.

    `turn` is what it waits for: that the scheduler admits it, and says where its adapter was when it arrived.
    `is_running`: it was admitted and is in the engine; `first_token`: when its first text came, in the engine that counts.
    """

    client: bytes
    request: Request
    arrived: float
    send: Callable[[msgspec.Struct], None]
    task: asyncio.Task[None] | None = None
    turn: asyncio.Future[Tier | None] | None = None
    is_running: bool = False
    first_token: float | None = None
    ended_by: InferenceFailure | None = None

    @property
    def key(self) -> Key:
        return self.client, self.request.id

    def end(self, reason: InferenceFailure) -> None:
        """Cancel it, whatever it does; its client is answered with `reason`."""
        if self.task is not None and self.ended_by is None:
            self.ended_by = reason
            # Soon, not now: a task that is cancelled before its first step never answers.
            asyncio.get_running_loop().call_soon(self.task.cancel)

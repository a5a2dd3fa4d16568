"""How vLLM's processes wait for each other on a CPU: asleep, not spinning.

The core hands each step to the process that holds the model through shared memory, and spins on it until the answer is
there; so does the model's process between steps, for a second. On a GPU these are processors with nothing else to do. Here
they are the ones that compute the model: on two of them, one thread of the model's two waits for the spinning core to be
scheduled away, for up to 0.1 s. plugin.py puts the class below in the place of vLLM's, in both processes.

A notification can be lost: the socket that carries them has room for one, and learns only after a while that it is empty
again. vLLM's spinning makes up for that. So for as long as vLLM would spin, a reader looks at the buffer after each
short nap as well.
"""

import time
from typing import Any

from vllm.distributed.device_communicators.shm_broadcast import SpinCondition

SPIN_S = 0.0002
"""How long a reader spins after it has read something, seconds: an answer that takes no computing is there by then."""

ALERT_S = 1.0
"""How long after that it naps, seconds; later it sleeps, as vLLM's does."""

_NAP_MS = 1


class PatientCondition(SpinCondition):
    """SpinCondition that spins for `SPIN_S` after a read, then naps, and sleeps when nothing has come for `ALERT_S`."""

    def __init__(self, is_reader: bool, *arguments: Any, **options: Any) -> None:
        super().__init__(is_reader, *arguments, **options)
        if is_reader:
            self.busy_loop_s = SPIN_S

    def wait(self, timeout_ms: int | None = None) -> None:
        is_alert = time.monotonic() < self.last_read + ALERT_S
        super().wait(_NAP_MS if is_alert and (timeout_ms is None or timeout_ms > _NAP_MS) else timeout_ms)

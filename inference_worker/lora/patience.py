"""How vLLM's processes wait for each other on a CPU: asleep, not spinning.

The core hands each step to the process that holds the model through shared memory, and spins on it until the answer is
there; so does the model's process between steps, for a second. On a GPU these are processors with nothing else to do. Here
they are the ones that compute the model: on two of them, one thread of the model's two waits for the spinning core to be
scheduled away, for up to 0.1 s. plugin.py puts the class below in the place of vLLM's, in both processes.
"""

from typing import Any

from vllm.distributed.device_communicators.shm_broadcast import SpinCondition

SPIN_S = 0.0002
"""How long a reader spins after it has read something, seconds: an answer that takes no computing is there by then."""

# A notification may be lost while sockets connect; the buffer is looked at again after this.
_NAP_MS = 1000


class PatientCondition(SpinCondition):
    """SpinCondition that spins for `SPIN_S` after a read, and then sleeps until it is notified."""

    def __init__(self, is_reader: bool, *arguments: Any, **options: Any) -> None:
        super().__init__(is_reader, *arguments, **options)
        if is_reader:
            self.busy_loop_s = SPIN_S

    def wait(self, timeout_ms: int | None = None) -> None:
        super().wait(_NAP_MS if timeout_ms is None else min(timeout_ms, _NAP_MS))

"""The entry point `vllm.general_plugins`: vLLM calls `register` in each of its processes.

It does nothing unless `$BATOS_LORA` says `auto` or `python`, so that another user of the same installation of vLLM is not
touched, and nothing where the model is not on a CPU.
"""

import os

OPERATIONS = "inference_worker.lora.punica.GroupedLoRA"


def register() -> None:
    """Have vLLM take our LoRA operations in place of its own, and its processes wait without spinning."""
    if os.environ.get("BATOS_LORA", "stock") == "stock":
        return
    from vllm.distributed.device_communicators import shm_broadcast
    from vllm.platforms import current_platform
    from vllm.platforms.cpu import CpuPlatform

    from inference_worker.engine.idle_wait import PatientCondition

    if current_platform.is_cpu():
        CpuPlatform.get_punica_wrapper = classmethod(lambda cls: OPERATIONS)
        shm_broadcast.SpinCondition = PatientCondition

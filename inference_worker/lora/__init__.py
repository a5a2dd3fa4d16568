"""LoRA operations on a processor, in place of vLLM's own.

`plugin` is where vLLM finds them; read `punica`, `modules`, `rows`, `kernel` and `kernel.c`.
"""

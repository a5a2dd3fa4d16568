"""The garbage collector's pauses: called once in each of the engine's processes that are ours to reach, when all is loaded."""

import gc


def settle() -> None:
    """Take what is there by now out of the collector's sight, for good.

    torch and vLLM are about a million objects, and to look through them stops a process for some 0.1 s, again and again while it
    serves. vLLM does the same in its core, and in its workers on a GPU.
    """
    gc.collect()
    gc.freeze()

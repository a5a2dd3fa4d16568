"""What a question waits for before the model has begun to write, in words for who waits. Pure, of what `uvm.inference.client` has heard."""

from typing import Final

from uvm.inference.balancer import Worker

PATIENCE_S: Final = 2.0
"""A worker says how it is once a second: after so long without a word of it, that is what there is to say, seconds."""


def why_nothing_yet(worker: Worker, now: float, asked_for_s: float) -> str:
    """Why the worker writes nothing for a question that it was asked `asked_for_s` seconds ago; empty where there is nothing to say."""
    health = worker.health
    if health is None or worker.silent(now):
        quiet_s = asked_for_s if health is None else now - worker.heard_at
        return f"the inference worker does not answer, {quiet_s:.0f} s so far" if quiet_s >= PATIENCE_S else ""
    if health.engine == "starting":
        so_far = f"the engine is starting, {health.starting_s + now - worker.heard_at:.0f} s so far"
        return f"{so_far}; {health.step}" if health.step else so_far
    if health.engine == "failed":
        return f"the engine failed: {health.detail}"
    return ""

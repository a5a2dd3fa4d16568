"""The whole loop on a real service with the real model: `python -m tests.autotelic`, which is `make autotelic`. Hours of two cores.

A throwaway image whose heartbeat beats every few seconds and whose policy trains. For each of some gaps it is sent messages that belong
together, until the loop has ordered an adapter, had it examined, and judged it; then the verdict is printed with what was gained and lost,
wall time, and processor time. After the last gap it beats on for two minutes without a new one. Exit status 0: every gap was closed and no
slice was accepted as worse.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from deploy import settings
from inference_worker.forge.items import words_of
from inference_worker.forge.suites import suite
from ui_client import report
from ui_client.client.client import Client
from ui_client.client.errors import ClientError
from ui_client.commands import autotelic
from ui_client.connection import connect
from ui_client.evaluation.throwaway import throwaway
from ui_client.steps import Steps

GAPS = ("total", "highest", "average")
"""A word of each gap's selectors."""
_DRAWN = 3000


def messages(word: str, seed: int) -> Iterator[dict[str, Any]]:
    """Tasks of program shapes that training never had, with that word in their selectors; without objects beside the receiver."""
    for line in suite("composed", seed, _DRAWN):
        if word in words_of(line["selector"]) and "others" not in line:
            yield line


def use(client: Client, word: str, seed: int, count: int) -> int:
    """Send that many messages; how many were not answered."""
    refused = 0
    for _, line in zip(range(count), messages(word, seed), strict=False):
        target = client.send("genesis_obj", "clone")
        for slot, value in line["slots"].items():
            client.send(target, "setSlot_value_", slot, value)
        try:
            client.send(target, line["selector"], *line.get("args", []), deadline=300.0, keywords=line.get("kwargs", {}))
        except ClientError as error:
            refused += 1
            sys.stderr.write(f"  {line['selector']}: {error}\n")
    return refused


def stagnate(client: Client, count: int = 60) -> None:
    """Do the same thing again and again: what changes nothing is not counted."""
    target = client.send("genesis_obj", "clone")
    for number in range(count):
        client.send(target, "setSlot_value_", "round", number)


def round_after(client: Client, known: int, deadline: float) -> dict[str, Any] | None:
    """The round that begins after so many, when the gate has spoken; None where it takes too long."""
    while time.monotonic() < deadline:
        rounds = client.send(autotelic.LOOP, "rounds")
        if len(rounds) > known:
            row = autotelic.told(client, rounds[-1])
            if row["verdict"] is not None and row["phase"] != "shadow":
                return row
        with suppress(ClientError):
            stagnate(client)
        time.sleep(5)
    return None


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.autotelic", description="some gaps in a row, each found, trained for and judged")
    parser.add_argument("--gaps", nargs="*", default=GAPS, help="a word of each gap's selectors")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--messages", type=int, default=24, help="messages of each gap")
    parser.add_argument("--steps", type=int, default=120, help="of training")
    parser.add_argument("--tasks", type=int, default=340, help="held-out tasks of each slice")
    parser.add_argument("--margin", type=float, default=0.1, help="what must be gained; a larger one needs fewer tasks to be seen")
    parser.add_argument("--misses", type=int, default=5, help="weight of the evidence that is worth an inquiry")
    parser.add_argument("--hours", type=float, default=3.0, help="longest wait for one gap's verdict")
    options = parser.parse_args()
    overlay = {"heartbeat.interval_s": 5, "forge.process": "true"}
    closed = 0
    with throwaway(settings.load(), overlay, Steps(report.err)) as own, connect(own) as client:
        policy = {"enabled": True, "beats": 2, "rest_s": 0, "orders_a_day": 99, "cpu_s_a_day": 1e6, "probation": 10}
        # Nobody sends anything new while a candidate is in its shadow: it goes on with too few messages.
        policy |= {"margin": options.margin, "misses": options.misses, "shadow": 5, "shadow_s": 120}
        policy |= {"stagnant": 0.6, "lively": 0.7, "steps": options.steps, "tasks": options.tasks}
        client.send(autotelic.LOOP, "setSlot_value_", "policy", policy)
        for number, word in enumerate([*options.gaps, ""]):
            known, began = len(client.send(autotelic.LOOP, "rounds")), time.monotonic()
            if word:
                refused = use(client, word, options.seed + number, options.messages)
                sys.stdout.write(f"{word}: {refused} of {options.messages} messages were not answered\n")
            row = round_after(client, known, began + (options.hours * 3600 if word else 120))
            if row is None:
                sys.stdout.write(f"{word or 'without a gap'}: no order; {client.send(autotelic.LOOP, 'last')['reason']}\n")
                closed += not word
                continue
            for line in autotelic.told_of(row):
                sys.stdout.write(f"  {line}\n")
            gained = row["report"]["slices"].get("gap", {"gained": 0, "lost": 0})
            rate = (gained["gained"] - gained["lost"]) / max(0.1, row["cpu_s"] / 60)
            sys.stdout.write(f"  {time.monotonic() - began:.0f} s, {row['cpu_s']:.0f} CPU s, {rate:.2f} tasks gained a CPU minute\n")
            closed += row["verdict"]["fate"] == "accepted"
    return 0 if closed == len(options.gaps) + 1 else 1


if __name__ == "__main__":
    sys.exit(main())

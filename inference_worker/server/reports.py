"""`python -m inference_worker.server.reports`: where a running worker's adapters are, and how its tiers do.

A client of the worker's socket; `batos adapters` starts it with its own streams. The answer is the protocol's `Adapters`, as tables or,
with `--json`, as it is. Exit status: 0 done, 1 it could not be done, 2 wrong usage.
"""

import argparse
import secrets
import sys
from collections.abc import Sequence

import msgspec
import zmq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy import settings
from inference_worker import console as results
from inference_worker import protocol
from inference_worker.console import seconds, size
from inference_worker.protocol import Adapters, AskAdapters

_FIRST_WORD_S = 2.0
_STYLES = {"hot": "green", "warm": "yellow", "quarantined": "red"}


class NoAnswer(Exception):
    """The worker did not answer in time, or not with what was asked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask once and print; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        endpoint = options.endpoint or settings.load().inference_endpoint
        answer = ask(endpoint, options.limit, options.timeout)
    except (NoAnswer, settings.SettingsError, zmq.ZMQError) as error:
        return results.failure(error, "`batos status` says whether the worker runs; `batos up` starts it", options.json)
    if options.json:
        return results.result(answer)
    console = results.console()
    _print(console, answer)
    return results.DONE


def ask(endpoint: str, limit: int, timeout_s: float) -> Adapters:
    """The worker's answer, which lists up to `limit` adapters. Raises NoAnswer, zmq.ZMQError (no address)."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(endpoint)
        socket.send(protocol.encode(AskAdapters(id=secrets.token_hex(4), limit=limit)))
        first = min(_FIRST_WORD_S, timeout_s)
        if not socket.poll(int(first * 1000)):
            sys.stderr.write(f"waiting for the inference worker at {endpoint} …\n")
            if not socket.poll(int((timeout_s - first) * 1000)):
                raise NoAnswer(f"no answer from {endpoint} within {timeout_s:g} s")
        try:
            answer = protocol.decode_answer(socket.recv())
        except msgspec.DecodeError as error:
            raise NoAnswer(f"{endpoint} answered with what is no message of the protocol: {error}") from error
    if not isinstance(answer, Adapters):
        raise NoAnswer(f"{endpoint} answered {answer}, not Adapters")
    return answer


def _print(console: Console, answer: Adapters) -> None:
    tiers = Table("tier", box=None, pad_edge=False, header_style="bold")
    for heading in ("adapters", "bytes", "of", "found", "entered", "evicted", "time to enter"):
        tiers.add_column(heading, justify="right")
    for tier in answer.tiers:
        name = Text(tier.name, _STYLES.get(tier.name, ""))
        occupancy = [f"{tier.adapters:,}", size(tier.used), size(tier.budget) if tier.budget else ""]
        moved = [f"{number:,}" for number in (tier.found, tier.entered, tier.left)]
        tiers.add_row(name, *occupancy, *moved, seconds(tier.move_s) if tier.move_s else "")
    console.print(tiers)
    waits = ", ".join(f"{name} {seconds(value)}" for name, value in answer.waits.items())
    quarantined = f", {answer.quarantined:,} quarantined" if answer.quarantined else ""
    console.print(Text(f"{answer.registered:,} registered{quarantined}; policy {answer.policy}; wait for admission: {waits or 'none yet'}"))
    if answer.prefetched:
        console.print(Text(f"{answer.prefetched:,} moves begun before anybody asked, {answer.prefetched_used:,} of them used"))
    if not answer.adapters:
        return
    adapters = Table("adapter", "tier", box=None, pad_edge=False, header_style="bold")
    for heading in ("bytes", "rank", "uses", "cold to hot", "idle"):
        adapters.add_column(heading, justify="right")
    adapters.add_column("")
    for adapter in answer.adapters:
        idle = "never used" if adapter.idle_s < 0 else seconds(adapter.idle_s)
        load = seconds(adapter.load_s) if adapter.load_s else ""
        numbers = [size(adapter.size), str(adapter.rank or ""), f"{adapter.uses:,}", load, idle]
        adapters.add_row(Text(adapter.adapter[:16]), Text(adapter.tier, _STYLES.get(adapter.tier, "")), *numbers, Text(adapter.detail))
    console.print()
    console.print(adapters)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inference_worker.server.reports", description="Where the worker's adapters are, and how its tiers do."
    )
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="adapters listed, the most recently used first (default: 20)")
    parser.add_argument("--endpoint", default="", metavar="ADDRESS", help="of the worker (default: the one in the settings)")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds to wait for the answer (default: 10)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())

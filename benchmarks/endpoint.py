"""Texts from vLLM's HTTP server, through `inference.endpoint`, beside the same vLLM embedded in the worker.

`python benchmarks/endpoint.py [--rounds N]`, from the repository's root; needs the development lock. Both have the default model in the
same settings and are up at once, but only one of them is asked at a time, in turns, so that what the machine does besides meets both.
Prints a table: median and range of the first token of one stream, and of the tokens per second of one and of eight. Takes about four
minutes on two cores, most of it both starts.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from inference_worker.protocol import Completed
from tests.inference_worker import files
from tests.inference_worker.conftest import LONG, Scene, endpoint_scene, real_scene
from tests.inference_worker.vllm_server import running_server
from tests.model import converted_model

_TOKENS = 64
_STREAMS = 8
_ROWS = ("base", "adapter")


class Figures:
    """What one contestant did, by row: seconds to the first token, tokens per second of one stream and of eight."""

    def __init__(self) -> None:
        self.first_s: list[float] = []
        self.alone: list[float] = []
        self.together: list[float] = []

    def add(self, scene: Scene, adapter: str | None) -> None:
        """One round: a stream by itself, then eight."""
        answer, _ = _ask(scene, adapter, 1)
        self.first_s.append(answer.first_token_s)
        self.alone.append((_TOKENS - 1) / (answer.queued_s + answer.engine_s - answer.first_token_s))
        _, seconds = _ask(scene, adapter, _STREAMS)
        self.together.append(_STREAMS * _TOKENS / seconds)


def main() -> int:
    """Measure and print. Exit status 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contestant (default 5)")
    rounds = parser.parse_args().rounds
    digest = files.read(converted_model()).digest
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        with running_server(home / "server", converted_model(), [digest]) as server:
            for embedded in real_scene(home / "embedded"):
                for elsewhere in endpoint_scene(home / "endpoint", server):
                    _print(_measure({"embedded": embedded, "endpoint": elsewhere}, rounds))
    return 0


def _measure(scenes: dict[str, Scene], rounds: int) -> dict[tuple[str, str], Figures]:
    figures = {(row, name): Figures() for row in _ROWS for name in scenes}
    for scene in scenes.values():
        for adapter in (None, scene.adapters[0]):
            _ask(scene, adapter, _STREAMS)
    for done in range(rounds):
        sys.stderr.write(f"round {done + 1} of {rounds}\n")
        for row in _ROWS:
            for name, scene in scenes.items():
                figures[row, name].add(scene, scene.adapters[0] if row == "adapter" else None)
    return figures


def _ask(scene: Scene, adapter: str | None, streams: int) -> tuple[Completed, float]:
    """The last answer of so many requests at once, and the seconds that all took."""
    began = time.perf_counter()
    names = [scene.client.start(scene.model, LONG, adapter=adapter, max_tokens=_TOKENS, stream=True) for _ in range(streams)]
    for name in names:
        answer, _ = scene.client.finish(name)
        if not isinstance(answer, Completed):
            raise RuntimeError(f"{answer} came for an answer")
    return answer, time.perf_counter() - began


def _print(figures: dict[tuple[str, str], Figures]) -> None:
    table = Table(title=f"{_TOKENS} tokens, greedy", box=None)
    for heading in ("", "", "first token, ms", "tokens/s, 1 stream", f"tokens/s, {_STREAMS} streams"):
        table.add_column(heading)
    for (row, name), measured in figures.items():
        table.add_row(row, name, _shown(measured.first_s, 1000), _shown(measured.alone), _shown(measured.together))
    Console(width=120).print(table)


def _shown(values: list[float], factor: float = 1.0) -> str:
    return f"{statistics.median(values) * factor:.1f} ({min(values) * factor:.1f} to {max(values) * factor:.1f})"


if __name__ == "__main__":
    sys.exit(main())

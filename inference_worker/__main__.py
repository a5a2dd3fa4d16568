"""`python -m inference_worker`: the inference worker as a process.

`--engine fake --script FILE` answers by rules instead of a model (see fake_engine.py); the default is vLLM here, or the server that
`inference.endpoint` names. `--trace FILE` appends
what each request asked for and got, one line each, for `batos simulate` (see simulator/trace.py).
"""

import argparse
import asyncio
import contextlib
import fcntl
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from deploy import confinement, endpoint, logs, metrics, process, profiles, settings
from deploy.data_type import on_cpu
from inference_worker.engine.engine import Engine
from inference_worker.engine.fake_engine import FakeEngine, read_script
from inference_worker.engine.vllm_engine import VllmEngine
from inference_worker.errors import LibrariesFailed
from inference_worker.server.server import InferenceServer


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Exit status 0 after an orderly end, 2 when the configuration cannot be used, 3 when the engine's
    libraries did not load, which only another process can try again."""
    options = _parse(arguments)
    with contextlib.ExitStack() as resources:
        try:
            configuration = settings.load()
            make = _maker(options, configuration)
            configuration.home.ensure()
            configuration.home.ensure_scratch()
            resources.enter_context(_alone(configuration.home.inference_run))
            trace = resources.enter_context(options.trace.open("ab")) if options.trace is not None else None
        except (settings.SettingsError, msgspec.DecodeError, OSError) as error:
            sys.stderr.write(f"inference worker: {error}\n")
            return 2
        log = logs.start("inference", configuration.settings.logs.level)
        stop = resources.enter_context(process.Stop())
        exporter = metrics.listen("inference", configuration.settings.metrics.base_port, 2, configuration.home.run)
        _confine(configuration)
        exporter.start()
        worker = InferenceServer(configuration.home, configuration.settings.inference, make, trace)
        try:
            asyncio.run(_serve(worker, configuration.inference_endpoint, stop))
        except LibrariesFailed as error:
            log.error("inference worker ends, to be started anew", reason=str(error))
            return 3
        log.info("inference worker ended")
    return 0


async def _serve(worker: InferenceServer, address: str, stop: process.Stop) -> None:
    requested = asyncio.Event()
    asyncio.get_running_loop().add_reader(stop.fileno(), requested.set)
    try:
        await worker.serve(address, requested)
    finally:
        asyncio.get_running_loop().remove_reader(stop.fileno())


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m inference_worker", description="the inference worker of BAT OS")
    parser.add_argument("--engine", choices=("model", "fake"), default="model", help="what writes the text (default: the model)")
    parser.add_argument("--script", type=Path, help="the fake engine's rules, a JSON file")
    parser.add_argument("--trace", type=Path, help="append one line per finished request to this file")
    options = parser.parse_args(arguments)
    if (options.engine == "fake") != (options.script is not None):
        parser.error("--engine fake and --script FILE go together")
    return options


def _maker(options: argparse.Namespace, configuration: settings.Configuration) -> Callable[[], Engine]:
    inference = configuration.settings.inference
    if options.engine == "fake":
        script = read_script(options.script)
        return lambda: FakeEngine(script)
    if inference.endpoint:
        # A quarter of a second of imports that no other engine needs.
        from inference_worker.engine.endpoint_engine import EndpointEngine

        server = endpoint.take(inference)
        return lambda: EndpointEngine(server, inference, configuration.home)
    if inference.lora == "stock" and on_cpu():
        raise settings.SettingsError(
            "inference.lora is 'stock': on a CPU vLLM's own operations answer requests without an adapter with that of another request; "
            "the worker serves with 'auto' or 'python', and only the benchmarks measure 'stock'"
        )
    return lambda: VllmEngine(inference, configuration.home)


def _confine(configuration: settings.Configuration) -> None:
    """The engine's processes come after, and so are confined as well; what they write for a while goes to the scratch directory."""
    home = configuration.home
    for directory in (home.path / "cache", home.path / "tmp"):
        directory.mkdir(exist_ok=True)
    # Whatever the environment says: nothing outside the home can be written.
    os.environ["XDG_CACHE_HOME"] = str(home.path / "cache")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(home.path / "cache" / "torchinductor")
    tempfile.tempdir = os.environ["TMPDIR"] = str(home.scratch)
    confinement.enter("inference", profiles.inference_profile(configuration), home.run)


@contextlib.contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Hold the worker's lock: a second one would silently take the first one's socket. Raises BlockingIOError."""
    with (run / "inference.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"another inference worker runs on {run}; stop it first") from error
        yield


if __name__ == "__main__":
    sys.exit(main())

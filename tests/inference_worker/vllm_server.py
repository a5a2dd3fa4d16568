"""vLLM's own HTTP server, for what an endpoint must do with the real thing: one a session, on loopback.

`vllm serve` is this module's entry; with the build for processors the command itself does not start, since it asks for the version of a
package named `vllm`.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.process import die_with_parent
from inference_worker.engine.vllm_arguments import engine_environment
from tests.inference_worker.service import ROOT

KEY = "a-key-that-nobody-may-see"
_START_S = 240.0


@dataclass
class ModelServer:
    """A server that runs. `process` is its own session's leader."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def metric(self, name: str) -> float:
        """A number of its own, such as `vllm:num_requests_running`."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}{{"))

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def running_server(directory: Path, model: Path, names: list[str]) -> Iterator[ModelServer]:
    """The server of `model` under these names, as the embedded engine of the tests is set up. Takes tens of seconds to start."""
    directory.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "model": model,
        "host": "127.0.0.1",
        "port": port,
        "dtype": "float32",
        "max-model-len": 1024,
        "max-num-seqs": 16,
        "kv-cache-memory-bytes": 2**28,
        "max-loras": 2,
        "max-cpu-loras": 8,
        "max-lora-rank": 16,
        "scheduling-policy": "priority",
        "structured-outputs-config": '{"backend": "xgrammar"}',
    }
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BATOS_")}
    environment |= engine_environment(environment, kernels=directory / "kernels")
    environment |= {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_API_KEY": KEY, "PYTHONPATH": str(ROOT)}
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", "-m", "vllm.entrypoints.openai.api_server", "--enable-lora", "--enforce-eager"),
                *(*arguments, "--served-model-name", *names),
            ],
            cwd=directory,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        server = ModelServer(f"http://127.0.0.1:{port}", process, log)
        try:
            until = time.monotonic() + _START_S
            while not server.is_up():
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"vLLM's server does not start: {log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.2)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)

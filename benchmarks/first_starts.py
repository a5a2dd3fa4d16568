"""First starts of new homes, several at a time, under load: how many came up whole. `python benchmarks/first_starts.py [HOMES] [AT ONCE]`.

Each home gets an image's server, two clients that wait for the awakening as UVMs and the heartbeat do, and two awakenings at once, all
started together, while every core is kept busy. A home is well when the server lives, an awakening made the image and the other found it,
and the check of its files finds nothing.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.settings import Home
from uvm.awakening.rewind import look

LIMIT_S = 180
WAITS = """
from deploy.process import Stop
from deploy.settings import load
from uvm.startup import wait_for_files, wait_until_awake
from uvm.image.client import open_image
stop, configuration = Stop(), load()
assert wait_for_files(configuration, stop)
image = open_image(configuration, 60.0)
assert wait_until_awake(image, stop)
image.close()
"""


def start(number: int, root: Path) -> str:
    """Start one home; what was wrong with it, or nothing."""
    home = Home(root / f"home-{number}")
    home.ensure()
    environment = {**os.environ, "BATOS_HOME": str(home.path), "BATOS_METRICS_BASE_PORT": "0"}
    log = (home.path / "starts.log").open("wb")

    def run(*arguments: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, *arguments], env=environment, stdout=log, stderr=log)

    server = run("-m", "zeo_server")
    others = [run("-c", WAITS), run("-c", WAITS), run("-m", "uvm.awakening"), run("-m", "uvm.awakening")]
    try:
        failed = [process.args for process in others if process.wait(LIMIT_S) != 0]
        lives = server.poll() is None
    finally:
        for process in (*others, server):
            if process.poll() is None:
                process.terminate()
                process.wait(LIMIT_S)
        log.close()
    checked = look(home)
    wrong = [str(arguments) for arguments in failed] + [problem.what for problem in checked.problems]
    if not lives or not checked.awake or wrong:
        return f"home {number}: {wrong or 'the server died or nothing woke'}\n{(home.path / 'starts.log').read_text()[-2000:]}"
    return ""


def spin() -> None:
    while True:
        pass


def main() -> None:
    homes, at_once = (int(sys.argv[1]) if len(sys.argv) > 1 else 20), (int(sys.argv[2]) if len(sys.argv) > 2 else 4)
    load = [multiprocessing.Process(target=spin, daemon=True) for _ in range(os.cpu_count() or 1)]
    for spinner in load:
        spinner.start()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor(at_once) as pool:
        wrong = [text for text in pool.map(lambda number: start(number, Path(root)), range(homes)) if text]
    for spinner in load:
        spinner.kill()
    for text in wrong:
        print(text)
    print(f"{homes - len(wrong)} of {homes} first starts well, {at_once} at a time, {time.monotonic() - began:.0f} s")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

"""How long a revocation takes, and how long others wait for it: `python benchmarks/revocation.py [METHODS …]` (default 1,000 and 5,000).

An adapter has written so many methods, each with a proof as long as a real one's, on as many objects. One client revokes it, restores it
and revokes it again, through the bridge, while another one writes small messages to another UVM, one after the other.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from deploy import service, supervision
from deploy.settings import Configuration, load
from ui_client.client.client import Client
from uvm.image import authors
from uvm.image.client import open_image
from uvm.image.methods import install, method
from uvm.objects import PARENTS, UvmObject

PROOF = 6000
"""Bytes of a method's proof: about what four drafts with their trials take."""
PORTION = 500


def write_methods(configuration: Configuration, digest: str, number: int) -> None:
    """So many methods by an adapter, each on an object of its own."""
    image = open_image(configuration, 10)
    for begin in range(0, number, PORTION):
        image.manager.begin()
        traits = image.named("traits_obj")
        for count in range(begin, min(number, begin + PORTION)):
            proof = {"mode": "adapter", "adapter": f"covenant@{digest}", "prompt": "x" * PROOF, "message": ""}
            written = method("worth", f"def worth(self):\n    return {count}\n", 0, "brick", proof)
            holder = UvmObject({PARENTS: [traits]})
            image.give_name(holder, f"{digest[:6]}-{count}")
            install(holder, written)
            authors.enter(image, written, image.reference(holder).oid)
        image.manager.commit()
    image.close()


class Bystander(threading.Thread):
    """Another client, which writes to another UVM: the seconds that each message took."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__(daemon=True)
        self.took: list[float] = []
        self._configuration = configuration
        self._over = threading.Event()

    def run(self) -> None:
        with Client(configuration=self._configuration) as client:
            mine = client.send("genesis_obj", "clone", via="uvm-2")
            while not self._over.is_set():
                began = time.perf_counter()
                client.send(mine, "setSlot_value_", "n", len(self.took), via="uvm-2")
                self.took.append(time.perf_counter() - began)

    def stop(self) -> None:
        self._over.set()
        self.join()


def timed(configuration: Configuration, client: Client, selector: str, digest: str, **options: Any) -> str:
    bystander = Bystander(configuration)
    bystander.start()
    time.sleep(1.0)
    quiet, before = max(bystander.took[5:]), len(bystander.took)
    size, began = configuration.home.image_file.stat().st_size, time.perf_counter()
    answer = client.send("pLLM_obj", selector, "adapter", digest, via="uvm-1", keywords=options)
    took = time.perf_counter() - began
    size = configuration.home.image_file.stat().st_size - size
    time.sleep(0.2)
    bystander.stop()
    waits = bystander.took[before:]
    others = f"others {1000 * statistics.median(waits):.1f} ms, at most {1000 * max(waits):.0f} ms (before: {1000 * quiet:.0f} ms)"
    return f"{selector:<16}{sum(answer['counts'].values()):>7,} methods {took:8.3f} s {size / 1e6:8.1f} MB   {others}"


def main() -> None:
    """Print the table."""
    numbers = [int(text) for text in sys.argv[1:]] or [1000, 5000]
    with tempfile.TemporaryDirectory() as name:
        os.environ.update({"BATOS_HOME": str(Path(name) / "var"), "BATOS_METRICS_BASE_PORT": "0"})
        configuration = load()
        needed = ("image", "bridge", "uvm-1", "uvm-2")
        service.start(configuration, [program for program in supervision.programs(configuration) if program.name in needed])
        try:
            subprocess.run([sys.executable, "-m", "uvm.awakening"], check=True, timeout=120, stdout=subprocess.DEVNULL)
            with Client(configuration=configuration) as client:
                for number in numbers:
                    digest = f"{number:064x}"
                    write_methods(configuration, digest, number)
                    for selector, options in (("revokeAuthor_", {"preview": True}), ("revokeAuthor_", {}), ("restoreAuthor_", {})):
                        print(timed(configuration, client, selector, digest, **options), flush=True)
        finally:
            service.stop(configuration, 60)


if __name__ == "__main__":
    main()

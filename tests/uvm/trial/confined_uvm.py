"""What a UVM does at its start, in a process of its own: start the trial server, open the image, confine itself, hold a trial.

`python -m tests.uvm.trial.confined_uvm DIRECTORY` prints the result of the trial and what confined it.
"""

import sys
from pathlib import Path

import msgspec

from deploy.confinement import confine
from deploy.profiles import uvm_profile
from deploy.settings import TrialSettings, load
from tests.uvm.trial.conftest import World, finish
from uvm.trial.client import TrialServer, loader


def main() -> None:
    directory = Path(sys.argv[1])
    server = TrialServer.start(TrialSettings(), log_level="warning")
    world = World(directory)
    configuration = load({"BATOS_HOME": str(directory)}, directory)
    configuration.home.ensure()
    confine(uvm_profile(configuration, [configuration.inference_endpoint]))
    request = world.request("def f(self):\n    return self.price\n")
    outcomes = [finish(server.begin(request, loader(world.storage))) for _ in range(2)]
    alive = server.alive()
    server.stop()
    layers = [layer.name for layer in outcomes[0].layers if layer.in_force]
    report = {"results": [outcome.result for outcome in outcomes], "layers": layers, "alive": alive}
    sys.stdout.write(msgspec.json.encode(report).decode())


if __name__ == "__main__":
    main()

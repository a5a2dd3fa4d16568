"""`python -m uvm.machine --number N`: one Universal Virtual Machine as a process, under supervisord.

It is confined before it opens anything.
"""

import argparse
import sys

import structlog

from deploy import logs, metrics, profiles
from deploy.process import Stop
from deploy.settings import SettingsError, load
from uvm.errors import ImageError
from uvm.image import codex
from uvm.image.client import ImageUnreachable, open_image
from uvm.image.transactor import ImageAway
from uvm.inference.balancer import endpoints
from uvm.machine.machine import Machine
from uvm.startup import confine, wait_for_files, wait_until_awake
from uvm.trial.client import TrialServer

log = structlog.get_logger()


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="One Universal Virtual Machine: runs messages in transactions of the image.")
    parser.add_argument("--number", type=int, default=1, help="which of the UVMs this is, from 1")
    number = parser.parse_args().number
    name = f"uvm-{number}"
    try:
        configuration = load()
        endpoints(configuration)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    logs.start(name, configuration.settings.logs.level)
    configuration.home.ensure()
    stop = Stop()
    if not wait_for_files(configuration, stop):
        return 0 if stop.requested else 1
    view = configuration.settings.confinement.view
    home = configuration.home
    trials = TrialServer.start(configuration.settings.trial, home.path, name=f"{name}-trials", run=home.run, view=view)
    endpoint = metrics.listen(name, configuration.settings.metrics.base_port, 3 + number, configuration.home.run)
    confined = confine(name, configuration, profiles.uvm_profile(configuration, endpoints(configuration)))
    endpoint.start()
    try:
        image = open_image(configuration, 60.0)
    except ImageUnreachable as error:
        log.error("no image", error=str(error))
        trials.stop()
        return 1
    try:
        if not wait_until_awake(image, stop):
            return 0
        machine = Machine(configuration, name, image, trials, stop, confined)
        log.info("ready", uvm=name, confined=confined)
        try:
            machine.serve()
        finally:
            machine.close()
    except (ImageAway, ImageUnreachable, ImageError, codex.CodexBroken) as error:
        log.error("ending", error=str(error))
        return 1
    finally:
        image.close()
        trials.stop()
    log.info("ended")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""`python -m uvm.bridge [--take-over]`: the Synaptic Bridge as a process, under supervisord."""

import argparse
import gc

from deploy import confinement, logs, metrics, profiles
from deploy.process import Stop
from deploy.settings import SettingsError, load
from uvm.bridge import sockets
from uvm.bridge.bridge import FAREWELL_S, Bridge
from uvm.bridge.listeners import Listeners
from uvm.bridge.succession import take_over

_METRICS_OFFSET = 1
_ENDING_S = FAREWELL_S + 2.0
"""Seconds that a bridge may take to end which nobody can follow any more."""


def main() -> int:
    """Run the bridge of the configuration in force; the exit status."""
    parser = argparse.ArgumentParser(description="The Synaptic Bridge: the one address that tools connect to.")
    parser.add_argument("--take-over", action="store_true", help="follow the bridge that serves this home, if there is one, when it ends")
    following = parser.parse_args().take_over
    configuration = load()
    log = logs.start("bridge", configuration.settings.logs.level)
    with Stop() as stop:
        try:
            configuration.home.ensure()
            sockets.prepare(configuration)
            predecessor = take_over(configuration) if following else None
            endpoint = metrics.listen("bridge", configuration.settings.metrics.base_port, _METRICS_OFFSET, configuration.home.run)
            confinement.enter("bridge", profiles.bridge_profile(configuration), configuration.home.run)
            listeners = predecessor.listeners if predecessor else Listeners.bound(configuration, _ENDING_S if following else 0.0)
        except SettingsError as error:
            log.error("the bridge cannot start", reason=str(error))
            return 2
        bridge = Bridge(configuration, listeners, predecessor)
        try:
            endpoint.start()
            # What a process is made of never becomes garbage; to look through it takes tens of milliseconds, in which nobody is served.
            gc.collect()
            gc.freeze()
            bridge.run(stop)
        finally:
            bridge.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

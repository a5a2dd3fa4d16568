"""`python -m uvm.bridge`: the Synaptic Bridge as a process, under supervisord."""

import gc

from deploy import confinement, logs, metrics, profiles
from deploy.process import Stop
from deploy.settings import SettingsError, load
from uvm.bridge import sockets
from uvm.bridge.bridge import Bridge

_METRICS_OFFSET = 1


def main() -> int:
    """Run the bridge of the configuration in force; the exit status."""
    configuration = load()
    log = logs.start("bridge", configuration.settings.logs.level)
    with Stop() as stop:
        try:
            configuration.home.ensure()
            sockets.prepare(configuration)
            endpoint = metrics.listen("bridge", configuration.settings.metrics.base_port, _METRICS_OFFSET, configuration.home.run)
            confinement.enter("bridge", profiles.bridge_profile(configuration), configuration.home.run)
            bridge = Bridge(configuration)
        except SettingsError as error:
            log.error("the bridge cannot start", reason=str(error))
            return 2
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

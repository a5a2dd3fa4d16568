"""The process `image`: the ZEO server of one home. Started by supervisord as `python -m zeo_server`.

Ends with 0 on SIGTERM or SIGINT, with 2 when the configuration or the home cannot be used.
"""

import sys
import tempfile
from collections.abc import Iterable

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from deploy import confinement, logs, metrics, profiles, settings
from zeo_server.server import ImageServer
from zeo_server.storage import ImageInUse, open_storage
from zeo_server.unpickling import close_unpicklers

_PROCESS = "image"
_COUNTERS = {
    "commits": "transactions committed",
    "aborts": "transactions aborted",
    "loads": "records read by clients",
    "stores": "records written by clients",
    "conflicts_resolved": "conflicts merged",
    "conflicts_refused": "conflicts left to the client's retry",
}
_GAUGES = {
    "connections": "clients connected",
    "transactions_open": "transactions begun and not ended",
    "waiting": "transactions that wait for the commit lock",
    "image_bytes": "size of the image without its blobs",
    "objects": "objects in the image",
}


def main() -> int:
    """Serve the home's image until a signal; return the exit status."""
    try:
        configuration = settings.load()
        configuration.home.ensure()
    except (settings.SettingsError, OSError) as error:
        logs.start(_PROCESS, "info").error("cannot start", reason=str(error))
        return 2
    log = logs.start(_PROCESS, configuration.settings.logs.level)
    home = configuration.home
    close_unpicklers()
    endpoint = metrics.listen(_PROCESS, configuration.settings.metrics.base_port, 0, home.run)
    tempfile.tempdir = str(home.path)  # ZEO keeps each open transaction's writes in an unnamed file
    confinement.enter(_PROCESS, profiles.image_profile(configuration), home.run)
    try:
        storage = open_storage(home)
    except ImageInUse as error:
        log.error("cannot start", reason=str(error))
        return 2
    server = ImageServer(storage, home.zeo_socket, configuration.settings.image)
    REGISTRY.register(_Statistics(server))
    endpoint.start()
    log.info("listening", socket=str(home.zeo_socket), image=str(home.image_file), objects=len(storage), metrics_port=endpoint.port)
    server.run()
    log.info("ended")
    return 0


class _Statistics(Collector):
    def __init__(self, server: ImageServer) -> None:
        self._server = server

    def collect(self) -> Iterable[Metric]:
        statistics = self._server.statistics()
        for name, meaning in _COUNTERS.items():
            yield CounterMetricFamily(f"batos_image_{name}", meaning, value=statistics[name])
        for name, meaning in _GAUGES.items():
            yield GaugeMetricFamily(f"batos_image_{name}", meaning, value=statistics[name])


if __name__ == "__main__":
    sys.exit(main())

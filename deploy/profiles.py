"""What each process of the service needs: pure functions of the configuration, one a process, for `deploy.confinement`.

A profile is written from what the process does, not from what an attack tried: files are named, sockets lie in directories that
only those who connect see, and whoever needs no network, program, process or new code has none.
"""

import os
import pwd
import sys
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path

import msgspec
from msgspec import Struct

from deploy import endpoint
from deploy.capabilities import Capability
from deploy.confinement import LAYERS, LayerName, Profile
from deploy.settings import Configuration, Home, is_tcp

SERVICE_USER = "batos"
"""The account of the service's processes, where the host has it and root starts them."""

_NULL = Path("/dev/null")
_MB = 1024 * 1024
_READ_BY_PYTHON = (
    *("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/localtime", "/etc/ld.so.cache", "/proc/self"),
    *("/dev/null", "/dev/urandom"),
)
_READ_BY_TOOLS = (
    *("/usr", "/bin", "/sbin", "/proc", "/sys"),
    *("/etc/alternatives", "/etc/passwd", "/etc/nsswitch.conf", "/etc/hosts", "/etc/resolv.conf"),
)
_READ_TO_FIND_HOSTS = ("/etc/hosts", "/etc/resolv.conf", "/run/systemd/resolve", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf")
_DEVICES_OF_GPUS = ("nvidia*", "dri", "kfd")


def python_paths(home: Path | None = None) -> tuple[Path, ...]:
    """What a Python process reads after it started: its environment, the packages, shared libraries, time zones.

    A `home` that lies within is left out: it is what a profile names that a process may read there.
    """
    existing = [path for path in [*_roots(), *map(Path, _READ_BY_PYTHON)] if path != Path("/") and path.exists()]
    return tuple(dict.fromkeys(readable for path in existing for readable in _without(path, home)))


def trial_profile(memory_mb: int, cpu_s: int) -> Profile:
    """The trial child: nothing at all, as the user nobody where that can be had."""
    return Profile(bare=True, user="nobody", memory_mb=memory_mb, cpu_s=cpu_s, file_mb=0, files=64)


def trial_server_profile(memory_mb: int, *, view: bool = True) -> Profile:
    """The trial server: forks children and ends them, and reads Python and accounts. It keeps what makes a child another user."""
    return Profile(
        # Its children look at their own directory in /proc, and not at others': landlock refuses that.
        read=(*python_paths(), *map(Path, ("/proc", "/etc/passwd", "/etc/nsswitch.conf"))),
        write=(_NULL,),
        fork=True,
        signals="children",
        keep=(Capability.KILL, Capability.SETUID, Capability.SETGID, Capability.SETPCAP),
        memory_mb=memory_mb,
        layers=_layers(view=view),
    )


def image_profile(configuration: Configuration) -> Profile:
    """The ZEO server: reads and writes the home, but for what supervisord has there; listens on its Unix socket."""
    home = configuration.home
    return _server(
        configuration,
        Profile(
            write=(home.path, home.image_run),
            visible=(home.path,),
            network="unix",
            memory_mb=configuration.settings.image.memory_mb,
        ),
    )


def uvm_profile(configuration: Configuration, workers: Iterable[str]) -> Profile:
    """A UVM: writes blobs, models and adapters, connects to the image's server, the bridge and these inference workers.

    The image's own files are left out: it has the image through its server alone.
    """
    home = configuration.home
    addresses = [_Address.of(worker) for worker in workers]
    abroad = [address for address in addresses if address.port is not None]
    return _server(
        configuration,
        Profile(
            read=(home.image_run, home.uvms_run, *(address.directory for address in addresses if address.directory)),
            write=_written_by_uvms(home),
            visible=(home.path,),
            network="tcp" if abroad else "unix",
            connect=tuple(address.port for address in abroad if address.port),
            resolve=any(address.named for address in abroad),
            abstract=any(address.abstract for address in addresses),
            memory_mb=configuration.settings.uvm.memory_mb,
        ),
    )


def heartbeat_profile(configuration: Configuration) -> Profile:
    """The heartbeat: a UVM that talks to the image's server alone, hands orders to the forge, takes in what it made, and wishes.

    Of the wheels it may see the names.
    """
    home, wheels = configuration.home, Path(configuration.settings.upgrade.wheels)
    profile = _client_of_the_image(configuration)
    own = (home.path / "forge", home.path / "examiner", home.path / "wishes")
    listed = (wheels.absolute(),) if configuration.settings.upgrade.wheels and wheels.is_dir() else ()
    return msgspec.structs.replace(profile, write=(*profile.write, *own), listed=(*profile.listed, *listed))


def forge_profile(configuration: Configuration) -> Profile:
    """The forge: starts the programs that train and examine, asks the inference worker whether somebody waits, and computes nothing itself.

    What these two may read is in their own profiles; a program confines itself further, and never less.
    """
    home = configuration.home
    return _server(
        configuration,
        Profile(
            read=(home.models, home.adapters, home.inference_run),
            write=(home.path / "forge", home.path / "examiner"),
            visible=(home.path,),
            network="unix",
            execute=True,
            fork=True,
            signals="children",
            native_code=True,
            data_mb=configuration.settings.forge.memory_mb,
        ),
    )


def apprentice_profile(configuration: Configuration) -> Profile:
    """The program that trains: models, adapters and its orders. Not the image, and not the examiner's tasks."""
    home = configuration.home
    return _of_the_forge(configuration, (home.models, home.adapters))


def examiner_profile(configuration: Configuration) -> Profile:
    """The program that examines what was trained: like the one that trains, and the held-out tasks, beside which it writes what was
    answered to them; the judge of drafts is a program of its own.
    """
    home = configuration.home
    profile = _of_the_forge(configuration, (home.models, home.adapters))
    write = (*profile.write, home.path / "examiner")
    return msgspec.structs.replace(profile, write=write, execute=True, fork=True, signals="children")


def _of_the_forge(configuration: Configuration, read: tuple[Path, ...]) -> Profile:
    """What the forge starts has the forge's view and account, and no capability that it could drop."""
    home = configuration.home
    return Profile(
        read=(*python_paths(home.path), *map(Path, ("/proc", "/sys/devices/system/cpu")), *read),
        write=(home.path / "forge", _NULL),
        native_code=True,
        data_mb=configuration.settings.forge.memory_mb,
        layers=tuple(name for name in LAYERS if name not in ("view", "capabilities")),
    )


def awakening_profile(configuration: Configuration, sources: Iterable[Path]) -> Profile:
    """The awakening: like the heartbeat, and reads the directories that it imports."""
    profile = _client_of_the_image(configuration)
    return msgspec.structs.replace(profile, read=(*profile.read, *(source.absolute() for source in sources)))


def importer_profile(configuration: Configuration) -> Profile:
    """The importer of models and adapters: like the heartbeat. What it imports was opened by whoever started it, who may read it."""
    return _client_of_the_image(configuration)


def check_profile(configuration: Configuration, sources: Iterable[Path]) -> Profile:
    """The check of a model or an adapter before its import: reads these files and the image's models, whosever they are, and computes."""
    home = configuration.home
    return Profile(
        read=(*python_paths(home.path), home.models, *(source.absolute() for source in sources)),
        write=(_NULL,),
        keep=(Capability.DAC_OVERRIDE,),
        memory_mb=_share_of_machine(),
        layers=_layers(view=False),
    )


def import_profile(configuration: Configuration) -> Profile:
    """The first import of packages that an upgrade installed: they may load libraries of their own, and have nobody to talk to."""
    return Profile(
        read=(*python_paths(configuration.home.path), Path("/proc"), Path("/sys"), Path("/etc/passwd")),
        write=(_NULL,),
        native_code=True,
        user=service_user(configuration),
        memory_mb=_share_of_machine(),
        layers=_layers(view=False),
    )


def bridge_profile(configuration: Configuration) -> Profile:
    """The bridge: listens, and ends UVMs that hang. It has no way to the image or to the model but through UVMs."""
    home, settings = configuration.home, configuration.settings.bridge
    sockets = [_Address.of(configuration.bridge_socket), _Address.of(configuration.events_endpoint)]
    ports = [_Address.of(endpoint).port for endpoint in (settings.endpoint, settings.events) if is_tcp(endpoint)]
    chosen = bool(ports) and (None in ports or 0 in ports or not is_tcp(settings.events))  # by the kernel: port 0, or that of events
    return _server(
        configuration,
        Profile(
            read=(home.path / "keys",),
            write=(home.run, *(address.directory for address in sockets if address.directory)),
            visible=(home.path,),
            hidden=(home.image_run, home.inference_run, home.supervisor_run),
            network="tcp" if ports else "unix",
            listen=None if chosen else tuple(port for port in ports if port),
            abstract=any(address.abstract for address in sockets),
            accounts=True,
            # How tools find this host is asked of the routing table, over UDP.
            resolve=bool(ports),
            signals="pidfd",
            memory_mb=settings.memory_mb,
        ),
    )


def inference_profile(configuration: Configuration, traces: Iterable[Path] = ()) -> Profile:
    """The inference worker with its engine's processes: models, adapters, a cache of compiled code, programs that compile it.

    With nobody configured to fetch from or to be asked by, it has a network of its own, in which its processes meet. Where a server
    elsewhere writes (`inference.endpoint`), there is no engine: it needs no programs, processes or new code, and connects to that
    server's port and its peers' alone.
    """
    home, settings = configuration.home, configuration.settings.inference
    if settings.endpoint:
        return _endpoint_profile(configuration, traces)
    address = _Address.of(configuration.inference_endpoint)
    peers = [_Address.of(peer).directory for peer in settings.peers]
    alone = not settings.peers and address.port is None and not address.abstract
    gpus = [path for pattern in _DEVICES_OF_GPUS for path in Path("/dev").glob(pattern)]
    own = (home.adapters, home.path / "cache", home.scratch, home.inference_run)
    return _server(
        configuration,
        Profile(
            read=(*map(Path, _READ_BY_TOOLS), home.models, *filter(None, peers)),
            write=(*own, *filter(None, [address.directory]), Path("/dev/shm"), *gpus, *traces),
            visible=(home.path,),
            network="tcp",
            listen=None,
            connect=None,
            alone=alone,
            abstract=address.abstract,
            # Its processes look for their network's interfaces in every case.
            resolve=True,
            execute=True,
            fork=True,
            signals="children",
            native_code=True,
            # Address space says little here: a GPU's driver reserves all there is.
            data_mb=settings.memory_mb or _share_of_machine(),
        ),
    )


def _endpoint_profile(configuration: Configuration, traces: Iterable[Path]) -> Profile:
    home, settings = configuration.home, configuration.settings.inference
    own, peers = _Address.of(configuration.inference_endpoint), [_Address.of(peer) for peer in settings.peers]
    _, port = endpoint.address(settings)
    directories = filter(None, [own.directory, *(peer.directory for peer in peers)])
    return _server(
        configuration,
        Profile(
            read=(*map(Path, _READ_TO_FIND_HOSTS), home.models),
            write=(home.adapters, home.scratch, home.inference_run, *directories, *traces),
            visible=(home.path,),
            network="tcp",
            listen=() if own.port is None else (own.port,) if own.port else None,
            connect=_ports(port, *(peer.port for peer in peers)),
            abstract=own.abstract or any(peer.abstract for peer in peers),
            resolve=True,
            data_mb=settings.memory_mb or _share_of_machine(),
        ),
    )


def service_user(configuration: Configuration) -> str:
    """The account that the service's processes change to; empty: none, they stay who started them."""
    chosen = configuration.settings.confinement.user
    if chosen or os.getuid() != 0:
        return chosen
    try:
        return pwd.getpwnam(SERVICE_USER).pw_name
    except KeyError:
        return ""


# --- inside -----------------------------------------------------------------------------------------------------------


class _Address(Struct, frozen=True):
    """Where somebody listens: the directory of a Unix socket, or a TCP port, 0 for any; `named`: its host must be looked up.

    `abstract`: a Unix socket without a file.
    """

    directory: Path | None = None
    abstract: bool = False
    port: int | None = None
    named: bool = False

    @classmethod
    def of(cls, endpoint: str) -> "_Address":
        if endpoint.startswith("ipc://@"):
            return cls(abstract=True)
        if endpoint.startswith("ipc://"):
            return cls(directory=Path(endpoint.removeprefix("ipc://")).parent)
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        return cls(port=int(port) if port.isdigit() else 0, named=host != "*" and not _is_number(host))


def _client_of_the_image(configuration: Configuration) -> Profile:
    home = configuration.home
    return _server(
        configuration,
        Profile(
            read=(home.image_run,),
            write=_written_by_uvms(home),
            visible=(home.path,),
            network="unix",
            memory_mb=configuration.settings.heartbeat.memory_mb,
        ),
    )


def _server(configuration: Configuration, profile: Profile) -> Profile:
    """What every server has beside its own: Python, the account, and a view without what supervisord, logs and others' sockets are for."""
    home, memory_mb = configuration.home, profile.memory_mb
    above = [root for root in _roots() if root in home.path.parents]
    return msgspec.structs.replace(
        profile,
        read=(*python_paths(home.path), *profile.read),
        listed=tuple(dict.fromkeys(above)),
        write=(*profile.write, _NULL),
        hidden=(*profile.hidden, home.supervision, home.logs, home.upgrades, *(() if home.run in profile.write else (home.run,))),
        user=service_user(configuration),
        owned=tuple(path for path in profile.write if home.path in path.parents or home.run in path.parents or path == home.scratch),
        memory_mb=None if memory_mb is None else min(memory_mb, _share_of_machine()),
        layers=_layers(view=configuration.settings.confinement.view),
    )


def _ports(*ports: int | None) -> tuple[int, ...] | None:
    """Those that are ports; None, any, where one is not known."""
    return None if 0 in ports else tuple(sorted({port for port in ports if port is not None}))


def _layers(*, view: bool) -> tuple[LayerName, ...]:
    return tuple(name for name in LAYERS if name != "view" or view)


def _roots() -> list[Path]:
    return [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[1], *(Path(entry) for entry in sys.path if entry)]


def _written_by_uvms(home: Home) -> tuple[Path, ...]:
    return home.blobs, home.models, home.adapters, home.path / "tmp"


def _without(path: Path, home: Path | None) -> Iterator[Path]:
    """The path; of a directory above `home`, all its entries but those."""
    if home is None or not (path == home or path in home.parents):
        yield path
    elif path != home:
        for entry in sorted(path.iterdir()):
            yield from _without(entry, home)


def _is_number(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _share_of_machine() -> int:
    """Three quarters of the machine's memory, MB: no process alone takes all of it."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4 // _MB

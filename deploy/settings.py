"""The one configuration: typed, read from `batos.toml`, each key overridable by the environment.

Called once by the `main()` of every process and by the `batos` command. How the file and the environment are read is in `sources`. Unknown
keys and values out of range are refused with an error that names the key, the value and what is allowed. State lives under `BATOS_HOME`
(default `./var`), which `home` lays out; whoever needs the configuration gets all of it from here.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from deploy.home import Home as Home
from deploy.sources import SettingsError as SettingsError
from deploy.sources import configuration_file, override, read_file

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Megabytes = Annotated[int, Meta(ge=256, le=16_000_000)]
Port = Annotated[int, Meta(ge=0, le=65_535)]

DataTypeName = Literal["bfloat16", "float16", "float32", "auto"]
Right = Literal["read", "send", "create", "policy", "administer"]
"""`read`: look at objects and follow events. `send`: send messages, which may change objects. `create`: offer methods. `policy`: change
primordial objects, personas and prompts, and which model and adapter they use. `administer`: see everybody's quotas and use, bring models
and adapters into the image and remove them."""

RIGHTS: Final[tuple[Right, ...]] = get_args(Right)


class ImageSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The ZEO server and its clients' connection to it."""

    transaction_timeout_s: Annotated[
        int,
        Meta(ge=1, le=600, description="a client that votes and goes silent loses its turn after this many seconds"),
    ] = 3
    record_mb: Annotated[int, Meta(ge=1, le=2048, description="largest record that the image takes, MB")] = 64
    invalidation_queue: Annotated[Count, Meta(description="transactions a client may miss and still keep its cache")] = 10_000
    cache_mb: Annotated[int, Meta(ge=4, le=65_536, description="client cache of each ZEO client, MB")] = 64
    object_cache_mb: Annotated[int, Meta(ge=1, le=65_536, description="live objects kept by each connection, MB")] = 64
    wait_timeout_s: Annotated[Seconds, Meta(description="how long a client waits for a server that is away, seconds")] = 5.0
    memory_mb: Annotated[Megabytes, Meta(description="address space of the server beyond what it has at its start, MB")] = 8192
    models_gib: Annotated[float, Meta(gt=0, le=1_048_576, description="files of all models and adapters in the image together, GiB")] = (
        256.0
    )


class BridgeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The Synaptic Bridge."""

    endpoint: Annotated[
        str,
        Meta(description="address tools connect to; empty: a Unix socket in the run directory; tcp://HOST:PORT: that as well, with keys"),
    ] = ""
    events: Annotated[str, Meta(description="address events are published on; empty: as endpoint, on a port of its own")] = ""
    host: Annotated[str, Meta(description="this host's name or address as tools on others know it; empty: the one they came to")] = ""
    key: Annotated[str, Meta(description="key file with which tools connect over TCP; `batos keys add` writes it")] = ""
    rights: Annotated[list[Right], Meta(description="rights of the home's owner, the principal local")] = msgspec.field(
        default_factory=lambda: list(RIGHTS)
    )
    queue: Annotated[Count, Meta(description="messages held for all UVMs together; past it a tool is answered Busy")] = 10_000
    dead_after_s: Annotated[Seconds, Meta(description="a UVM that is silent for so long counts as dead, seconds")] = 10.0
    max_frame_bytes: Annotated[Count, Meta(description="largest message a tool may send, bytes")] = 4_000_000
    memory_mb: Annotated[Megabytes, Meta(description="address space of the bridge beyond what it has at its start, MB")] = 2048


class QuotaSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What one principal may use; `batos keys add` and `quota` set others for one principal. 0, where it is allowed: without a bound."""

    messages: Annotated[Count, Meta(description="messages in flight, waiting ones included")] = 10_000
    queue_mb: Annotated[int, Meta(ge=1, le=65_536, description="size of all messages in flight, MB")] = 256
    cpu_s_per_minute: Annotated[float, Meta(ge=0, le=100_000, description="processor seconds of the UVMs a minute; 0: any")] = 0.0
    generations_per_minute: Annotated[float, Meta(ge=0, le=1e6, description="methods written a minute; 0: any")] = 0.0
    written_mb_per_hour: Annotated[float, Meta(ge=0, le=1e9, description="records changed and made in an hour, MB; 0: any")] = 0.0
    stored_mb: Annotated[float, Meta(ge=0, le=1e9, description="what its objects hold of the image, MB; 0: any, and not counted")] = 0.0
    ticks: Annotated[int, Meta(ge=1000, le=1_000_000_000, description="work of one message; uvm.ticks bounds it as well")] = 1_000_000_000
    transaction_mb: Annotated[int, Meta(ge=1, le=1024, description="size of all records that one message changes or makes, MB")] = 32
    objects: Annotated[Count, Meta(description="objects that one message changes or makes")] = 10_000


class UvmSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The Universal Virtual Machines."""

    processes: Annotated[int, Meta(ge=1, le=64, description="how many UVM processes run")] = 2
    batch: Annotated[int, Meta(ge=1, le=1024, description="most messages in one transaction")] = 32
    message_limit_s: Annotated[Seconds, Meta(description="wall time one message may run, seconds; below bridge.dead_after_s")] = 4.0
    ticks: Annotated[
        int,
        Meta(ge=1000, le=1_000_000_000, description="loop rounds, calls and units of built-in work one message may use"),
    ] = 2_000_000
    restarts: Annotated[
        int,
        Meta(ge=1, le=1000, description="how often a message may end its attempt to wait for a method or a thought"),
    ] = 32
    generation: Annotated[
        Literal["confined", "always", "off"],
        Meta(description="write missing methods: only where the trial is fully confined, always, or never"),
    ] = "confined"
    drafts: Annotated[
        int, Meta(ge=1, le=16, description="drafts asked for at first per missing method, unless the image's plan says otherwise")
    ] = 4
    most_drafts: Annotated[
        int,
        Meta(
            ge=1,
            le=32,
            description="drafts of one method at most, where the first ones do not decide it; the same as drafts: no more than those",
        ),
    ] = 12
    varied: Annotated[
        int, Meta(ge=0, le=32, description="perturbed copies of the object on which a draft is run besides the object itself; 0: none")
    ] = 8
    risk: Annotated[
        float,
        Meta(gt=0, le=1, description="how likely an installed method may be wrong, unless a message says; 1: the best one is installed"),
    ] = 0.05
    grammar: Annotated[
        Literal["auto", "listed", "free", "none"],
        Meta(
            description="what holds a draft while it is written: the grammar with listed local names, with any, or the audit alone; auto: "
            "listed for a small model or an adapter, none for a larger model with a chat template, else free"
        ),
    ] = "auto"
    chat: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="ask with the model's chat template, where it has one; auto: of larger models without an adapter"),
    ] = "auto"
    depth: Annotated[
        int, Meta(ge=1, le=10, description="how many missing methods may wait in a chain; 2: one and those that its drafts need")
    ] = 2
    generation_deadline_s: Annotated[Seconds, Meta(description="longest a message waits for its method to be written, seconds")] = 300.0
    memory_mb: Annotated[Megabytes, Meta(description="address space of a UVM beyond what it has at its start, MB")] = 4096


class TrialSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The confined child in which a draft is tried."""

    wall_s: Annotated[Seconds, Meta(description="wall time of one trial, with all its examples, seconds")] = 10.0
    cpu_s: Annotated[int, Meta(ge=1, le=600, description="processor time of one trial, seconds")] = 10
    memory_mb: Annotated[int, Meta(ge=64, le=65_536, description="address space of one trial beyond the trial server's own, MB")] = 256
    records: Annotated[Count, Meta(description="database records one trial may ask for")] = 5_000
    read_mb: Annotated[int, Meta(ge=1, le=65_536, description="size of all database records one trial may ask for, MB")] = 64


class InferenceSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The inference worker."""

    start: Annotated[Literal["lazy", "eager"], Meta(description="start the engine at the first thought, or with the process")] = "lazy"
    address: Annotated[str, Meta(description="address of the worker; empty: a Unix socket in the run directory")] = ""
    endpoint: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s/@?#]+(/[^\s@?#]*)?)?\Z",
            description="server like vLLM's that writes the texts in place of an engine here, http(s)://HOST[:PORT][/PATH]; empty: none",
        ),
    ] = ""
    endpoint_model: Annotated[
        str,
        Meta(max_length=512, description="the model's name at the server; empty: the image's model by its digest, else the only one there"),
    ] = ""
    endpoint_key: Annotated[
        str,
        Meta(
            pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|/.*)?\Z",
            description="where the server's API key is: the absolute path of a file closed to others, or env:NAME; empty: it wants none",
        ),
    ] = ""
    endpoint_ca: Annotated[str, Meta(description="PEM file of the certificates that vouch for the server; empty: the system's")] = ""
    endpoint_dialect: Annotated[
        Literal["vllm", "openai"],
        Meta(description="what the server takes beside OpenAI's requests: vLLM's grammars, priorities and samplings, or nothing"),
    ] = "vllm"
    endpoint_adapters: Annotated[
        Literal["load", "served", "ignore"],
        Meta(
            description="adapters there: loaded as they are asked for (vLLM), served under their digests already, or left out (mode base)",
        ),
    ] = "load"
    endpoint_adapters_path: Annotated[
        str, Meta(description="directory in which the server finds adapters by digest; empty: the home's own, under the same path")
    ] = ""
    endpoint_connect_s: Annotated[Seconds, Meta(description="longest a connection to the server may take, seconds")] = 5.0
    endpoint_silence_s: Annotated[Seconds, Meta(description="longest the server may send nothing while it owes something, seconds")] = 120.0
    endpoint_patience_s: Annotated[
        Seconds, Meta(description="how long a request waits for a server that is away or has no room, seconds")
    ] = 15.0
    model: Annotated[str, Meta(description="directory of a Hugging Face model to import at the awakening; empty: the default model")] = ""
    adapter: Annotated[
        str,
        Meta(description="directory of a PEFT adapter to import at the awakening; empty: the shipped one if it fits; 'none': none"),
    ] = ""
    dtype: Annotated[
        DataTypeName, Meta(description="data type the engine computes in; auto: bfloat16, or float32 on a processor that emulates that")
    ] = "auto"
    quantization: Annotated[str, Meta(description="vLLM quantization method, such as bitsandbytes; empty: as the model says")] = ""
    gpu_memory_utilization: Annotated[float, Meta(gt=0, le=1, description="share of VRAM the engine may use (GPU only)")] = 0.85
    kv_cache_gib: Annotated[float, Meta(gt=0, le=1024, description="KV cache on a CPU, GiB")] = 0.5
    max_model_len: Annotated[int, Meta(ge=256, le=1_000_000, description="longest prompt plus answer, tokens")] = 2048
    max_loras: Annotated[int, Meta(ge=1, le=64, description="adapters in the engine at once (hot slots)")] = 4
    max_lora_rank: Annotated[int, Meta(ge=1, le=512, description="largest rank of an adapter")] = 16
    lora: Annotated[
        Literal["auto", "python", "stock"],
        Meta(description="adapters on a CPU: our compiled kernel (python where gcc is missing), our Python one, or vLLM's own"),
    ] = "auto"
    policy: Annotated[Literal["lru", "cost", "predictive"], Meta(description="which adapters stay hot and warm")] = "predictive"
    ram_gib: Annotated[float, Meta(gt=0, le=65536, description="adapters parsed in RAM (warm), GiB")] = 1.0
    disk_gib: Annotated[float, Meta(gt=0, le=1_048_576, description="adapters fetched from peers and kept on disk (cold), GiB")] = 50.0
    vram_gib: Annotated[
        float, Meta(ge=0, le=65536, description="VRAM for weights, slots and KV cache, GiB; 0: as gpu_memory_utilization says")
    ] = 0.0
    idle_s: Annotated[float, Meta(ge=0, le=31_536_000, description="unload an engine that was not used for so long, seconds; 0: never")] = (
        3600.0
    )
    ageing_s: Annotated[Seconds, Meta(description="waiting this long lifts a request by one priority, seconds")] = 20.0
    reserved_streams: Annotated[int, Meta(ge=0, le=1023, description="streams that background requests leave free")] = 2
    workers: Annotated[list[str], Meta(description="addresses of further inference workers that the UVMs may ask")] = []
    peers: Annotated[list[str], Meta(description="addresses of workers to fetch adapters from that are missing here")] = []
    max_streams: Annotated[int, Meta(ge=1, le=1024, description="sequences decoded together")] = 16
    queue: Annotated[Count, Meta(description="requests held; past it a client is answered Busy")] = 256
    deadline_s: Annotated[Seconds, Meta(description="longest a request may take when it names no deadline, seconds")] = 240.0
    start_timeout_s: Annotated[Seconds, Meta(description="longest the engine may take to start, seconds")] = 300.0
    memory_mb: Annotated[
        int,
        Meta(ge=0, le=16_000_000, description="memory that each process of the worker may write, MB; 0: three quarters of the machine's"),
    ] = 0


class HeartbeatSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The autotelic loop."""

    interval_s: Annotated[Seconds, Meta(description="seconds between two measurements")] = 60.0
    memory_mb: Annotated[Megabytes, Meta(description="address space of the heartbeat beyond what it has at its start, MB")] = 2048


class ForgeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The forge, which trains adapters."""

    process: Annotated[bool, Meta(description="run the forge with the service; what it trains, and when, the image's policy says")] = False
    threads: Annotated[int, Meta(ge=1, le=64, description="threads that it computes with")] = 1
    memory_mb: Annotated[Megabytes, Meta(description="memory that training may write, MB")] = 6144
    longest_s: Annotated[Seconds, Meta(description="longest that one order may train or be examined, pauses included, seconds")] = 43_200.0


class UpgradeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The upgrader: where new distributions come from, and how long each step of an upgrade may take."""

    wheels: Annotated[str, Meta(description="directory of wheels that an upgrade may install; empty: none")] = ""
    index: Annotated[
        str,
        Meta(
            pattern=r"^(pip|https://[^\s/@?#]+(/[^\s@?#]*)?)?\Z",
            description="package index that an upgrade may install from; pip: as pip is configured; empty: none, wheels alone",
        ),
    ] = ""
    environments: Annotated[
        str, Meta(description="directory for the environments that upgrades make; empty: beside the one that the service was set up in")
    ] = ""
    build_s: Annotated[Seconds, Meta(description="longest the building of an environment may take, seconds")] = 1800.0
    proof_s: Annotated[Seconds, Meta(description="longest the proof on a copy of the image may take, seconds")] = 300.0
    proof_memory_mb: Annotated[Megabytes, Meta(description="address space of each program that proves an environment, MB")] = 8192
    proof_writes: Annotated[
        bool, Meta(description="have a missing method written in the proof; false: where the image's own policy would refuse it")
    ] = True
    switch_s: Annotated[Seconds, Meta(description="longest one process may take to be replaced and well, seconds")] = 60.0
    probation_s: Annotated[Seconds, Meta(description="how long a new environment must be well before it is kept, seconds")] = 60.0
    kept: Annotated[int, Meta(ge=1, le=100, description="environments kept besides those in use, to go back to")] = 2
    image_a_day: Annotated[
        int, Meta(ge=0, le=100, description="wishes of the image's own that are taken a day, from the directory of wheels alone; 0: none")
    ] = 4


class ConfinementSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What confines the processes, beyond what each needs."""

    user: Annotated[
        str,
        Meta(description="account of the service's processes when root starts it; empty: batos where the host has it, else root's own"),
    ] = ""
    view: Annotated[bool, Meta(description="give each process a view of files and network of its own, where the host lets it")] = True


class MetricsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Prometheus endpoints, one a process, on loopback."""

    base_port: Annotated[
        Port,
        Meta(description="first port; image, bridge, inference, heartbeat, then the UVMs count up from it; 0: any free ports"),
    ] = 9400


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Logs: JSON lines, rotated by supervisord."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    max_mb: Annotated[int, Meta(ge=1, le=10_000, description="size at which a log is rotated, MB")] = 10
    backups: Annotated[int, Meta(ge=0, le=100, description="rotated logs kept")] = 3


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set. `home` comes from `BATOS_HOME` alone."""

    image: ImageSettings = ImageSettings()
    bridge: BridgeSettings = BridgeSettings()
    quotas: QuotaSettings = QuotaSettings()
    uvm: UvmSettings = UvmSettings()
    trial: TrialSettings = TrialSettings()
    inference: InferenceSettings = InferenceSettings()
    heartbeat: HeartbeatSettings = HeartbeatSettings()
    forge: ForgeSettings = ForgeSettings()
    upgrade: UpgradeSettings = UpgradeSettings()
    confinement: ConfinementSettings = ConfinementSettings()
    metrics: MetricsSettings = MetricsSettings()
    logs: LogSettings = LogSettings()


class Configuration(Struct, frozen=True):
    """Settings in force, with where each key came from ('default', the file's path, or the variable's name)."""

    home: Home
    settings: Settings
    origins: dict[str, str]

    @property
    def bridge_endpoint(self) -> str:
        """Where tools of this configuration connect: over TCP with a key, else through the Unix socket."""
        bridge = self.settings.bridge
        return bridge.endpoint if bridge.key and is_tcp(bridge.endpoint) else self.bridge_socket

    @property
    def bridge_socket(self) -> str:
        """The Unix socket that the bridge always listens on."""
        return _unix(self.settings.bridge.endpoint, f"ipc://{self.home.run}/bridge.sock")

    @property
    def events_endpoint(self) -> str:
        """The Unix socket on which the bridge always publishes events; the bridge tells those who come over TCP another address."""
        return _unix(self.settings.bridge.events, f"ipc://{self.home.run}/events.sock")

    @property
    def uvms_endpoint(self) -> str:
        """Where UVMs meet the bridge: always inside the run directory."""
        return f"ipc://{self.home.uvms_run}/uvms.sock"

    @property
    def inference_endpoint(self) -> str:
        return self.settings.inference.address or f"ipc://{self.home.inference_run}/inference.sock"


def is_tcp(endpoint: str) -> bool:
    """Is this an address that other hosts can reach?"""
    return endpoint.startswith("tcp://")


def _unix(endpoint: str, otherwise: str) -> str:
    return otherwise if not endpoint or is_tcp(endpoint) else endpoint


def load(environment: Mapping[str, str] | None = None, directory: Path | None = None) -> Configuration:
    """Read the configuration in force.

    The file is `$BATOS_CONFIG`, else `batos.toml` in `directory` (default: the current one), else `batos.toml` in the
    home. Raises SettingsError naming the key, the value and what is allowed.
    """
    env = os.environ if environment is None else environment
    here = Path.cwd() if directory is None else directory
    home = Home((here / env.get("BATOS_HOME", "var")).absolute())
    file = configuration_file(env, here, home.path)
    tables, origins = read_file(file, sections())
    override(tables, origins, env, sections())
    if str(named := tables["inference"].get("endpoint", "")).startswith(("ipc:", "tcp:")):
        raise SettingsError(
            f"inference.endpoint is {named!r}, an address of the worker itself, which is inference.address; an endpoint is a"
            " server that writes the texts: http(s)://HOST[:PORT][/PATH]"
        )
    try:
        settings = msgspec.convert(tables, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"configuration refused: {error}") from error
    if settings.uvm.message_limit_s >= settings.bridge.dead_after_s:
        raise SettingsError(
            f"uvm.message_limit_s is {settings.uvm.message_limit_s}, but must be below bridge.dead_after_s, {settings.bridge.dead_after_s}"
        )
    return Configuration(home=home, settings=settings, origins=origins)


def sections() -> dict[str, type[Struct]]:
    """Section name → its struct, in the order of the documentation."""
    return {field.name: field.type for field in msgspec.structs.fields(Settings)}

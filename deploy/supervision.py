"""Supervisord's configuration: which programs run, in which order, and how each is stopped. Pure: text from values.

A program is started by the absolute path of an environment's Python, never through a link that moves under it, so that an upgrade
beside it changes nothing for what runs. Which environment that is, `deploy.environment` says; the upgrader itself is started from the
one that the service was set up in, whatever the others are started from. supervisord restarts what ends, waiting one second more each
time, and gives up after `_RETRIES` failures in a row.
"""

import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from string import Template

import msgspec
from msgspec import Struct

from deploy import environment as environments
from deploy.environment import Interpreter
from deploy.settings import Configuration, SettingsError

_TEMPLATE = Path(__file__).with_name("supervisord.conf")
BRIDGE = "bridge"
BESIDE = "bridge-beside"
"""The program that serves while one bridge is replaced by another: it follows the old one, and is followed by the new one."""

_RETRIES = 30
_ROOT = Path(__file__).resolve().parents[1]


class Program(Struct, frozen=True):
    """One process. `order`: lower ones start first and stop last. `stop_s`: seconds from SIGTERM to SIGKILL.

    `path`: its PYTHONPATH; None, supervisord's own.
    """

    name: str
    command: tuple[str, ...]
    order: int
    stop_s: int = 15
    start_s: int = 2
    path: str | None = None


def directory(configuration: Configuration) -> Path:
    """Where supervisord's configuration and process id lie: no confined process but the image's server may look there."""
    return configuration.home.supervision


def programs(configuration: Configuration, interpreter: Interpreter | None = None) -> list[Program]:
    """The service's programs in the order of their start, run by `interpreter`, by default that of the environment in force."""
    settings, home = configuration.settings, configuration.home
    chosen = interpreter or environments.interpreter(home)
    uvms = range(1, settings.uvm.processes + 1)

    def program(name: str, order: int, module: str, *arguments: str, stop_s: int = 15) -> Program:
        return Program(name, _module(chosen, module, *arguments), order, stop_s, path=chosen.path)

    base = environments.base_interpreter(home)
    return [
        program("image", 10, "zeo_server", stop_s=30),
        program(BRIDGE, 20, "uvm.bridge", "--take-over"),
        program("inference", 30, "inference_worker", stop_s=30),
        *(
            program(f"uvm-{number}", 40, "uvm.machine", "--number", str(number), stop_s=int(settings.uvm.message_limit_s) + 10)
            for number in uvms
        ),
        program("heartbeat", 50, "uvm.heartbeat"),
        *([program("forge", 55, "inference_worker.forge")] if settings.forge.process else []),
        Program("upgrader", _module(base, "deploy.upgrader"), order=60, stop_s=30, path=base.path),
    ]


def beside(programs: Sequence[Program]) -> list[Program]:
    """The bridge of these programs once more, under the name that it has while it is replaced; none where they have no bridge."""
    return [msgspec.structs.replace(program, name=BESIDE) for program in programs if program.name == BRIDGE]


def render(configuration: Configuration, run: Sequence[Program], password: str) -> str:
    """The text of supervisord's configuration for these programs. Raises SettingsError for a path that it cannot hold."""
    home, logs = configuration.home, configuration.settings.logs
    values = {
        "own": directory(configuration),
        "logs": home.logs,
        "max_mb": logs.max_mb,
        "backups": logs.backups,
        "user": pwd.getpwuid(os.getuid()).pw_name if os.getuid() == 0 else "",
        "socket": home.supervisor_socket,
        "password": password,
    }
    text = Template(_TEMPLATE.read_text()).substitute({name: _escaped(str(value)) for name, value in values.items()})
    if os.getuid() != 0:
        text = text.replace("user=\n", "", 1)
    return text + "".join(_section(configuration, program) for program in run)


def _module(interpreter: Interpreter, name: str, *arguments: str) -> tuple[str, ...]:
    # -P: the directory that the service happens to be started in must not shadow a module.
    return (interpreter.python, "-P", "-m", name, *arguments)


def _section(configuration: Configuration, program: Program) -> str:
    home, logs = configuration.home, configuration.settings.logs
    lines = {
        "command": " ".join(_quoted(word) for word in program.command),
        "directory": _escaped(str(home.path)),
        "priority": program.order,
        "startsecs": program.start_s,
        "startretries": _RETRIES,
        "autostart": "true",
        "autorestart": "true",
        "stopsignal": "TERM",
        "stopwaitsecs": program.stop_s,
        "stopasgroup": "true",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": _escaped(_escaped(str(home.logs / f"{program.name}.log"))),  # expanded twice
        "stdout_logfile_maxbytes": f"{logs.max_mb}MB",
        "stdout_logfile_backups": logs.backups,
    }
    if program.path is not None:
        inside = program.path.replace("\\", "\\\\").replace('"', '\\"')
        lines["environment"] = f'PYTHONPATH="{_escaped(inside)}"'
    return f"\n[program:{program.name}]\n" + "".join(f"{key}={value}\n" for key, value in lines.items())


def environment(configuration: Configuration, inherited: dict[str, str]) -> dict[str, str]:
    """What the programs find in their environment: the caller's, with the home and the configuration file made absolute."""
    files = {origin for origin in configuration.origins.values() if origin.startswith("/")}
    settled = {**inherited, "BATOS_HOME": str(configuration.home.path)}
    settled["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), inherited.get("PYTHONPATH", "")]))
    if files:
        settled["BATOS_CONFIG"] = files.pop()
    return settled


def _escaped(text: str) -> str:
    """Text in which supervisord finds nothing to expand. Raises SettingsError where it would find a comment."""
    if " ;" in text or " #" in text or "\n" in text:
        raise SettingsError(f"{text!r} has a ' ;', a ' #' or a line break, which supervisord's configuration cannot hold; use another path")
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """One word of a command line as supervisord splits it."""
    if word and all(character.isalnum() or character in "/._-+=:@," for character in word):
        return word
    inside = word.replace("\\", "\\\\").replace('"', '\\"')
    return _escaped(f'"{inside}"')

"""What confines the processes that run: what each of them reported, held against what the kernel says of it.

Used by `batos doctor`. Landlock and namespaces leave no trace that another process can read; no new privileges, the filter,
capabilities, accounts and limits do, and a report that they contradict is said to be untrue.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from deploy.capabilities import Capability
from deploy.confinement import ConfinementReport, Layer

_FILTERED = "2"


class ConfinedProcess(Struct, frozen=True):
    """One running process. `uid`: the account it runs as; `untrue`: what the kernel says against its report, or its children's."""

    process: str
    pid: int
    uid: int
    layers: list[Layer]
    untrue: list[str]

    @property
    def lacking(self) -> list[Layer]:
        """The layers that are not in force."""
        return [layer for layer in self.layers if not layer.in_force]


def running(run: Path) -> Iterator[ConfinedProcess]:
    """The processes of this run directory that live and have reported, by name. Files that cannot be read are left out."""
    for file in sorted((run / "confinement").glob("*.json")):
        try:
            report = msgspec.json.decode(file.read_bytes(), type=ConfinementReport)
            status = _status(report.pid)
        except (OSError, msgspec.DecodeError):
            continue  # it ended
        in_force = {layer.name: layer.reason for layer in report.layers if layer.in_force}
        untrue = _against(in_force, status, report.pid)
        for child in _descendants(report.pid) if report.process == "inference" else ():
            try:
                untrue += [f"its child {child}: {fault}" for fault in _against(in_force, _status(child), child)]
            except OSError:
                continue
        yield ConfinedProcess(report.process, report.pid, int(status["Uid"].split()[0]), report.layers, untrue)


def _status(pid: int) -> dict[str, str]:
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _against(in_force: dict[str, str], status: dict[str, str], pid: int) -> list[str]:
    faults = []
    if status["NoNewPrivs"] != "1":
        faults.append("it may gain privileges")
    if "system calls" in in_force and status["Seccomp"] != _FILTERED:
        faults.append("no filter of system calls")
    named = sum(1 << capability for capability in Capability if capability.name.lower() in in_force.get("capabilities", ""))
    if "capabilities" in in_force and any(int(status[kind], 16) & ~named for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb")):
        faults.append("capabilities that it does not name")
    if "limits" in in_force and not _limited(pid):
        faults.append("no limit of memory")
    return faults


def _limited(pid: int) -> bool:
    lines = (Path("/proc") / str(pid) / "limits").read_text().splitlines()
    return any(line.startswith(("Max address space", "Max data size")) and "unlimited" not in line for line in lines)


def _descendants(pid: int) -> Iterator[int]:
    try:
        children = (Path("/proc") / str(pid) / "task" / str(pid) / "children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from _descendants(child)

"""Who may import whom: each server's contract is one light module, and nobody reaches past it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"zeo_server", "uvm", "inference_worker", "ui_client", "deploy"}
ALLOWED = {
    "deploy": set(),
    "uvm": {"deploy", "inference_worker.protocol"},
    "inference_worker": {"deploy"},
    "ui_client": {"deploy", "uvm.protocol"},
    "zeo_server": {"deploy", "uvm.objects"},
}
LIGHT = {"uvm/protocol", "inference_worker/protocol.py", "uvm/objects.py", "inference_worker/tiers/events.py"}
FLOORS = {
    "uvm": (
        "protocol objects errors rights",
        "language",
        "values",
        "image",
        "history",
        "autotelic wishes",
        "runtime",
        "trial inference transporter",
        "generation",
        "bridge",
        "startup",
        "machine",
        "awakening heartbeat",
    ),
    "inference_worker": (
        "protocol errors concurrency console tiers",
        "metrics trace",
        "adapters",
        "engine",
        "lora",
        "loading",
        "server",
        "simulator forge convert __main__",
    ),
    "ui_client": (
        "client",
        "report values morphs connection child story check",
        "plank_checks",
        "terminal steps checks choices explanation export_files progress recovery model_choice imports",
        "message_arguments window startup wherefore proving",
        "evaluation",
        "commands",
        "cli",
    ),
}
"""The rooms of a package, from the ground up: none imports one above it, or beside it on the same floor, unless it is part of it."""
DECIDING = "inference_worker/tiers"
IMPURE = {"asyncio", "os", "pathlib", "random", "socket", "structlog", "subprocess", "threading", "time", "torch", "vllm", "zmq"}


def every_import(path: Path) -> set[str]:
    """Dotted names of the modules that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module in OURS}
        elif isinstance(node, ast.ImportFrom):
            pytest.fail(f"{path}: relative import")
    return found


def imported(path: Path) -> set[str]:
    """Those of them that are ours."""
    return {name for name in every_import(path) if name.split(".")[0] in OURS and name not in OURS}


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_it_may(package):
    files = [path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts]
    assert files
    broken = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported(path)
        if name.split(".")[0] != package
        and name.split(".")[0] not in ALLOWED[package]
        and not any(name == allowed or name.startswith(f"{allowed}.") for allowed in ALLOWED[package])
    }
    assert not broken


@pytest.mark.parametrize("module", sorted(LIGHT))
def test_a_contract_imports_nothing_of_ours(module):
    path = ROOT / module
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    assert files
    assert not {name for file in files for name in imported(file) if not name.startswith(module.replace("/", "."))}


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_no_room_imports_one_above_it(package):
    floor = {room: number for number, rooms in enumerate(FLOORS[package]) for room in rooms.split()}
    wrong = set()
    for path in sorted((ROOT / package).rglob("*.py")):
        room = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        assert room in floor, f"{path.relative_to(ROOT)} is in no room"
        for name in imported(path):
            other = name.split(".")[1] if name.startswith(f"{package}.") else room
            if floor.get(other, -1) > floor[room]:
                wrong.add(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_every_room_says_what_it_is(package):
    for path in (ROOT / package).rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path.relative_to(ROOT)} has no docstring"


def test_the_tier_scheduler_decides_without_clock_socket_file_or_engine():
    for path in sorted((ROOT / DECIDING).rglob("*.py")):
        roots = {name.split(".")[0] for name in every_import(path)}
        assert not roots & IMPURE, path.name
        assert all(name.startswith("inference_worker.tiers") for name in imported(path)), path.name


CORE = (
    *("events", "instructions", "generation", "request", "stages", "questions", "verdicts", "decision", "features", "naming", "lexicon"),
    *("manner", "answers"),
    *(f"process/{path.stem}" for path in sorted((ROOT / "uvm" / "generation" / "process").glob("*.py"))),
)
CORE_MAY = (
    *(f"uvm.generation.{module.replace('/', '.')}" for module in (*CORE, "process")),
    "uvm.errors",
    "uvm.protocol",
    "uvm.rights",
    "uvm.language",
    "uvm.runtime.policy",
    "uvm.trial.protocol",
    "uvm.trial.likeness",
    "uvm.values.examples",
    "inference_worker.protocol",
    "uvm.values.slot_values",
)


@pytest.mark.parametrize("module", CORE)
def test_the_writing_of_methods_is_decided_without_clock_image_model_or_settings(module):
    path = ROOT / "uvm" / "generation" / f"{module}.py"
    assert not {name.split(".")[0] for name in every_import(path)} & (IMPURE | {"ZODB", "persistent", "transaction"})
    assert not [name for name in imported(path) if name != "uvm.generation" and not name.startswith(CORE_MAY)]


def test_the_top_level_is_what_it_should_be():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests", "benchmarks"} == OURS

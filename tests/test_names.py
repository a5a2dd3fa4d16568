"""What things are called: a public class name means one thing in the whole house."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("deploy", "inference_worker", "ui_client", "uvm", "zeo_server")

USED_TWICE = {"Changes", "Frames", "Limits", "Lost", "Problem", "Progress"}
"""Public class names that two modules still define."""


def test_a_public_class_name_is_used_once() -> None:
    modules = defaultdict(set)
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].add(str(path.relative_to(ROOT)))
    assert len(modules) > 400
    twice = {name: sorted(paths) for name, paths in modules.items() if len(paths) > 1}
    assert not {name: paths for name, paths in twice.items() if name not in USED_TWICE}
    assert set(twice) == USED_TWICE, "a name that is used once now is no exception any more"

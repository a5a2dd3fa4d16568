"""What things are called: a public class name means one thing in the whole house."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("deploy", "inference_worker", "ui_client", "uvm", "zeo_server")


def test_a_public_class_name_is_used_once() -> None:
    modules = defaultdict(set)
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].add(str(path.relative_to(ROOT)))
    assert len(modules) > 400
    assert not {name: sorted(paths) for name, paths in modules.items() if len(paths) > 1}

"""What doctor says of running processes is what the kernel says of them, whatever they reported."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from deploy import inspection
from deploy.confinement import ConfinementReport, Layer

ROOT = Path(__file__).parents[2]


def test_a_confined_process_is_shown_with_its_layers_until_it_ends(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from deploy.confinement import Profile, enter
from deploy.profiles import python_paths
enter("server", Profile(read=python_paths(), memory_mb=512), Path(sys.argv[1]))
print("confined", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdin is not None and server.stdout is not None
        assert any(line == b"confined\n" for line in server.stdout)
        [shown] = inspection.running(tmp_path)
        server.stdin.close()
        server.wait(20)
    assert (shown.process, shown.pid, shown.uid, shown.untrue) == ("server", server.pid, os.getuid(), [])
    assert {"limits", "files", "system calls"} <= {layer.name for layer in shown.layers if layer.in_force}
    assert list(inspection.running(tmp_path)) == []


def test_a_report_that_the_kernel_contradicts_is_untrue(tmp_path: Path) -> None:
    (tmp_path / "confinement").mkdir()
    layers = [Layer("system calls", True, "seccomp"), Layer("limits", False, "left out")]
    (tmp_path / "confinement" / "liar.json").write_bytes(msgspec.json.encode(ConfinementReport("liar", os.getpid(), layers)))
    [shown] = inspection.running(tmp_path)
    assert "no filter of system calls" in shown.untrue
    assert [layer.name for layer in shown.lacking] == ["limits"]

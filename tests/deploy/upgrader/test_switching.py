"""From which environment a process runs, told by its command line."""

import subprocess
import sys

from deploy.upgrader.switching import running_from


def told(*words: str) -> str:
    """What is told of a process that was started with these words, and waits."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", *words], stdin=subprocess.PIPE)
    try:
        return running_from(process.pid)
    finally:
        process.communicate()


def test_a_process_runs_from_the_python_that_it_was_started_with() -> None:
    assert told("-m", "uvm.machine") == sys.executable
    assert running_from(0) == running_from(2**22 + 1) == ""


def test_a_process_that_supervisord_has_forked_and_not_started_yet_runs_from_nowhere() -> None:
    """For a moment it has supervisord's own command line, whose Python may be that of the environment in force."""
    assert told("-m", "supervisor.supervisord", "-c", "/home/supervisord.conf") == ""

"""Wheels of one small distribution that is good, or bad in one way each. A `.pth` file has it imported whenever Python starts."""

from pathlib import Path

from tests.theseus.wheel import make_wheel

_HEAD = "import os, signal, sys, time\nVERSION = {version!r}\n_REAL = not os.environ.get('BATOS_HOME', '').endswith('proof')\n"
CRASH = "tmp/crash"
"""The file in the home with which version 5.0 crashes: when it does must not hang on how fast a process starts."""
BEHAVIOUR = {
    "1.0": "",
    "2.0": "",
    "3.0": "if 'uvm.awakening' in sys.orig_argv:\n    os._exit(3)\n",  # breaks the awakening
    "4.0": "if _REAL and 'uvm.machine' in sys.orig_argv:\n    time.sleep(3600)\n",  # hangs at the start
    "5.0": "if _REAL and 'uvm.machine' in sys.orig_argv:\n"  # crashes once CRASH is there
    "    signal.signal(signal.SIGPROF, lambda *_: os.path.exists(os.environ['BATOS_HOME'] + '/tmp/crash') and os._exit(9))\n"
    "    signal.setitimer(signal.ITIMER_PROF, 0.02, 0.02)\n",
    "7.0": "if _REAL and 'uvm.machine' in sys.orig_argv:\n"  # sleeps ten times as long as it works
    "    signal.signal(signal.SIGPROF, lambda *_: time.sleep(0.05))\n    signal.setitimer(signal.ITIMER_PROF, 0.005, 0.005)\n",
    "8.0": "if 'inference_worker' in sys.orig_argv:\n    os._exit(4)\n",  # breaks the worker, so that no method is written
    "6.0": "raise ImportError('not for this machine')\n",  # cannot be imported
}
"""Version → what it does when it is imported."""


def make_planks(directory: Path) -> dict[str, Path]:
    """All of them, by version."""
    directory.mkdir(parents=True, exist_ok=True)
    return {version: make_plank(directory, version, version) for version in BEHAVIOUR}


def make_plank(directory: Path, version: str, like: str) -> Path:
    """A wheel of one version, which behaves like that one."""
    source = _HEAD.format(version=version) + BEHAVIOUR[like]
    start = {"batos_plank_start.pth": "import batos_plank\n"} if like != "6.0" else {}
    return make_wheel(directory, version, {"batos_plank.py": source, **start})

"""An awakening that comes before the image's server leaves the server's directories to the server."""

import os
import subprocess
import sys
from pathlib import Path

from deploy.settings import Home


def test_an_awakening_that_finds_no_server_says_so_and_makes_none_of_its_directories(tmp_path: Path) -> None:
    environment = {**os.environ, "BATOS_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "uvm.awakening", "--wait", "0.1"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "batos up starts it" in ended.stderr
    # A confined process may go on using only the directory that it was confined to, and the server makes this one anew.
    assert not (Home(tmp_path / "home").blobs / ".layout").exists()

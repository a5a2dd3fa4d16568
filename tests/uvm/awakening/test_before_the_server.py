"""An awakening that comes before the image's server waits for the server's directories."""

import os
import subprocess
import sys
from pathlib import Path


def test_an_awakening_is_not_confined_before_the_server_has_made_the_directories_that_it_is_confined_to(tmp_path: Path) -> None:
    environment = {**os.environ, "BATOS_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "uvm.awakening", "--wait", "0.1"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "batos up starts it" in ended.stderr
    # The server makes its directory for blobs anew, and whoever was confined to the one before cannot read the new one.
    assert '"event": "confinement"' not in ended.stdout + ended.stderr

"""The directory in which one image and its service keep everything: what is where, and that it is ours."""

import hashlib
import os
import tempfile
from pathlib import Path

from msgspec import Struct

from deploy.sources import SettingsError

# A Unix socket's path has room for 107 bytes; the longest name that is put into the run directory needs 34.
# Of the whole service: a process that sets a temporary directory of its own must not look for the others there.
_TEMPORARY = Path(tempfile.gettempdir())
_LONGEST_RUN_DIRECTORY = 107 - 34


class Home(Struct, frozen=True):
    """Where one image and its service keep everything."""

    path: Path

    @property
    def image_file(self) -> Path:
        return self.path / "live_image.fs"

    @property
    def blobs(self) -> Path:
        return self.path / "blobs"

    @property
    def models(self) -> Path:
        """Model directories linked out of the image's blobs, one per digest."""
        return self.path / "models"

    @property
    def adapters(self) -> Path:
        """Adapter directories linked out of the image's blobs, one per digest."""
        return self.path / "adapters"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """The 0700 directory of sockets and pid files; under a short path of its own where home's is too long."""
        inside = self.path / "run"
        return inside if len(os.fsencode(inside)) <= _LONGEST_RUN_DIRECTORY else self._short("")

    @property
    def scratch(self) -> Path:
        """Temporary files and sockets of the engine's processes; a short path, since vLLM makes long names of its own."""
        return self._short("-engine")

    @property
    def image_run(self) -> Path:
        """The image server's sockets. Each of these directories is shown only to the processes that connect to what is in it."""
        return self.run / "image"

    @property
    def uvms_run(self) -> Path:
        """Where UVMs meet the bridge."""
        return self.run / "uvms"

    @property
    def inference_run(self) -> Path:
        """The inference worker's sockets."""
        return self.run / "inference"

    @property
    def supervisor_run(self) -> Path:
        """supervisord's socket, which no process of the service needs."""
        return self.run / "supervisor"

    @property
    def supervision(self) -> Path:
        """supervisord's configuration, with its password, and its process id."""
        return self.path / "supervision"

    @property
    def upgrades(self) -> Path:
        """Where a wish for an upgrade is put, and the key that signs it; the upgrader watches it."""
        return self.path / "upgrades"

    @property
    def upgrade_records(self) -> Path:
        """The upgrader's journals, a directory for each upgrade; closed like the rest of `supervision`."""
        return self.supervision / "upgrades"

    @property
    def zeo_socket(self) -> Path:
        return self.image_run / "zeo.sock"

    @property
    def supervisor_socket(self) -> Path:
        return self.supervisor_run / "supervisor.sock"

    def _short(self, suffix: str) -> Path:
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return _TEMPORARY / f"batos-{os.getuid()}-{digest}{suffix}"

    def ensure(self) -> None:
        """Create the directories that are missing; the run directory is closed to other users.

        Raises SettingsError when the run directory belongs to somebody else.
        """
        for directory in (self.path, self.models, self.adapters, self.logs, self.run):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700 if directory == self.run else 0o777)
        self._close(self.run)
        for directory in (self.image_run, self.uvms_run, self.inference_run, self.supervisor_run, self.path / "keys", self.upgrades):
            directory.mkdir(exist_ok=True, mode=0o700)

    def ensure_scratch(self) -> None:
        """Create the engine's directory, closed to other users. Raises SettingsError when it belongs to somebody else."""
        self.scratch.mkdir(exist_ok=True, mode=0o700)
        self._close(self.scratch)

    def _close(self, directory: Path) -> None:
        """Root may find what belongs to the service's account, which then has the home as well."""
        owners = {os.getuid(), self.path.stat().st_uid} if os.getuid() == 0 else {os.getuid()}
        if directory.lstat().st_uid not in owners or directory.is_symlink():
            raise SettingsError(f"{directory} belongs to another user; remove it or choose another BATOS_HOME")
        directory.chmod(0o700)

"""What is wrong with an image that does not come up, and the way back: asks `uvm.awakening.rewind`, which reads the files alone."""

import json
import os
import subprocess
import sys
from typing import Any

from deploy.settings import Configuration
from ui_client.report import Failure

_DEADLINE_S = 1800.0
_SHOWN = 5


def check(configuration: Configuration) -> dict[str, Any]:
    """`boots`, and `problems` with `where`, `what`, `remedy` and `fatal`. Raises Failure."""
    checked: dict[str, Any] = _ask(configuration, "check")
    return checked


def way_back(configuration: Configuration, to: str = "") -> dict[str, Any]:
    """The transaction `to`, else the last one that boots, with what is after it. Raises Failure when there is none."""
    point: dict[str, Any] | None = _ask(configuration, "at", to) if to else _ask(configuration, "find")
    if point is None and to:
        raise Failure("NoSuchTransaction", f"the image has no transaction {to}", "`batos image rollback --list` shows the newest ones")
    if point is None:
        raise Failure("NoWayBack", "the image boots after none of its transactions", "restore a backup: `batos image restore DIR --force`")
    return point


def listed(configuration: Configuration) -> list[dict[str, Any]]:
    """The newest transactions, newest first: `tid`, `time`, `boots`. Raises Failure."""
    transactions: list[dict[str, Any]] = _ask(configuration, "list")
    return transactions


def diagnosed(configuration: Configuration, failure: Failure) -> Failure:
    """Why the service did not come up: the broken image, where that is the reason; otherwise the failure itself."""
    if not configuration.home.image_file.exists():
        return failure
    try:
        broken = [problem for problem in check(configuration)["problems"] if problem["fatal"]]
    except Failure:
        return failure
    if not broken:
        return failure
    reasons = "; ".join(f"{problem['where']}: {problem['what']}" for problem in broken[:_SHOWN])
    more = f"; and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
    return Failure(
        "ImageBroken",
        f"the image does not boot: {reasons}{more}",
        "`batos down`, then `batos image rollback` shows and goes back to the last transaction that boots, setting the image aside; "
        "or restore a backup: `batos image restore DIR --force`",
        tail=failure.tail,
        details={"problems": broken},
    )


def _ask(configuration: Configuration, *arguments: str) -> Any:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "uvm.awakening.rewind", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_DEADLINE_S,
            env=os.environ | {"BATOS_HOME": str(configuration.home.path)},
        )
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise Failure("TookTooLong", f"looking at the image took more than {_DEADLINE_S:.0f} s", "restore a backup") from error
    except ValueError as error:
        message = f"{configuration.home.image_file} cannot be looked at: {done.stderr.strip()[-500:] or 'no answer'}"
        raise Failure("NotChecked", message, "`batos image verify` reads the files without the kernel") from error

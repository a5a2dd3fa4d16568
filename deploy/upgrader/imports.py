"""`python -m deploy.upgrader.imports NAME…`: import packages for the first time, confined: without files to write, without a network.

Run by the upgrader with the Python of a new environment. Exit status 0 when all could be imported; what could not is written to stderr.
"""

import importlib
import os
import sys

from deploy import confinement, profiles
from deploy.settings import load


def main() -> int:
    """Entry point."""
    confinement.confine(profiles.import_profile(load()))
    failed = 0
    for name in sys.argv[1:]:
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001  a package may do anything when it is imported
            sys.stderr.write(f"{name}: {type(error).__name__}: {error}\n")
            failed += 1
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(1 if failed else 0)  # what a package left running does not matter


if __name__ == "__main__":
    raise SystemExit(main())

"""`python -m tests.hostile [--every N] [--aim CLASS] [--json FILE]`: the whole corpus on a real service, with what became of it.

`--alone`: the ways out of Python's sandboxes instead, each on every layer alone; the list, and the table of `docs/security.md`.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import msgspec
import structlog

from tests.hostile import alone, attacks, methods
from tests.hostile.fortress import Trial, siege, table


def main() -> int:
    """Entry point; 1 when anything did harm."""
    parser = argparse.ArgumentParser(description="Try the corpus of hostile methods and messages on a real service.")
    parser.add_argument("--every", type=int, default=1, help="only each so manieth attack")
    parser.add_argument("--aim", default="", help="only this class")
    parser.add_argument("--json", type=Path, help="write what became of each attack here")
    parser.add_argument("--alone", action="store_true", help="only the ways out of Python's sandboxes, each on every layer alone")
    options = parser.parse_args()
    if options.alone:
        return by_layers(options.json)
    corpus = [attack for attack in (*methods.corpus(), *attacks.corpus()) if options.aim in ("", attack.aim)][:: options.every]

    def progress(number: int, trial: Trial, harm: str) -> None:
        if harm:
            sys.stdout.write(f"HARM  {trial.aim}: {trial.name}: {harm}\n")
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{number}/{len(corpus)} {trial.aim:12}")

    trials = siege(corpus, progress)
    if options.json:
        options.json.write_bytes(msgspec.json.encode(trials))
    harmful = [trial for trial in trials if trial.layer == "none"]
    sys.stdout.write(f"{table(trials)}\n{len(trials)} attacks, {len(harmful)} did harm\n")
    return 1 if harmful else 0


def by_layers(report: Path | None) -> int:
    """Print the list and the table; 1 when a way out went through a layer that is said to hold it."""
    # What a broken method makes the image's machinery say is expected here.
    logging.disable()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as directory:
        seen = alone.verdicts(Path(directory))
    if report:
        report.write_bytes(msgspec.json.encode(seen))
    through = alone.unheld(seen)
    sys.stdout.write(
        f"{alone.listing(seen)}\n\n{alone.table(seen)}\n{len(alone.corpus())} ways out, {len(through)} held by less than is said\n"
    )
    return 1 if through else 0


if __name__ == "__main__":
    raise SystemExit(main())

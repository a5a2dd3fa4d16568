"""`python -m tests.hostile [--every N] [--aim CLASS] [--json FILE]`: the whole corpus on a real service, with what became of it."""

import argparse
import sys
from pathlib import Path

import msgspec

from tests.hostile import attacks, methods
from tests.hostile.fortress import Trial, siege, table


def main() -> int:
    """Entry point; 1 when anything did harm."""
    parser = argparse.ArgumentParser(description="Try the corpus of hostile methods and messages on a real service.")
    parser.add_argument("--every", type=int, default=1, help="only each so manieth attack")
    parser.add_argument("--aim", default="", help="only this class")
    parser.add_argument("--json", type=Path, help="write what became of each attack here")
    options = parser.parse_args()
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


if __name__ == "__main__":
    raise SystemExit(main())

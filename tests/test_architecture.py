"""The guides of docs/architecture.md: every file that they send a reader to is there, with what is to be looked for in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "architecture.md"
ROW = re.compile(r"^\| `(?P<file>[a-z_/]+\.py)` \| (?P<step>.+) \|$", re.MULTILINE)
BRACKETS = re.compile(r"\(([^)]*)\)")
NAMES = re.compile(r"`([A-Za-z_.]+)`")


def steps(guide: str) -> list[tuple[str, list[str]]]:
    """The files of a guide, and the functions that stand in brackets in each row."""
    section = DOCUMENT.read_text().partition(f"## {guide}\n")[2].partition("\n## ")[0]
    return [(row["file"], NAMES.findall(" ".join(BRACKETS.findall(row["step"])))) for row in ROW.finditer(section)]


@pytest.mark.parametrize(("guide", "files"), [("Follow a message", 8), ("Follow an adapter", 9)])
def test_a_guide_leads_through_few_files_and_functions_that_are_there(guide: str, files: int) -> None:
    rows = steps(guide)
    assert len(rows) == files
    lost = [
        f"{file}: {name}"
        for file, names in rows
        for name in names
        if not re.search(rf"def {name.rpartition('.')[2]}\(", (ROOT / file).read_text())
    ]
    assert not lost

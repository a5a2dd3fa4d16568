"""The guides of docs/architecture.md: every file that they send a reader to is there, with what is to be looked for in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "architecture.md"
ROW = re.compile(r"^\| `(?P<file>[a-z_/]+\.py)` \| (?P<step>.+) \|$", re.MULTILINE)
NAMES = re.compile(r"`([A-Za-z_.]+)`")


def steps(guide: str) -> list[tuple[str, list[str]]]:
    """The files of a guide, and the functions that stand in brackets at the end of each row."""
    section = DOCUMENT.read_text().partition(f"## {guide}\n")[2].partition("\n## ")[0]
    return [
        (row["file"], NAMES.findall(row["step"].rpartition("(")[2] if row["step"].endswith(")") else "")) for row in ROW.finditer(section)
    ]


@pytest.mark.parametrize("guide", ["Follow a message", "Follow an adapter"])
def test_a_guide_leads_through_files_and_functions_that_are_there(guide: str) -> None:
    rows = steps(guide)
    assert len(rows) >= 10
    lost = [
        f"{file}: {name}"
        for file, names in rows
        for name in names
        if not re.search(rf"def {name.rpartition('.')[2]}\(", (ROOT / file).read_text())
    ]
    assert not lost

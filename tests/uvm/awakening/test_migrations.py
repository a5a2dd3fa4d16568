"""The image's structure, from every shape that was ever released to this one and back; or as it was, where it cannot be."""

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ZODB.FileStorage import FileStorage

from deploy.settings import Configuration, load
from tests.uvm.images import Bench, awakened
from uvm.awakening.awakening import awaken
from uvm.awakening.check import check
from uvm.awakening.migrations import MIGRATIONS, Migration, go_back, migrate
from uvm.history import entries
from uvm.image.image import Database, Image
from uvm.image.shape import SHAPE, ImageNewer, expect_known, record_shape, shape_of
from uvm.machine.delivery import Answered
from uvm.protocol import decode_value

IMAGES = Path(__file__).parents[2] / "images"
RELEASED = sorted(IMAGES.glob("shape-*.fs.gz"))


@pytest.fixture(params=RELEASED, ids=lambda path: path.name.partition(".")[0])
def released(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Image]:
    """An image as an earlier version left it."""
    file = tmp_path / "live_image.fs"
    with gzip.open(request.param) as packed, file.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)
    image = Image(Database(FileStorage(str(file))))
    yield image
    image.close()


def configuration(directory: Path) -> Configuration:
    settled = load({"BATOS_HOME": str(directory)}, directory)
    settled.home.ensure()
    return settled


def awake(image: Image, directory: Path) -> list[str]:
    """Awaken it; the steps that were told."""
    told: list[str] = []
    assert not awaken(image, configuration(directory), None, None, lambda step, detail, done: told.append(f"{step}: {detail}"))
    return told


def test_there_is_a_migration_for_each_shape_and_an_image_of_each_but_the_newest() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, SHAPE + 1))
    assert [path.name for path in RELEASED] == [f"shape-{number}.fs.gz" for number in range(SHAPE)]


def test_an_image_of_every_shape_awakens_answers_and_says_what_happened(released: Image, tmp_path: Path) -> None:
    told = awake(released, tmp_path)
    assert any("shape" in line for line in told)
    bench = Bench(released)
    outcome = bench.send("shop", "total_price")
    assert isinstance(outcome, Answered) and decode_value(outcome.result) == 10.0
    released.manager.begin()
    assert shape_of(released) == SHAPE
    assert not [problem for problem in check(released, tmp_path / "blobs").problems if problem.fatal]
    assert next(entries.newest_first(released, chronicle=True)).entry["kind"] == "renewal"
    released.manager.abort()
    assert not any("shape" in line for line in awake(released, tmp_path))


def test_what_was_migrated_goes_back_and_forth(released: Image) -> None:
    released.manager.begin()
    before = shape_of(released)
    assert [migration.number for migration in migrate(released)] == list(range(before + 1, SHAPE + 1))
    assert [migration.number for migration in go_back(released, before)] == list(range(SHAPE, before, -1))
    assert shape_of(released) == before and ("shape" in released.root) == (before > 0)
    assert len(migrate(released)) == SHAPE - before and migrate(released) == []
    released.manager.commit()


def test_a_new_image_has_the_newest_shape() -> None:
    with awakened() as image:
        image.manager.begin()
        assert expect_known(image) == SHAPE and migrate(image) == []


def test_a_migration_that_fails_leaves_the_image_as_it_was(released: Image) -> None:
    def half(image: Image) -> None:
        image.named("genesis_obj").put("half", 1)
        raise RuntimeError("no further")

    released.manager.begin()
    with pytest.raises(RuntimeError, match="no further"):
        migrate(released, [*MIGRATIONS, Migration(SHAPE + 1, "fails", half, lambda image: None)])
    released.manager.abort()
    released.manager.begin()
    assert "half" not in released.named("genesis_obj").names()
    assert shape_of(released) < SHAPE
    released.manager.abort()


def test_code_that_is_older_than_the_image_touches_nothing(tmp_path: Path) -> None:
    with awakened() as image:
        image.manager.begin()
        record_shape(image, SHAPE + 1)
        image.manager.commit()
        tid = image.database.storage.lastTransaction()
        with pytest.raises(ImageNewer, match=f"has shape {SHAPE + 1}"):
            awake(image, tmp_path)
        image.manager.abort()
        assert image.database.storage.lastTransaction() == tid


@pytest.mark.parametrize("shape", [-1, "1", True, 2.0])
def test_a_shape_that_no_code_wrote_is_no_shape(shape: object) -> None:
    with awakened() as image:
        image.manager.begin()
        image.root["shape"] = shape
        with pytest.raises(ImageNewer, match="none"):
            expect_known(image)

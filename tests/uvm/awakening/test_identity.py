"""Who the image is, and the receipts that the upgrader leaves in it."""

from tests.uvm.images import Bench, awakened
from uvm.awakening import renewal
from uvm.awakening.identity import WRITER, identity, record
from uvm.history import entries

RECEIPT = {"upgrade": 3, "wish": "ab", "outcome": "permanent", "down_s": {"uvm-1": 0.4}, "why": "x" * 3000}


def test_messages_leave_the_identity_as_it_is_and_the_chronicle_only_grows() -> None:
    with awakened() as image:
        image.writer = WRITER
        image.manager.begin()
        before = identity(image)
        record(image, RECEIPT)
        image.manager.commit()
        Bench(image).send("genesis_obj", "setSlot_value_", "note", 1)
        image.manager.begin()
        after = identity(image)
        image.manager.abort()
    assert (before["digest"], before["codex"], before["shape"]) == (after["digest"], after["codex"], after["shape"])
    assert after["chronicle"][WRITER] > before["chronicle"].get(WRITER, [])


def test_what_a_renewal_brings_makes_no_other_image_of_it() -> None:
    """Else no version that brings a primordial object could ever take the place of the one before it."""
    with awakened() as image:
        image.manager.begin()
        now = identity(image)
        for name in renewal.BROUGHT:
            image.take_name(image.named(name), name)
        image.root["primordial"] = [name for name in image.root["primordial"] if name not in renewal.BROUGHT]
        before = identity(image)
        assert set(renewal.renew(image)) >= renewal.BROUGHT
        after = identity(image)
        image.manager.abort()
    assert before["digest"] == after["digest"] == now["digest"]


def test_another_image_is_another_one() -> None:
    with awakened() as image:
        image.manager.begin()
        before = identity(image)
        image.root["primordial"] = [name for name in image.root["primordial"] if name != "robin"]
        assert identity(image)["digest"] != before["digest"]


def test_a_receipt_is_written_once() -> None:
    with awakened() as image:
        image.writer = WRITER
        image.manager.begin()
        assert record(image, RECEIPT)
        image.manager.commit()
        image.manager.begin()
        assert not record(image, RECEIPT)
        assert record(image, RECEIPT | {"outcome": "reverted"})
        image.manager.commit()
        image.manager.begin()
        kinds = [recorded.entry["kind"] for recorded in entries.newest_first(image, chronicle=True)]
        image.manager.abort()
    assert kinds.count("upgrade") == 2

"""What the writing of a method does to the image, one step at a time, each in a transaction of the test's."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from deploy.settings import UvmSettings
from tests.uvm.generation.played import request_for
from tests.uvm.images import awakened
from uvm.errors import NotAllowed, NotUnderstood
from uvm.generation.claims import LostClaim
from uvm.generation.installer import Installer
from uvm.generation.instructions import Advance, Install
from uvm.generation.stages import IllegalStage
from uvm.image.image import Image
from uvm.image.methods import quarantine
from uvm.objects import PARENTS, UvmObject
from uvm.protocol import Reference
from uvm.runtime.primitives import PRIMITIVES
from uvm.runtime.runtime import Runtime

SOURCE = "def worth(self):\n    return self.cost\n"


class Desk:
    """An installer of one UVM, an object, and a request for a method of it."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.installer = self.of("uvm-1/1")
        image.manager.begin()
        self.shop = UvmObject({PARENTS: [image.named("genesis_obj")], "cost": 4})
        image.give_name(self.shop, "shop")
        image.manager.commit()
        image.manager.begin()
        self.request = request_for("worth", receiver=0)
        self.request = msgspec.structs.replace(self.request, receiver=self.shop._p_oid, parents=[])

    def of(self, owner: str) -> Installer:
        return Installer(self.image, Runtime(self.image, PRIMITIVES), UvmSettings(), owner, lambda proxy, kind: None)

    def tried(self) -> bytes:
        """The message, claimed and advanced to where its drafts have been tried."""
        oid = self.installer.claim(self.request).oid
        for before, after in (("reified", "reflected"), ("reflected", "drafted"), ("drafted", "audited"), ("audited", "tried")):
            self.installer.advance(self.step(oid, before, after))
        return oid

    def step(self, oid: bytes, before: str, after: str) -> Advance:
        return Advance(1, oid, self.request, before, after, {})

    def order(self, oid: bytes, read: dict[bytes, bytes] | None = None) -> Install:
        return Install(1, oid, self.request, SOURCE, "brick", {"mode": "base"}, read or {}, [])


@pytest.fixture
def desk() -> Iterator[Any]:
    with awakened() as image:
        yield Desk(image)


def test_method_proof_message_and_library_are_one_step(desk: Any) -> None:
    oid = desk.tried()
    assert desk.installer.put(desk.order(oid)) is True
    installed = desk.shop.own("worth")
    assert installed.own("source") == SOURCE and installed.own("proof") == {"mode": "base"}
    message = desk.image.at(Reference(oid))
    assert message.own("stage") == "installed" and message.own("method") is installed
    assert desk.installer.from_library(desk.request) == (SOURCE, "brick", [])


def test_what_is_out_of_use_is_not_in_the_library_and_fulfils_no_request(desk: Any) -> None:
    desk.installer.put(desk.order(desk.tried()))
    assert desk.installer.claim(desk.request).state == "installed"
    quarantine(desk.shop.own("worth"), "no")
    assert desk.installer.from_library(desk.request) is None
    assert desk.installer.claim(desk.request).state == "mine"


def test_an_object_that_has_changed_since_the_trial_stops_the_installation_and_the_counters_do_not(desk: Any) -> None:
    oid = desk.tried()
    desk.image.manager.commit()
    desk.image.manager.begin()
    genesis = desk.image.named("genesis_obj")
    old = b"\0" * 8
    assert desk.installer.put(desk.order(oid, {desk.shop._p_oid: old})) is False and "worth" not in desk.shop.names()
    assert desk.installer.put(desk.order(oid, {genesis._p_oid: old})) is True


def test_nobody_but_the_owner_advances_and_no_stage_is_left_out(desk: Any) -> None:
    oid = desk.installer.claim(desk.request).oid
    assert desk.of("uvm-2/1").claim(desk.request).state == "theirs"
    steps: tuple[Callable[[], object], ...] = (
        lambda: desk.of("uvm-2/1").advance(desk.step(oid, "reified", "reflected")),
        lambda: desk.of("uvm-2/1").renew(oid, "reified"),
        lambda: desk.of("uvm-2/1").back_to_trial(oid),
        lambda: desk.of("uvm-2/1").wait_for(oid, "k"),
        lambda: desk.installer.advance(desk.step(oid, "drafted", "audited")),
    )
    for step in steps:
        with pytest.raises(LostClaim):
            step()
    with pytest.raises(IllegalStage):
        desk.installer.advance(desk.step(oid, "reified", "tried"))


def test_nothing_is_written_for_what_only_a_primordial_object_could_hold(desk: Any) -> None:
    genesis = desk.image.named("genesis_obj")
    request = msgspec.structs.replace(desk.request, receiver=genesis._p_oid, rights=frozenset())
    with pytest.raises(NotUnderstood):
        desk.installer.claim(request)
    assert desk.installer.holder(msgspec.structs.replace(request, rights=frozenset({"policy"}))) == genesis._p_oid


def test_a_method_takes_no_value_out_of_its_slot(desk: Any) -> None:
    oid = desk.tried()
    desk.shop.put("worth", 5)
    with pytest.raises(NotAllowed):
        desk.installer.put(desk.order(oid))

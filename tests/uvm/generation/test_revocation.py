"""Authors that are revoked: their methods stay to be read and do not run, and what is missed is written by what is in force."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.settings import Configuration, Home, Settings
from tests.uvm.generation.killed import DIGEST, METHODS
from tests.uvm.houses import BuildHouse, House, make_shop, offer
from tests.uvm.images import Bench, awakened
from tests.zeo_server.server import ROOT, running_server
from uvm.awakening import renewal
from uvm.heartbeat.heartbeat import Heartbeat
from uvm.image import authors, model_registry, revocations, tables
from uvm.image.authors import Author
from uvm.image.image import Database, Image
from uvm.image.methods import install, method, runs
from uvm.objects import KIND, PARENTS, UvmObject
from uvm.protocol import Example, Reference
from uvm.trial.client import TrialServer

BASE = "0" * 64
COVENANT = "c" * 64
OTHER = "d" * 64
WRONG = "    self.cost = 0\n    return self.cost"
RIGHT = "    return self.cost * self.pieces"


def adapter(house: House, persona: str, digest: str, name: str = "covenant") -> None:
    """Give a persona an adapter."""
    proxy = UvmObject({KIND: "adapter", "digest": digest, "blobs": {}, "name": name, "base": BASE})

    def put() -> None:
        model_registry.enter(house.image, "adapter", proxy)
        house.image.named(persona).put("adapter", proxy)

    house.transactor.run(put)
    (house.home / "adapters" / digest).mkdir(parents=True, exist_ok=True)


def furnished(build_house: BuildHouse, tmp_path: Path, **bodies: Any) -> Any:
    """A house whose personas have the adapter COVENANT."""
    house = build_house(**bodies)
    adapter(house, "pLLM_obj", COVENANT)
    return house


def revoke(house: House, kind: Any = "adapter", name: Any = COVENANT, **options: Any) -> Any:
    return house.send("pLLM_obj", "revokeAuthor_", kind, name, kwargs=options)


def restore(house: House, kind: Any = "adapter", name: Any = COVENANT, **options: Any) -> Any:
    return house.send("pLLM_obj", "restoreAuthor_", kind, name, kwargs=options)


def test_what_a_revoked_adapter_wrote_stays_to_be_read_and_is_written_anew(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[WRONG])
    shop, sibling, never = (make_shop(house) for _ in range(3))
    assert house.send(shop, "worth") == house.send(sibling, "worth") == 0
    answer = revoke(house, reason="it sets costs to nothing")
    assert answer["counts"] == {"quarantined": 1} and answer["author"] == f"adapter:{COVENANT}" and answer["by"] == "local"
    (fate,) = answer["methods"]
    assert (fate["selector"], fate["object"], fate["fate"]) == ("worth", shop, "quarantined")
    assert fate["writes"] == 2 and {(written["object"], written["slot"]) for written in fate["data"]} == {(shop, "cost"), (sibling, "cost")}
    for owner in (shop, sibling):
        report = house.send(owner, "explain_", "worth")
        assert report["source"].endswith(WRONG + "\n") and report["revoked"]["reason"] == "it sets costs to nothing"
        assert report["quarantined"] == f"revoked: adapter:{COVENANT}, it sets costs to nothing" and len(report["digest"]) == 64
        assert house.send(owner, "respondsTo_", "worth") is False
        house.send(owner, "setSlot_value_", "cost", 4)
    house.model.bodies["worth"] = [RIGHT]
    assert [house.send(owner, "worth") for owner in (shop, sibling, never)] == [12, 12, 12]
    assert house.model.asked[-1].adapter is None, "the model itself drafts, where no other adapter is in force"
    assert house.send(shop, "explain_", "worth")["proof"]["adapter"] == ""


def test_the_next_adapter_up_the_chain_speaks_for_the_revoked_one(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT], price=[RIGHT])
    adapter(house, "brick", OTHER, "own")
    shop = make_shop(house)
    house.send(shop, "worth")
    assert house.model.asked[-1].adapter == OTHER
    revoke(house, name=OTHER)
    house.send(shop, "price")
    assert house.model.asked[-1].adapter == COVENANT


def test_a_revoked_adapter_is_asked_for_in_vain(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT])
    house.send(make_shop(house), "worth")
    revoke(house)
    proxy = house.transactor.look(lambda: house.image.reference(house.image.named("pLLM_obj").own("adapter")))
    error = house.send("brick", "setSlot_value_", "adapter", proxy)
    assert error.type == "Revoked" and "batos adapters restore" in error.remedy and error.details["by"] == "local"
    assert house.send(proxy, "state") == "revoked"
    restore(house)
    house.send("brick", "setSlot_value_", "adapter", proxy)
    assert house.send("brick", "adapter") == proxy and house.send(proxy, "state") == "ready"


def test_restoring_lets_methods_run_where_nothing_came_in_between(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT], price=["    return self.cost"])
    shop, sibling = make_shop(house), make_shop(house)
    house.send(shop, "worth"), house.send(shop, "price"), house.send(sibling, "worth")
    revoke(house)
    house.model.bodies["worth"] = ["    return self.cost + 100"]
    assert house.send(shop, "worth") == 104
    questions = len(house.model.asked)
    preview = restore(house, preview=True)
    assert preview["preview"] and house.send(shop, "respondsTo_", "price") is False
    answer = restore(house)
    assert {method["selector"]: method["fate"] for method in answer["methods"]} == {"worth": "replaced", "price": "restored"}
    assert next(method for method in answer["methods"] if method["selector"] == "worth")["successor"]
    assert house.send(shop, "price") == 4 and house.send(shop, "worth") == 104
    assert house.send(sibling, "worth") == 104, "who had it has what came in its place"
    assert len(house.model.asked) == questions
    assert restore(house).type == "BadArguments", "it is revoked no more"


def test_revoking_shows_first_and_may_be_said_twice(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT])
    shop = make_shop(house)
    house.send(shop, "worth")
    preview = revoke(house, name=COVENANT[:8], preview=True)
    assert preview["preview"] and [method["selector"] for method in preview["methods"]] == ["worth"]
    assert house.send(shop, "worth") == 12 and house.send("pLLM_obj", "revokedAuthors") == []
    assert revoke(house, name="covenant")["counts"] == {"quarantined": 1}
    assert revoke(house)["counts"] == {}
    (listed,) = house.send("pLLM_obj", "revokedAuthors")
    assert (listed["kind"], listed["name"], listed["methods"], listed["by"]) == ("adapter", COVENANT, 1, "local")


def test_a_persona_is_not_asked_any_more(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT], price=[RIGHT])
    shop = make_shop(house)
    house.send(shop, "worth")
    assert revoke(house, "persona", "brick")["counts"] == {"quarantined": 1}
    error = house.send(shop, "price")
    assert error.type == "Revoked" and "batos restore --persona brick" in error.remedy
    restore(house, "persona", "brick")
    assert house.send(shop, "worth") == house.send(shop, "price") == 12


def test_a_session_and_a_principal_are_revoked_with_what_they_offered(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT])
    shop, sibling = make_shop(house), make_shop(house)
    offer(house, shop, "worth", "def worth(self):\n    return 1\n", session="bad", seq=1)
    offer(house, sibling, "worth", "def worth(self):\n    return 2\n", session="good", seq=1)
    assert revoke(house, "session", "bad")["counts"] == {"quarantined": 1}
    assert house.send(sibling, "worth") == 2
    refused = offer(house, sibling, "price", "def price(self):\n    return 2\n", session="bad", seq=2)
    assert refused.type == "Revoked" and "--session bad" in refused.remedy
    assert house.send(shop, "worth") == 12, "what is missed is written anew"
    answer = revoke(house, "principal", "local")
    assert answer["counts"] == {"quarantined": 1}
    assert restore(house, "principal", "local")["counts"] == {"restored": 1}
    (fate,) = restore(house, "session", "bad")["methods"]
    assert fate["fate"] == "replaced"


def test_what_two_revocations_keep_takes_two_to_restore(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT])
    shop = make_shop(house)
    house.send(shop, "worth")
    revoke(house)
    assert revoke(house, "persona", "brick")["counts"] == {}
    assert restore(house)["counts"] == {"of another revocation": 1}
    assert house.send(shop, "respondsTo_", "worth") is False
    assert restore(house, "persona", "brick")["counts"] == {"restored": 1}
    assert house.send(shop, "worth") == 12


def test_a_method_that_was_corrected_is_its_correctors(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[WRONG])
    shop, sibling = make_shop(house), make_shop(house)
    house.send(shop, "worth"), house.send(sibling, "worth")
    offer(house, shop, "worth", "def worth(self):\n    return 12\n", session="mender", seq=1)
    answer = revoke(house)
    assert answer["counts"] == {"quarantined": 1}, "the version that it was"
    assert [(method["writes"], len(method["data"])) for method in answer["methods"]] == [(2, 2)], "with what that one wrote"
    assert house.send(shop, "worth") == house.send(sibling, "worth") == 12
    assert revoke(house, "session", "mender")["counts"] == {"quarantined": 1}
    assert house.send(sibling, "respondsTo_", "worth") is False


def test_a_correction_by_hand_of_what_is_in_quarantine_runs(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[WRONG])
    shop, sibling = make_shop(house), make_shop(house)
    house.send(shop, "worth"), house.send(sibling, "worth")
    revoke(house)
    questions = len(house.model.asked)
    offer(house, shop, "worth", "def worth(self):\n    return 12\n")
    assert house.send(shop, "worth") == house.send(sibling, "worth") == 12 and len(house.model.asked) == questions
    assert "quarantined" not in house.send(shop, "explain_", "worth")


def test_an_objects_own_answer_to_what_it_does_not_understand_may_be_in_quarantine(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT])
    shop = make_shop(house)
    offer(house, shop, "doesNotUnderstand_", "def doesNotUnderstand_(self, message):\n    return 'mine'\n", session="bad", seq=1)
    assert house.send(shop, "worth") == "mine"
    revoke(house, "session", "bad")
    assert house.send(shop, "worth") == 12


def test_every_process_sees_it_with_its_next_message(build_house: BuildHouse, trials: TrialServer, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT])
    shop = make_shop(house)
    assert house.send(shop, "worth") == 12
    image = Image(house.image.database)
    there = House(image, trials, {"worth": ["    return 5"]}, tmp_path, name="uvm-2")
    assert there.send(shop, "worth") == 12, "compiled and cached there"
    revoke(house)
    assert there.send(shop, "respondsTo_", "worth") is False
    assert there.send(shop, "worth") == 5
    assert house.send(shop, "worth") == 5
    image.connection.close()


def test_bad_input_changes_nothing(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT])
    shop = make_shop(house)
    house.send(shop, "worth")
    for kind, name in (("adapter", "e" * 64), ("adapter", "nobody"), ("persona", "nobody"), ("hat", "x"), ("session", ""), ("session", 5)):
        assert revoke(house, kind, name).type == "BadArguments", (kind, name)
    assert revoke(house, reason="x" * 501).type == revoke(house, preview=1).type == restore(house).type == "BadArguments"
    delivery = house.bench.delivery("pLLM_obj", "revokeAuthor_", "adapter", COVENANT)
    delivery.rights = frozenset({"read", "send", "create"})
    (outcome,) = house.bench.run(delivery)
    assert outcome.error.type == "NotAllowed" and "`policy`" in outcome.error.message
    source = "def ban_(self, a):\n    return a.revokeAuthor_('adapter', '" + COVENANT + "')\n"
    mind = house.transactor.look(lambda: house.image.reference(house.image.named("pLLM_obj")))
    house.bench.install(shop, "ban_", source, 1)
    assert "by tools" in house.send(shop, "ban_", mind).message
    assert house.send(shop, "worth") == 12 and house.send("pLLM_obj", "revokedAuthors") == []


def test_tools_cannot_set_the_mark(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT])
    shop = make_shop(house)
    house.send(shop, "worth")
    method = Reference(house.transactor.look(lambda: house.image.at(shop).own("worth")._p_oid))
    for selector, value in (("quarantined", {}), ("digest", "x"), ("shape", "y")):
        assert house.send(method, "setSlot_value_", selector, value).type in ("NotAllowed", "NotUnderstood")
    assert house.send(method, "removeSlot_", "digest").type in ("NotAllowed", "NotUnderstood")
    assert house.send(shop, "worth") == 12


def test_an_image_of_an_earlier_version_learns_who_wrote_what(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[WRONG])
    shop = make_shop(house)
    house.send(shop, "worth")
    loose = house.send(shop, "clone")
    offer(house, loose, "worth", "def worth(self):\n    return 1\n", here=True, session="s", seq=1)

    def forget() -> None:
        del house.image.root["authors"]

    house.transactor.run(forget)
    assert "authors" in house.transactor.run(lambda: renewal.renew(house.image))
    assert house.transactor.look(lambda: authors.count(house.image, Author("adapter", COVENANT))) == 1
    assert house.transactor.look(lambda: authors.count(house.image, Author("session", "s"))) == 1
    assert revoke(house)["methods"][0]["object"] == shop


def test_many_methods_are_portioned(build_house: BuildHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = furnished(build_house, tmp_path, **{f"m{number}": [RIGHT] for number in range(5)}, drafts=1)
    shop = make_shop(house)
    for number in range(5):
        house.send(shop, f"m{number}")
    monkeypatch.setattr(revocations, "MOST", 2)
    answers = [revoke(house) for _ in range(3)]
    assert [(answer["counts"], "left" in answer) for answer in answers] == [
        ({"quarantined": 2}, True),
        ({"quarantined": 2}, True),
        ({"quarantined": 1}, False),
    ]
    assert [restore(house)["counts"] for _ in range(3)] == [{"restored": 2}, {"restored": 2}, {"restored": 1}]


def test_a_revocation_whose_sender_died_is_brought_to_its_end_by_the_heartbeat(
    build_house: BuildHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = furnished(build_house, tmp_path, **{f"m{number}": [RIGHT] for number in range(5)}, drafts=1)
    shop = make_shop(house)
    for number in range(5):
        house.send(shop, f"m{number}")
    heart = Heartbeat(Configuration(Home(tmp_path / "heart"), Settings(), {}), house.image)
    heart._configuration.home.ensure()
    monkeypatch.setattr(revocations, "MOST", 2)
    first = revoke(house, reason="wrong")
    assert first["left"] and first["of"] == 5
    assert [author["unfinished"] for author in house.send("pLLM_obj", "revokedAuthors")] == ["revocation"]
    heart.beat()
    assert not any(house.send(shop, "respondsTo_", f"m{number}") for number in range(5))
    (listed,) = house.send("pLLM_obj", "revokedAuthors")
    assert "unfinished" not in listed and listed["reason"] == "wrong"
    assert "unfinished" not in house.send(shop, "explain_", "m4")["revoked"]
    entries = house.send("genesis_obj", "recent_", kwargs={"chronicle": True})["entries"]
    entry = next(entry for entry in entries if entry["kind"] == "revocation")  # the newest one; a beat may have decided something since
    assert (entry["author"], entry["cause"]) == ("heartbeat", "unfinished")
    restore(house)
    assert [author["unfinished"] for author in house.send("pLLM_obj", "revokedAuthors")] == ["restoration"]
    assert house.looked(lambda: house.image.named("pLLM_obj").own("adapter").own("state")) == "revoked", "not asked before the last is back"
    heart.beat()
    assert all(house.send(shop, "respondsTo_", f"m{number}") for number in range(5))
    assert house.send("pLLM_obj", "revokedAuthors") == []
    assert house.looked(lambda: house.image.named("pLLM_obj").own("adapter").own("state")) == "ready"


def test_a_revocation_is_one_record_more_in_the_table(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT])
    house.send(make_shop(house), "worth")
    revoke(house)
    records = house.transactor.look(lambda: sum(len(leaf.names()) for leaf in tables.leaves(house.image.root["revocations"])))
    assert records == 1
    assert Bench(house.image).send("pLLM_obj", "revokedAuthors")


@pytest.mark.parametrize(
    ("where", "times", "done"),
    [("store", 1, False), ("store", METHODS // 2, False), ("tpc_vote", 1, False), ("tpc_finish", 1, False), ("never", 0, True)],
)
def test_kill_9_in_the_middle_leaves_before_or_after(tmp_path: Path, where: Any, times: Any, done: Any) -> None:
    with running_server(tmp_path / "var") as server:
        with awakened(server.client(Database)) as image:
            image.manager.begin()
            proof = {"mode": "adapter", "adapter": f"a@{DIGEST}"}
            for number in range(METHODS):
                written = method(f"m{number}", f"def m{number}(self):\n    return {number}\n", 0, "brick", proof)
                holder = UvmObject({PARENTS: [image.named("traits_obj")]})
                image.give_name(holder, f"shop {number}")
                install(holder, written)
                authors.enter(image, written, image.reference(holder).oid)
            image.manager.commit()
        command = [sys.executable, "-m", "tests.uvm.generation.killed", server.address, str(server.home.blobs), where, str(times)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == (0 if done else -signal.SIGKILL), ended.stderr
        with awakened(server.client(Database)) as image:
            image.manager.begin()
            running = [runs(image.named(f"shop {number}").own(f"m{number}")) for number in range(METHODS)]
            revoked = revocations.find(image, Author("adapter", DIGEST)) is not None
            image.manager.abort()
            assert (set(running), revoked) == (({False}, True) if done else ({True}, False))
            bench = Bench(image)
            again = bench.send("pLLM_obj", "revokeAuthor_", "adapter", DIGEST, session="s", seq=1)
            assert not hasattr(again, "error"), "sent again, it is done once"
            image.manager.begin()
            assert not any(runs(image.named(f"shop {number}").own(f"m{number}")) for number in range(METHODS))
            image.manager.abort()


def test_the_chronicle_has_it_and_restoring_is_its_undo(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT])
    house.send(make_shop(house), "worth")
    house.send("pLLM_obj", "revokeAuthor_", "adapter", COVENANT, "it rounds wrongly", session="s", seq=1)
    entry = house.send("genesis_obj", "recent_", kwargs={"chronicle": True})["entries"][0]
    assert (entry["kind"], entry["author"], entry["cause"]) == ("revocation", "local", "s/1")
    assert entry["facts"] == {"of": f"adapter:{COVENANT}", "reason": "it rounds wrongly", "counts": {"quarantined": 1}}
    error = house.send("genesis_obj", "undo_", entry["entry"])
    assert error.type == "NotRecorded" and "batos adapters restore" in error.remedy
    restore(house)
    assert house.send("genesis_obj", "recent_", kwargs={"chronicle": True})["entries"][0]["kind"] == "restoration"


def test_what_a_revoked_method_kept_binds_the_one_that_is_written_in_its_place(build_house: BuildHouse, tmp_path: Path) -> None:
    house = furnished(build_house, tmp_path, worth=[RIGHT])
    shop = make_shop(house)
    house.send(shop, "worth", examples=[Example(50, slots={"cost": 10, "pieces": 5})])
    revoke(house)
    house.model.bodies["worth"] = ["    return 12", "    return self.pieces * self.cost"]
    assert house.send(shop, "worth") == 12
    assert [example["result"] for example in house.send(shop, "explain_", "worth")["examples"]] == [50]
    assert "worth() -> 50" in house.model.asked[-1].prompt, "who writes it is shown them"

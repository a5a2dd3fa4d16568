"""Authors that are revoked: their methods stay to be read and do not run, and what is missed is written by what is in force."""

import signal
import subprocess
import sys

import pytest

from deploy.settings import Configuration, Home, Settings
from tests.uvm.generation.killed import DIGEST, METHODS
from tests.uvm.houses import House, make_shop, offer
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

BASE = "0" * 64
COVENANT = "c" * 64
OTHER = "d" * 64
WRONG = "    self.cost = 0\n    return self.cost"
RIGHT = "    return self.cost * self.pieces"


def adapter(house, persona, digest, name="covenant"):
    """Give a persona an adapter."""
    proxy = UvmObject({KIND: "adapter", "digest": digest, "blobs": {}, "name": name, "base": BASE})

    def put():
        model_registry.enter(house.image, "adapter", proxy)
        house.image.named(persona).put("adapter", proxy)

    house.transactor.run(put)
    (house.model.home / "adapters" / digest).mkdir(parents=True, exist_ok=True)


def furnished(house, tmp_path, **bodies):
    """A house whose personas have the adapter COVENANT."""
    one = house(**bodies)
    one.model.home = tmp_path
    adapter(one, "pLLM_obj", COVENANT)
    return one


def revoke(house, kind="adapter", name=COVENANT, **options):
    return house.send("pLLM_obj", "revokeAuthor_", kind, name, kwargs=options)


def restore(house, kind="adapter", name=COVENANT, **options):
    return house.send("pLLM_obj", "restoreAuthor_", kind, name, kwargs=options)


def test_what_a_revoked_adapter_wrote_stays_to_be_read_and_is_written_anew(house, tmp_path):
    one = furnished(house, tmp_path, worth=[WRONG])
    shop, other, never = (make_shop(one) for _ in range(3))
    assert one.send(shop, "worth") == one.send(other, "worth") == 0
    answer = revoke(one, reason="it sets costs to nothing")
    assert answer["counts"] == {"quarantined": 1} and answer["author"] == f"adapter:{COVENANT}" and answer["by"] == "local"
    (told,) = answer["methods"]
    assert (told["selector"], told["object"], told["fate"]) == ("worth", shop, "quarantined")
    assert told["writes"] == 2 and {(data["object"], data["slot"]) for data in told["data"]} == {(shop, "cost"), (other, "cost")}
    for each in (shop, other):
        known = one.send(each, "explain_", "worth")
        assert known["source"].endswith(WRONG + "\n") and known["revoked"]["reason"] == "it sets costs to nothing"
        assert known["quarantined"] == f"revoked: adapter:{COVENANT}, it sets costs to nothing" and len(known["digest"]) == 64
        assert one.send(each, "respondsTo_", "worth") is False
        one.send(each, "setSlot_value_", "cost", 4)
    one.model.bodies["worth"] = [RIGHT]
    assert [one.send(each, "worth") for each in (shop, other, never)] == [12, 12, 12]
    assert one.model.asked[-1].adapter is None, "the model itself drafts, where no other adapter is in force"
    assert one.send(shop, "explain_", "worth")["proof"]["adapter"] == ""


def test_the_next_adapter_up_the_chain_speaks_for_the_revoked_one(house, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT], price=[RIGHT])
    adapter(one, "brick", OTHER, "own")
    shop = make_shop(one)
    one.send(shop, "worth")
    assert one.model.asked[-1].adapter == OTHER
    revoke(one, name=OTHER)
    one.send(shop, "price")
    assert one.model.asked[-1].adapter == COVENANT


def test_a_revoked_adapter_is_asked_for_in_vain(house, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT])
    one.send(make_shop(one), "worth")
    revoke(one)
    proxy = one.transactor.look(lambda: one.image.reference(one.image.named("pLLM_obj").own("adapter")))
    error = one.send("brick", "setSlot_value_", "adapter", proxy)
    assert error.type == "Revoked" and "batos adapters restore" in error.remedy and error.details["by"] == "local"
    assert one.send(proxy, "state") == "revoked"
    restore(one)
    one.send("brick", "setSlot_value_", "adapter", proxy)
    assert one.send("brick", "adapter") == proxy and one.send(proxy, "state") == "ready"


def test_restoring_lets_methods_run_where_nothing_came_in_between(house, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT], price=["    return self.cost"])
    shop, other = make_shop(one), make_shop(one)
    one.send(shop, "worth"), one.send(shop, "price"), one.send(other, "worth")
    revoke(one)
    one.model.bodies["worth"] = ["    return self.cost + 100"]
    assert one.send(shop, "worth") == 104
    asked = len(one.model.asked)
    preview = restore(one, preview=True)
    assert preview["preview"] and one.send(shop, "respondsTo_", "price") is False
    answer = restore(one)
    assert {method["selector"]: method["fate"] for method in answer["methods"]} == {"worth": "replaced", "price": "restored"}
    assert next(method for method in answer["methods"] if method["selector"] == "worth")["successor"]
    assert one.send(shop, "price") == 4 and one.send(shop, "worth") == 104
    assert one.send(other, "worth") == 104, "who had it has what came in its place"
    assert len(one.model.asked) == asked
    assert restore(one).type == "BadArguments", "it is revoked no more"


def test_revoking_shows_first_and_may_be_said_twice(house, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT])
    shop = make_shop(one)
    one.send(shop, "worth")
    preview = revoke(one, name=COVENANT[:8], preview=True)
    assert preview["preview"] and [method["selector"] for method in preview["methods"]] == ["worth"]
    assert one.send(shop, "worth") == 12 and one.send("pLLM_obj", "revokedAuthors") == []
    assert revoke(one, name="covenant")["counts"] == {"quarantined": 1}
    assert revoke(one)["counts"] == {}
    (listed,) = one.send("pLLM_obj", "revokedAuthors")
    assert (listed["kind"], listed["name"], listed["methods"], listed["by"]) == ("adapter", COVENANT, 1, "local")


def test_a_persona_is_not_asked_any_more(house, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT], price=[RIGHT])
    shop = make_shop(one)
    one.send(shop, "worth")
    assert revoke(one, "persona", "brick")["counts"] == {"quarantined": 1}
    error = one.send(shop, "price")
    assert error.type == "Revoked" and "batos restore --persona brick" in error.remedy
    restore(one, "persona", "brick")
    assert one.send(shop, "worth") == one.send(shop, "price") == 12


def test_a_session_and_a_principal_are_revoked_with_what_they_offered(house, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT])
    shop, other = make_shop(one), make_shop(one)
    offer(one, shop, "worth", "def worth(self):\n    return 1\n", session="bad", seq=1)
    offer(one, other, "worth", "def worth(self):\n    return 2\n", session="good", seq=1)
    assert revoke(one, "session", "bad")["counts"] == {"quarantined": 1}
    assert one.send(other, "worth") == 2
    refused = offer(one, other, "price", "def price(self):\n    return 2\n", session="bad", seq=2)
    assert refused.type == "Revoked" and "--session bad" in refused.remedy
    assert one.send(shop, "worth") == 12, "what is missed is written anew"
    answer = revoke(one, "principal", "local")
    assert answer["counts"] == {"quarantined": 1}
    assert restore(one, "principal", "local")["counts"] == {"restored": 1}
    (told,) = restore(one, "session", "bad")["methods"]
    assert told["fate"] == "replaced"


def test_what_two_revocations_keep_takes_two_to_restore(house, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT])
    shop = make_shop(one)
    one.send(shop, "worth")
    revoke(one)
    assert revoke(one, "persona", "brick")["counts"] == {}
    assert restore(one)["counts"] == {"of another revocation": 1}
    assert one.send(shop, "respondsTo_", "worth") is False
    assert restore(one, "persona", "brick")["counts"] == {"restored": 1}
    assert one.send(shop, "worth") == 12


def test_a_method_that_was_corrected_is_its_correctors(house, tmp_path):
    one = furnished(house, tmp_path, worth=[WRONG])
    shop, other = make_shop(one), make_shop(one)
    one.send(shop, "worth"), one.send(other, "worth")
    offer(one, shop, "worth", "def worth(self):\n    return 12\n", session="mender", seq=1)
    answer = revoke(one)
    assert answer["counts"] == {"quarantined": 1}, "the version that it was"
    assert [(method["writes"], len(method["data"])) for method in answer["methods"]] == [(2, 2)], "with what that one wrote"
    assert one.send(shop, "worth") == one.send(other, "worth") == 12
    assert revoke(one, "session", "mender")["counts"] == {"quarantined": 1}
    assert one.send(other, "respondsTo_", "worth") is False


def test_a_correction_by_hand_of_what_is_in_quarantine_runs(house, tmp_path):
    one = furnished(house, tmp_path, worth=[WRONG])
    shop, other = make_shop(one), make_shop(one)
    one.send(shop, "worth"), one.send(other, "worth")
    revoke(one)
    asked = len(one.model.asked)
    offer(one, shop, "worth", "def worth(self):\n    return 12\n")
    assert one.send(shop, "worth") == one.send(other, "worth") == 12 and len(one.model.asked) == asked
    assert "quarantined" not in one.send(shop, "explain_", "worth")


def test_an_objects_own_answer_to_what_it_does_not_understand_may_be_in_quarantine(house, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT])
    shop = make_shop(one)
    offer(one, shop, "doesNotUnderstand_", "def doesNotUnderstand_(self, message):\n    return 'mine'\n", session="bad", seq=1)
    assert one.send(shop, "worth") == "mine"
    revoke(one, "session", "bad")
    assert one.send(shop, "worth") == 12


def test_every_process_sees_it_with_its_next_message(house, trials, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT])
    shop = make_shop(one)
    assert one.send(shop, "worth") == 12
    image = Image(one.image.database)
    there = House(image, trials, {"worth": ["    return 5"]}, tmp_path, name="uvm-2")
    assert there.send(shop, "worth") == 12, "compiled and cached there"
    revoke(one)
    assert there.send(shop, "respondsTo_", "worth") is False
    assert there.send(shop, "worth") == 5
    assert one.send(shop, "worth") == 5
    image.connection.close()


def test_bad_input_changes_nothing(house, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT])
    shop = make_shop(one)
    one.send(shop, "worth")
    for kind, name in (("adapter", "e" * 64), ("adapter", "nobody"), ("persona", "nobody"), ("hat", "x"), ("session", ""), ("session", 5)):
        assert revoke(one, kind, name).type == "BadArguments", (kind, name)
    assert revoke(one, reason="x" * 501).type == revoke(one, preview=1).type == restore(one).type == "BadArguments"
    work = one.bench.delivery("pLLM_obj", "revokeAuthor_", "adapter", COVENANT)
    work.rights = frozenset({"read", "send", "create"})
    (outcome,) = one.bench.run(work)
    assert outcome.error.type == "NotAllowed" and "`policy`" in outcome.error.message
    source = "def ban_(self, a):\n    return a.revokeAuthor_('adapter', '" + COVENANT + "')\n"
    mind = one.transactor.look(lambda: one.image.reference(one.image.named("pLLM_obj")))
    one.bench.install(shop, "ban_", source, 1)
    assert "by tools" in one.send(shop, "ban_", mind).message
    assert one.send(shop, "worth") == 12 and one.send("pLLM_obj", "revokedAuthors") == []


def test_tools_cannot_set_the_mark(house, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT])
    shop = make_shop(one)
    one.send(shop, "worth")
    method = Reference(one.transactor.look(lambda: one.image.at(shop).own("worth")._p_oid))
    for selector, value in (("quarantined", {}), ("digest", "x"), ("shape", "y")):
        assert one.send(method, "setSlot_value_", selector, value).type in ("NotAllowed", "NotUnderstood")
    assert one.send(method, "removeSlot_", "digest").type in ("NotAllowed", "NotUnderstood")
    assert one.send(shop, "worth") == 12


def test_an_image_of_an_earlier_version_learns_who_wrote_what(house, tmp_path):
    one = furnished(house, tmp_path, worth=[WRONG])
    shop = make_shop(one)
    one.send(shop, "worth")
    loose = one.send(shop, "clone")
    offer(one, loose, "worth", "def worth(self):\n    return 1\n", here=True, session="s", seq=1)

    def forget():
        del one.image.root["authors"]

    one.transactor.run(forget)
    assert "authors" in one.transactor.run(lambda: renewal.renew(one.image))
    assert one.transactor.look(lambda: authors.count(one.image, Author("adapter", COVENANT))) == 1
    assert one.transactor.look(lambda: authors.count(one.image, Author("session", "s"))) == 1
    assert revoke(one)["methods"][0]["object"] == shop


def test_many_methods_are_portioned(house, tmp_path, monkeypatch):
    one = furnished(house, tmp_path, **{f"m{number}": [RIGHT] for number in range(5)}, drafts=1)
    shop = make_shop(one)
    for number in range(5):
        one.send(shop, f"m{number}")
    monkeypatch.setattr(revocations, "MOST", 2)
    told = [revoke(one) for _ in range(3)]
    assert [(each["counts"], "left" in each) for each in told] == [
        ({"quarantined": 2}, True),
        ({"quarantined": 2}, True),
        ({"quarantined": 1}, False),
    ]
    assert [restore(one)["counts"] for _ in range(3)] == [{"restored": 2}, {"restored": 2}, {"restored": 1}]


def test_a_revocation_whose_sender_died_is_brought_to_its_end_by_the_heartbeat(house, tmp_path, monkeypatch):
    one = furnished(house, tmp_path, **{f"m{number}": [RIGHT] for number in range(5)}, drafts=1)
    shop = make_shop(one)
    for number in range(5):
        one.send(shop, f"m{number}")
    heart = Heartbeat(Configuration(Home(tmp_path / "heart"), Settings(), {}), one.image)
    heart._configuration.home.ensure()
    monkeypatch.setattr(revocations, "MOST", 2)
    first = revoke(one, reason="wrong")
    assert first["left"] and first["of"] == 5
    assert [each["unfinished"] for each in one.send("pLLM_obj", "revokedAuthors")] == ["revocation"]
    heart.beat()
    assert not any(one.send(shop, "respondsTo_", f"m{number}") for number in range(5))
    (listed,) = one.send("pLLM_obj", "revokedAuthors")
    assert "unfinished" not in listed and listed["reason"] == "wrong"
    assert "unfinished" not in one.send(shop, "explain_", "m4")["revoked"]
    entry = one.send("genesis_obj", "recent_", kwargs={"chronicle": True})["entries"][0]
    assert (entry["kind"], entry["author"], entry["cause"]) == ("revocation", "heartbeat", "unfinished")
    restore(one)
    assert [each["unfinished"] for each in one.send("pLLM_obj", "revokedAuthors")] == ["restoration"]
    assert one.looked(lambda: one.image.named("pLLM_obj").own("adapter").own("state")) == "revoked", "not asked before the last is back"
    heart.beat()
    assert all(one.send(shop, "respondsTo_", f"m{number}") for number in range(5))
    assert one.send("pLLM_obj", "revokedAuthors") == []
    assert one.looked(lambda: one.image.named("pLLM_obj").own("adapter").own("state")) == "ready"


def test_a_revocation_is_one_record_more_in_the_table(house, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT])
    one.send(make_shop(one), "worth")
    revoke(one)
    records = one.transactor.look(lambda: sum(len(leaf.names()) for leaf in tables.leaves(one.image.root["revocations"])))
    assert records == 1
    assert Bench(one.image).send("pLLM_obj", "revokedAuthors")


@pytest.mark.parametrize(
    ("where", "times", "done"),
    [("store", 1, False), ("store", METHODS // 2, False), ("tpc_vote", 1, False), ("tpc_finish", 1, False), ("never", 0, True)],
)
def test_kill_9_in_the_middle_leaves_before_or_after(tmp_path, where, times, done):
    with running_server(tmp_path / "var") as server:
        with awakened(server.client(Database)) as image:
            image.manager.begin()
            proof = {"mode": "adapter", "adapter": f"a@{DIGEST}"}
            for number in range(METHODS):
                made = method(f"m{number}", f"def m{number}(self):\n    return {number}\n", 0, "brick", proof)
                holder = UvmObject({PARENTS: [image.named("traits_obj")]})
                image.give_name(holder, f"shop {number}")
                install(holder, made)
                authors.enter(image, made, image.reference(holder).oid)
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


def test_the_chronicle_has_it_and_restoring_is_its_undo(house, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT])
    one.send(make_shop(one), "worth")
    one.send("pLLM_obj", "revokeAuthor_", "adapter", COVENANT, "it rounds wrongly", session="s", seq=1)
    entry = one.send("genesis_obj", "recent_", kwargs={"chronicle": True})["entries"][0]
    assert (entry["kind"], entry["author"], entry["cause"]) == ("revocation", "local", "s/1")
    assert entry["facts"] == {"of": f"adapter:{COVENANT}", "reason": "it rounds wrongly", "counts": {"quarantined": 1}}
    error = one.send("genesis_obj", "undo_", entry["entry"])
    assert error.type == "NotRecorded" and "batos adapters restore" in error.remedy
    restore(one)
    assert one.send("genesis_obj", "recent_", kwargs={"chronicle": True})["entries"][0]["kind"] == "restoration"


def test_what_a_revoked_method_kept_binds_the_one_that_is_written_in_its_place(house, tmp_path):
    one = furnished(house, tmp_path, worth=[RIGHT])
    shop = make_shop(one)
    one.send(shop, "worth", examples=[Example(50, slots={"cost": 10, "pieces": 5})])
    revoke(one)
    one.model.bodies["worth"] = ["    return 12", "    return self.pieces * self.cost"]
    assert one.send(shop, "worth") == 12
    assert [kept["result"] for kept in one.send(shop, "explain_", "worth")["examples"]] == [50]
    assert "worth() -> 50" in one.model.asked[-1].prompt, "who writes it is shown them"

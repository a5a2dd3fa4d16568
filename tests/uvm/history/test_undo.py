"""Undo takes back what a message did where nothing later touched it, says slot by slot where something did, and is a message itself."""

import pytest

from tests.uvm.history.past import picture
from uvm.history import chronicle, takings
from uvm.image.image import Image
from uvm.image.methods import install, method, primitive
from uvm.image.receipts import Ledger
from uvm.machine.delivery import Answered
from uvm.objects import ABSENT, NAMES, PARENTS, Counter, MergingQueue, MergingSet
from uvm.protocol import Reference
from uvm.rights import ALL


@pytest.fixture
def shop(past):
    shop = past.do("genesis_obj", "clone")
    past.do(shop, "nameAs_", "shop")
    past.do(shop, "setSlot_value_", "price", 4)
    return shop


def set_slots(past, target, **slots):
    """Values that no message carries: merging ones, and references to what has no name."""
    past.image.manager.begin()
    for name, value in slots.items():
        past.image.target(target).put(name, value)
    past.image.manager.commit()


# --- values ----------------------------------------------------------------------------------------------------------


def test_a_changed_slot_gets_its_value_back_and_a_new_slot_goes(past, shop):
    past.do(shop, "setSlot_value_", "price", 5)
    answer = past.undo()
    assert past.slot(shop, "price") == 4
    (slot,) = answer["slots"]
    assert slot == {"object": shop, "slot": "price", "now": 5, "becomes": 4} and answer["conflicts"] == []
    past.do(shop, "setSlot_value_", "stock", 1)
    past.undo()
    assert past.slot(shop, "stock") is ABSENT


def test_a_removed_slot_comes_back_with_all_that_was_in_it(past, shop):
    past.do(shop, "setSlot_value_", "rows", [{"n": number, "of": shop} for number in range(300)])
    past.do(shop, "removeSlot_", "rows")
    past.undo()
    assert past.do(shop, "rows") == [{"n": number, "of": shop} for number in range(300)]


def test_what_came_later_stands_against_it_and_is_named_and_nothing_is_half_done(past, shop):
    past.install("shop", "both_", "def both_(self, a):\n    self.price = a\n    self.stock = a\n", 1)
    past.do(shop, "both_", 7)
    seq = past.seq
    past.do(shop, "setSlot_value_", "price", 9)
    later = past.recent()[0]["entry"]
    error = past.ask("genesis_obj", "undo_", f"s/{seq}")
    assert error.type == "UndoConflict" and later in error.remedy and "nothing was done" in error.message
    (conflict,) = error.details["conflicts"]
    assert (conflict["slot"], conflict["later"], conflict["object"]) == ("price", later, str(shop))
    assert past.slot(shop, "price") == 9 and past.slot(shop, "stock") == 7
    answer = past.undo(f"s/{seq}", where_possible=True)
    assert past.slot(shop, "price") == 9 and past.slot(shop, "stock") is ABSENT
    assert [slot["slot"] for slot in answer["slots"]] == ["stock"] and [slot["slot"] for slot in answer["conflicts"]] == ["price"]


def test_a_preview_shows_and_changes_nothing(past, shop):
    past.do(shop, "setSlot_value_", "price", 5)
    seq = past.seq
    answer = past.undo(preview=True)
    assert answer["preview"] and answer["slots"][0]["becomes"] == 4 and past.slot(shop, "price") == 5
    assert past.seq == seq, "it wrote nothing, so it has no transaction"
    past.do(shop, "setSlot_value_", "price", 6)
    assert past.undo(f"s/{seq}", preview=True)["conflicts"][0]["slot"] == "price"


@pytest.mark.parametrize("value", [True, 1.0, "1", None, [1], {"a": 1}, "x" * 3000, list(range(3000))])
def test_equal_is_of_the_same_type_throughout_and_large_values_are_compared_as_well(past, shop, value):
    past.do(shop, "setSlot_value_", "price", value)
    seq = past.seq
    past.do(shop, "setSlot_value_", "price", 1)
    assert past.ask("genesis_obj", "undo_", f"s/{seq}").type == "UndoConflict"
    past.do(shop, "setSlot_value_", "price", value)
    past.undo(f"s/{seq}")
    assert past.slot(shop, "price") == 4


def test_an_undo_is_undone_and_that_as_well(past, shop):
    past.do(shop, "setSlot_value_", "price", 5)
    for expected in (4, 5, 4, 5):
        past.undo()
        assert past.slot(shop, "price") == expected


def test_an_undo_whose_slots_were_changed_since_is_a_conflict_with_a_remedy(past, shop):
    past.do(shop, "setSlot_value_", "price", 5)
    past.undo()
    undo = past.seq
    past.do(shop, "setSlot_value_", "price", 6)
    error = past.ask("genesis_obj", "undo_", f"s/{undo}")
    assert error.type == "UndoConflict" and "first" in error.remedy and past.slot(shop, "price") == 6


def test_a_message_is_taken_back_once_until_its_undo_is_undone(past, shop):
    set_slots(past, shop, hits=Counter(10))
    past.install("shop", "hit", "def hit(self):\n    self.hits.add(3)\n    self._p_changed = True\n")
    past.do(shop, "hit")
    seq = past.seq
    past.undo()
    assert past.slot(shop, "hits").total == 10
    undo = past.seq
    error = past.ask("genesis_obj", "undo_", f"s/{seq}")
    assert error.type == "UndoConflict" and "already" in error.message and past.slot(shop, "hits").total == 10
    past.undo(f"s/{undo}")
    assert past.slot(shop, "hits").total == 13
    past.undo(f"s/{seq}")
    assert past.slot(shop, "hits").total == 10


# --- merging values --------------------------------------------------------------------------------------------------


def test_a_counter_loses_what_the_message_added_whoever_counted_since(past, shop):
    set_slots(past, shop, hits=Counter(10))
    past.install("shop", "hit_", "def hit_(self, a):\n    self.hits.add(a)\n    self._p_changed = True\n", 1)
    past.do(shop, "hit_", 3)
    seq = past.seq
    past.do(shop, "hit_", 100)
    past.undo(f"s/{seq}")
    assert past.slot(shop, "hits").total == 110


def test_a_merging_set_loses_and_gets_back_members(past, shop):
    set_slots(past, shop, tags=MergingSet(["a", "b"]))
    past.install("shop", "swap_", "def swap_(self, a):\n    self.tags.add(a)\n    self.tags.discard('a')\n    self._p_changed = True\n", 1)
    past.do(shop, "swap_", "c")
    seq = past.seq
    past.do(shop, "swap_", "d")
    past.undo(f"s/{seq}")
    assert set(past.slot(shop, "tags").members) == {"a", "b", "d"}


def test_a_merging_queue_loses_what_was_put_unless_it_was_taken(past, shop):
    set_slots(past, shop, jobs=MergingQueue(["a"]))
    past.install("shop", "put_", "def put_(self, a):\n    self.jobs.put(a)\n    self._p_changed = True\n", 1)
    past.install("shop", "takes", "def takes(self):\n    job = self.jobs.take()\n    self._p_changed = True\n    return job\n")
    past.do(shop, "put_", "b")
    put = past.seq
    past.do(shop, "put_", "c")
    past.do(shop, "takes")
    took = past.seq
    past.undo(f"s/{put}")
    assert past.slot(shop, "jobs").items == ["c"]
    past.do(shop, "takes")
    assert past.ask("genesis_obj", "undo_", f"s/{took}").type == "UndoConflict", "another one was taken since"
    past.undo()
    past.undo(f"s/{took}")
    assert past.slot(shop, "jobs").items == ["a", "c"] and past.slot(shop, "jobs").taken == 0


def test_a_queue_that_an_undo_shortened_never_merges_with_what_another_process_put():
    old, shorter, longer = MergingQueue(["a", "b"]), MergingQueue(["a"]), MergingQueue(["a", "b", "c"])
    for theirs, ours in ((shorter, longer), (longer, shorter)):
        with pytest.raises(Exception, match="queue"):
            old.merged(theirs, ours)
    back = MergingQueue(["z", "a", "b"], -1)
    with pytest.raises(Exception, match="queue"):
        old.merged(back, longer)


# --- structure -------------------------------------------------------------------------------------------------------


def test_parents_come_and_go_and_a_cycle_is_refused(past, shop):
    yard = past.do("genesis_obj", "clone")
    past.do(yard, "nameAs_", "other")
    before = past.slot(shop, PARENTS)
    past.do(shop, "addParent_", yard)
    past.undo()
    assert past.slot(shop, PARENTS) == before
    past.do(shop, "addParent_", yard)
    past.do(shop, "removeParent_", yard)
    removed = past.seq
    past.do(yard, "addParent_", shop)
    error = past.ask("genesis_obj", "undo_", f"s/{removed}")
    assert error.type == "UndoConflict" and "cycle" in error.details["conflicts"][0]["why"]
    past.undo()
    past.undo(f"s/{removed}")
    assert yard in [Reference(parent._p_oid) for parent in past.slot(shop, PARENTS)]


def test_names_come_and_go_also_where_others_came_since_and_a_taken_name_stays_taken(past, shop):
    past.do(shop, "nameAs_", "store")
    named = past.seq
    past.do(shop, "nameAs_", "boutique")
    past.undo(f"s/{named}")
    assert past.slot(shop, NAMES) == ["boutique", "shop"] and past.ask("store", "name").type == "NoSuchObject"
    past.do(shop, "forgetName_", "boutique")
    forgot = past.seq
    rival = past.do("genesis_obj", "clone")
    past.do(rival, "nameAs_", "boutique")
    error = past.ask("genesis_obj", "undo_", f"s/{forgot}")
    assert error.type == "UndoConflict" and "another object's" in error.details["conflicts"][0]["why"]
    past.undo()
    assert past.slot(rival, NAMES) is ABSENT, "it had never had a name"
    past.undo(f"s/{forgot}")
    assert past.do("boutique", "price") == 4


def test_an_object_that_a_message_made_is_reachable_no_longer(past, shop):
    past.install("shop", "open", "def open(self):\n    self.till = self.clone()\n    return 1\n")
    first = picture(past.image)
    past.do(shop, "open")
    assert len(picture(past.image)) == len(first) + 1
    past.undo()
    assert picture(past.image) == first


# --- methods ---------------------------------------------------------------------------------------------------------


def test_a_removed_method_is_put_back_and_a_restored_one_is_removed_again(past, shop):
    past.install("shop", "sing", "def sing(self):\n    return 'la'\n")
    past.do(shop, "removeSlot_", "sing")
    past.undo()
    assert past.do(shop, "sing") == "la"
    past.undo()
    assert past.slot(shop, "sing") is ABSENT
    assert [entry["kind"] for entry in past.recent(chronicle=True)] == ["removal", "undo", "install", "undo", "removal"]


def test_undoing_a_method_removes_it_or_puts_back_what_it_replaced(past, shop):
    past.install("shop", "sing", "def sing(self):\n    return 'la'\n")
    past.install("shop", "sing", "def sing(self):\n    return 'lo'\n")
    past.undo([shop, "sing"])
    assert past.do(shop, "sing") == "la"
    past.undo([shop, "sing"])
    assert past.slot(shop, "sing") is ABSENT
    error = past.ask("genesis_obj", "undo_", [shop, "sing"])
    assert error.type == "BadArguments"


def test_undoing_a_method_names_what_it_wrote_and_takes_that_back_in_the_same_commit_when_asked(past, shop):
    past.install("shop", "raise_", "def raise_(self, a):\n    self.price = self.price + a\n    return self.price\n", 1)
    for amount in (1, 2, 3):
        past.do(shop, "raise_", amount)
    answer = past.undo([shop, "raise_"], preview=True)
    assert [(change["slot"], change["before"], change["after"]) for change in answer["data"]] == [
        ("price", 7, 10),
        ("price", 5, 7),
        ("price", 4, 5),
    ]
    assert answer["with_data"] is False and [change["slot"] for change in answer["slots"]] == ["raise_"]
    answer = past.undo([shop, "raise_"], also_data=True)
    assert past.slot(shop, "price") == 4 and past.slot(shop, "raise_") is ABSENT
    removal, undo, message = past.recent()[:3]
    assert [removal["kind"], undo["kind"], message["kind"]] == ["removal", "undo", "message"]
    assert undo["tid"] == message["tid"] == removal["tid"] == past.tid.hex() and len(message["changes"]) == 2
    past.undo()
    assert past.slot(shop, "price") == 10 and past.do(shop, "raise_", 1) == 11


def installed(past, holder, method_of=None, source="def sing(self):\n    return 'la'\n"):
    """A method in a slot, with its entry in the chronicle, as the writers put it there."""
    image = past.image
    image.manager.begin()
    behaviour = image.at(method_of) if method_of is not None else method("sing", source, 0, "robin", {})
    owner = image.target(holder)
    before = owner.own("sing")
    install(owner, behaviour)
    effects = [(owner, "sing", before, behaviour, None)]
    chronicle.record(image, "install", author="robin", object=owner, slot="sing", method=behaviour, effects=effects)
    image.manager.commit()
    return Reference(behaviour._p_oid)


def test_an_install_is_undone_by_its_entry_and_by_its_transaction(past, shop):
    first = installed(past, "shop")
    second = installed(past, "shop", source="def sing(self):\n    return 'lo'\n")
    entry = past.recent(chronicle=True)[0]
    assert (entry["method"], entry["author"], entry["changes"][0]["before"]) == (second, "robin", first)
    past.undo(entry["entry"])
    assert past.do(shop, "sing") == "la" and past.recent(chronicle=True)[2]["undone"]
    assert past.ask("genesis_obj", "undo_", entry["entry"]).type == "UndoConflict"
    past.undo(past.recent(chronicle=True)[3]["tid"])
    assert past.slot(shop, "sing") is ABSENT
    assert past.ask("genesis_obj", "undo_", second).type == "NotRecorded", "it stands nowhere"


def test_a_method_object_is_taken_out_of_every_slot_where_it_was_put(past, shop):
    yard = past.do("genesis_obj", "clone")
    past.do(yard, "nameAs_", "other")
    sing = installed(past, "shop")
    installed(past, "other", method_of=sing)
    answer = past.undo(sing)
    assert {slot["object"] for slot in answer["slots"]} == {shop, yard}
    assert past.slot(shop, "sing") is past.slot(yard, "sing") is ABSENT
    past.undo()
    assert past.do(shop, "sing") == past.do(yard, "sing") == "la"
    past.undo([yard, "sing"])
    assert past.do(shop, "sing") == "la" and past.slot(yard, "sing") is ABSENT


def test_a_method_s_data_that_others_changed_since_stands_against_it(past, shop):
    past.install("shop", "raise_", "def raise_(self, a):\n    self.price = self.price + a\n    return self.price\n", 1)
    past.do(shop, "raise_", 1)
    past.do(shop, "setSlot_value_", "price", 99)
    error = past.ask("genesis_obj", "undo_", [shop, "raise_"], also_data=True)
    assert error.type == "UndoConflict" and past.do(shop, "price") == 99
    past.undo([shop, "raise_"])
    assert past.do(shop, "price") == 99 and past.slot(shop, "raise_") is ABSENT


# --- what is undone ----------------------------------------------------------------------------------------------------


def test_a_transaction_is_taken_back_as_a_whole_and_of_a_message_only_its_own_part(past, shop):
    works = [past.delivery(shop, "setSlot_value_", f"s{number}", number, session="t", seq=number + 1) for number in range(5)]
    done = past.batch.run(works)
    assert all(isinstance(outcome, Answered) for _, outcome, _ in done) and len({tid for _, _, tid in done}) == 1
    past.undo("t/3")
    assert [past.slot(shop, f"s{number}") for number in range(5)] == [0, 1, ABSENT, 3, 4]
    past.undo(done[0][2].hex())
    assert [past.slot(shop, f"s{number}") for number in range(5)] == [ABSENT] * 5
    assert past.ask("genesis_obj", "undo_", done[0][2].hex()).type == "UndoConflict"


def test_an_entry_is_named_as_history_shows_it(past, shop):
    past.do(shop, "setSlot_value_", "price", 5)
    past.undo(past.recent()[0]["entry"])
    assert past.slot(shop, "price") == 4


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        ("uvm-1/99.0", "NotRecorded"),
        ("uvm-7/0.0", "NotRecorded"),
        ("nobody/1", "NotRecorded"),
        ("00" * 8, "NotRecorded"),
        ("shop", "BadArguments"),
        ("s/x", "BadArguments"),
        ("/1", "BadArguments"),
        (5, "BadArguments"),
        (["shop", "price"], "BadArguments"),
        ({"a": 1}, "BadArguments"),
    ],
)
def test_what_is_nothing_to_undo_is_told_with_a_remedy(past, shop, subject, kind):
    error = past.ask("genesis_obj", "undo_", subject)
    assert error.type == kind and past.slot(shop, "price") == 4


def test_an_entry_that_went_with_the_oldest_pages_cannot_be_undone(past, shop, monkeypatch):
    past.do(shop, "setSlot_value_", "price", 5)
    entry = past.recent()[0]["entry"]
    past.undo(entry)
    past.undo()
    monkeypatch.setattr("uvm.image.journal.PAGES", 2)
    for number in range(60):
        past.do(shop, "setSlot_value_", "other", number)
    error = past.ask("genesis_obj", "undo_", entry)
    assert error.type == "NotRecorded" and "batos history" in error.remedy
    assert past.ask("genesis_obj", "undo_", "s/1").type == "NotRecorded"
    past.image.manager.begin()
    marks = [key for leaf in past.image.shards("undone") for key in leaf.names()]
    past.image.manager.abort()
    assert marks == [], "marks go with their pages"


def test_a_message_of_long_ago_is_found_by_its_receipt(past, shop, monkeypatch):
    monkeypatch.setattr(takings, "LOOKED", 3)
    past.do(shop, "setSlot_value_", "price", 9)
    seq = past.seq
    for number in range(8):
        past.do(shop, "setSlot_value_", "other", number)
    past.image.manager.begin()
    Ledger(past.image).expire(2**60)
    past.image.manager.commit()
    error = past.ask("genesis_obj", "undo_", f"s/{seq}")
    assert error.type == "NotRecorded" and "the newest 3 entries" in error.message
    assert "batos undo TID" in error.remedy and "batos history" in error.remedy
    past.do(shop, "setSlot_value_", "price", 10)
    seq = past.seq
    for number in range(8):
        past.do(shop, "setSlot_value_", "other", number)
    past.undo(f"s/{seq}")
    assert past.slot(shop, "price") == 9


def test_a_message_is_known_by_the_beginning_of_its_session_that_history_shows(past, shop):
    session = "0123456789abcdef" * 2
    outcome = past.send(shop, "setSlot_value_", "price", 9, session=session, seq=7)
    assert isinstance(outcome, Answered)
    assert past.ask("genesis_obj", "undo_", f"{session[:11]}/7").type == "NotRecorded"
    past.undo(f"{session[:12]}/7")
    assert past.slot(shop, "price") == 4


def test_a_principal_undoes_only_what_it_may_write(past, shop):
    past.do("pLLM_obj", "setSlot_value_", "covenant", "Be good.")
    policy = past.seq
    without = ALL - {"policy"}
    error = past.ask("genesis_obj", "undo_", f"s/{policy}", rights=without)
    assert error.type == "UndoConflict" and "primordial" in error.details["conflicts"][0]["why"]
    past.install("shop", "sing", "def sing(self):\n    return 'la'\n", policy=False)
    past.do(shop, "removeSlot_", "sing")
    removal = past.seq
    assert past.ask("genesis_obj", "undo_", f"s/{removal}", rights=ALL - {"create"}).type == "UndoConflict"
    past.do(shop, "clone", rights=without)
    past.undo(rights=without)
    past.undo(f"s/{removal}", rights=without)
    assert past.do(shop, "sing") == "la"


def test_a_method_sees_nothing_of_history(past, shop):
    past.install("shop", "peek", "def peek(self):\n    return self.history_()\n")
    error = past.ask(shop, "peek")
    assert error.type == "NotAllowed" and "tools" in error.message


def test_a_word_that_hides_what_is_inherited_is_taken_back_like_others_and_its_history_is_reached_in_the_mirror(past, shop):
    for word in ("names", "history_", "diff_"):
        past.do(shop, "setSlot_value_", word, [word])
    first = past.tid.hex()
    past.do(shop, "setSlot_value_", "names", ["Al"])
    entries = past.do(shop, "mirror_", "history_", slot="names")["entries"]
    assert [entry["changes"][0]["after"] for entry in entries] == [["Al"], ["names"]]
    assert past.do(shop, "mirror_", "diff_", first, past.tid.hex()) == [{"slot": "names", "before": ["names"], "after": ["Al"]}]
    for entry in entries:
        past.undo(entry["entry"])
    assert past.slot(shop, "names") is ABSENT and past.do(shop, "names") == ["shop"]
    past.install("shop", "spy", "def spy(self):\n    return self.mirror_('history_')\n")
    assert past.ask(shop, "spy").type == "NotAllowed"


def test_an_undo_puts_no_data_before_what_a_later_kernel_gives_everybody(past):
    past.do("genesis_obj", "setSlot_value_", "aura", 5)
    past.do("genesis_obj", "removeSlot_", "aura")
    past.image.manager.begin()
    install(past.image.named("traits_obj"), primitive("aura"))
    past.image.manager.commit()
    error = past.ask("genesis_obj", "undo_", f"s/{past.seq}")
    assert error.type == "UndoConflict" and "aura keeps the image alive" in error.details["conflicts"][0]["why"]


def test_the_same_number_of_an_undo_is_answered_again_and_done_once(past, shop):
    set_slots(past, shop, hits=Counter(10))
    past.install("shop", "hit", "def hit(self):\n    self.hits.add(3)\n    self._p_changed = True\n")
    past.do(shop, "hit")
    subject = f"s/{past.seq}"
    deliveries = [past.delivery("genesis_obj", "undo_", subject, session="u", seq=1) for _ in range(2)]
    first, second = past.send("genesis_obj", "undo_", subject, session="u", seq=1), past.run(deliveries[1])[0]
    assert first.result == second.result and second.replayed_tid is not None and past.slot(shop, "hits").total == 10


def test_two_processes_that_undo_one_message_undo_it_once(past, shop):
    set_slots(past, shop, hits=Counter(10))
    past.install("shop", "hit", "def hit(self):\n    self.hits.add(3)\n    self._p_changed = True\n")
    past.do(shop, "hit")
    subject = f"s/{past.seq}"
    second = type(past)(Image(past.image.database), "uvm-2")
    commit = second.image.manager.commit

    def late():
        second.image.manager.commit = commit
        past.undo(subject)
        commit()

    second.image.manager.commit = late
    error = second.ask("genesis_obj", "undo_", subject)
    assert error.type == "UndoConflict" and past.slot(shop, "hits").total == 10
    second.image.manager.begin()
    second.image.manager.abort()
    second.image.connection.close()


def test_what_an_earlier_version_wrote_is_shown_and_cannot_be_undone(past, shop):
    past.do(shop, "setSlot_value_", "price", 5)
    past.image.manager.begin()
    head = past.image.shard("journals", "uvm-1").own("uvm-1")
    page = head.own("pages")[head.own("pages").maxKey()]
    for entry in page.own("entries"):
        del entry["principal"]
        entry["effects"] = [effect[:5] for effect in entry["effects"]]
    page._p_changed = True
    del page._slots["tids"]
    past.image.manager.commit()
    assert past.recent()[0]["selector"] == "setSlot_value_" and past.recent()[0]["tid"] == ""
    error = past.ask("genesis_obj", "undo_", past.recent()[0]["entry"])
    assert error.type == "UndoConflict" and "earlier version" in error.details["conflicts"][0]["why"]


def test_an_undo_is_a_change_like_any_other_to_who_follows(past, shop):
    past.do(shop, "setSlot_value_", "price", 5)
    subject = f"s/{past.seq}"
    (outcome,) = past.run(past.delivery("genesis_obj", "undo_", subject))
    (change,) = outcome.changes
    assert (change.reference, change.slots) == (shop, {"price": 4})

"""Words belong to the people who use the image: own data hides what is inherited, and the kernel gets at the object all the same."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from deploy.settings import UvmSettings
from tests.uvm.houses import make_shop, offer
from tests.uvm.images import Bench, awakened, new_database
from uvm import objects
from uvm.awakening.renewal import renew
from uvm.errors import AttemptEnded, ImageError
from uvm.generation.drafting import NoModel, commission, voice_of
from uvm.generation.request import MethodRequest
from uvm.generation.stages import plan_of
from uvm.image import codex
from uvm.image.image import Image
from uvm.image.message_object import MIRROR
from uvm.image.methods import method
from uvm.machine.delivery import Answered, Delivery, Failed, Outcome
from uvm.objects import KIND, PARENTS, UvmObject
from uvm.protocol import CreateMethod, GetFullState, Inspect, Read, Reference, decode_answer, decode_value, encode
from uvm.rights import ALL
from uvm.runtime.policy import LASTING
from uvm.runtime.primitives import PLLM, PRIMITIVES, TRAITS

KERNELS = sorted({*PRIMITIVES, *LASTING} - {MIRROR})
"""Every selector that the kernel or the image's own methods have."""
READ = ("name", "drafts", "model", "adapter", "covenant", "charter", "lessons", "clones", "mind", "receiver", "selector")
"""Slots that the kernel reads somewhere."""
WORDS = [*KERNELS, *READ]


def result(outcome: Outcome) -> Any:
    assert isinstance(outcome, Answered), getattr(getattr(outcome, "error", outcome), "message", outcome)
    return decode_value(outcome.result)


def error(outcome: Outcome) -> ImageError | AttemptEnded:
    assert isinstance(outcome, Failed), outcome
    return outcome.error


def look(bench: Bench, request: Any) -> Any:
    """What a request that sends nothing is answered."""
    (outcome,) = bench.run(Delivery(1, encode(request), "local", False, 0.0, 60.0))
    assert isinstance(outcome, Answered)
    return decode_answer(encode(outcome.state)) if outcome.state is not None else decode_value(outcome.result)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with awakened() as image:
        yield Bench(image, message_limit_s=60.0)  # a slow machine ends no message that its ticks end


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    """One image for tests that change objects of their own alone."""
    with awakened() as image:
        yield Bench(image)


def hidden(bench: Bench, words: list[str] = WORDS) -> Reference:
    """An object that calls a slot of its own by each of these words."""
    one = result(bench.send("genesis_obj", "clone"))
    for word in words:
        assert result(bench.send(one, MIRROR, "setSlot_value_", word, [word])) == one
    return one


class TestHiding:
    """An own data slot hides what is inherited."""

    @pytest.mark.parametrize("word", WORDS)
    def test_a_slot_may_be_called_anything_and_is_read_by_its_name(self, shared, word):
        one = result(shared.send("genesis_obj", "clone"))
        assert result(shared.send(one, "setSlot_value_", word, ["Al"])) == one
        assert result(shared.send(one, word)) == ["Al"]
        assert result(shared.send(one, MIRROR, "slot_", word)) == ["Al"]

    @pytest.mark.parametrize("word", ["names", "parents", "clone", "now", "setSlot_value_"])
    def test_a_slot_takes_no_arguments_whatever_it_hides_and_the_error_says_how_it_is_meant(self, bench, word):
        failed = error(bench.send(hidden(bench, [word]), word, "x", 1))
        assert failed.type == "BadArguments" and f"mirror_('{word}', …)" in failed.remedy

    def test_a_method_sets_and_reads_its_receivers_words(self, bench):
        one = result(bench.send("genesis_obj", "clone"))
        result(bench.send(one, "nameAs_", "family"))
        body = "    self.parents = ['Ann', 'Bob']\n    self.clone = 3\n    self.parents.append('Cy')\n    self._p_changed = True\n"
        bench.install("family", "found", f"def found(self):\n{body}    return [self.parents, self.clone, self.mirror_('parents')]\n")
        parents = result(bench.send("genesis_obj", "parents"))
        assert result(bench.send("family", "found")) == [["Ann", "Bob", "Cy"], 3, parents]
        assert result(bench.send("family", "parents")) == ["Ann", "Bob", "Cy"]

    def test_a_clone_and_a_child_have_it_too_and_without_it_the_methods_are_back(self, bench):
        one = hidden(bench, ["names", "clone"])
        twin, child = result(bench.send(one, MIRROR, "clone")), result(bench.send("genesis_obj", "clone"))
        result(bench.send(child, "removeSlot_", "name"))
        result(bench.send(child, "addParent_", one))
        for parent in result(bench.send("genesis_obj", "parents")):
            result(bench.send(child, "removeParent_", parent))
        assert [result(bench.send(each, "names")) for each in (twin, child)] == [["names"], ["names"]]
        result(bench.send(twin, MIRROR, "removeSlot_", "names"))
        result(bench.send(one, "removeSlot_", "clone"))
        assert result(bench.send(twin, "names")) == [] and isinstance(result(bench.send(child, "clone")), Reference)

    def test_compare_and_set_sees_the_slot(self, bench):
        one = hidden(bench, ["now", "compareAndSet_"])
        assert result(bench.send(one, MIRROR, "compareAndSet_", "now", ["now"], 5)) is True
        assert result(bench.send(one, "now")) == 5

    def test_a_method_of_its_own_is_not_overwritten(self, bench):
        one = result(bench.send("genesis_obj", "clone"))
        result(bench.send(one, "nameAs_", "mine"))
        bench.install("mine", "names", "def names(self):\n    return 1\n")
        assert error(bench.send("mine", "setSlot_value_", "names", 2)).type == "NotAllowed"
        result(bench.send("mine", "removeSlot_", "names"))
        assert result(bench.send("mine", "setSlot_value_", "names", 2)) == one

    @pytest.mark.parametrize("target", ["genesis_obj", "pLLM_obj", "robin", "traits_obj", "heartbeat_obj"])
    @pytest.mark.parametrize("word", ["clone", "names", "infer_", *sorted(LASTING)])
    def test_no_right_hides_what_all_others_inherit(self, shared, target, word):
        for sent in (("setSlot_value_", word, 1), (MIRROR, "setSlot_value_", word, 1)):
            assert error(shared.send(target, *sent)).type == "NotAllowed"

    @pytest.mark.parametrize("name", ["_names", "__class__", "parent*", "names*", "is*", "", "a b"])
    def test_structure_and_pythons_names_stay_the_kernels(self, bench, name):
        one = result(bench.send("genesis_obj", "clone"))
        assert error(bench.send(one, "setSlot_value_", name, 1)).type == "NotAllowed"
        assert error(bench.send(one, MIRROR, "setSlot_value_", name, 1)).type == "NotAllowed"


class TestTheMirror:
    """What is sent with `mirror_` means the same on every object."""

    def test_everything_that_the_kernel_gives_an_object_works_on_one_that_hides_it(self, bench):
        one = hidden(bench)

        def mirror(*sent: Any, target: Any = one) -> Any:
            return result(bench.send(target, MIRROR, *sent))

        other = result(bench.send("genesis_obj", "clone"))
        assert set(WORDS) <= set(mirror("slotNames"))
        assert mirror("parents") == result(bench.send("genesis_obj", "parents"))
        twin = mirror("clone")
        assert twin != one and result(bench.send(twin, "clone")) == ["clone"]
        assert mirror("addParent_", other) == one and mirror("parents")[-1] == other
        assert mirror("removeParent_", other) == one and other not in mirror("parents")
        assert mirror("nameAs_", "everything") == one and mirror("names") == ["everything"]
        assert result(bench.send("everything", "names")) == ["names"]
        assert mirror("forgetName_", "everything") == one and mirror("names") == []
        assert mirror("respondsTo_", "clone") is True and mirror("respondsTo_", "nothing") is False
        assert mirror("slot_", "now") == ["now"] and mirror("perform_", "now") == ["now"]
        assert mirror("now").endswith("Z")
        assert mirror("compareAndSet_", "now", ["now"], 1) is True
        assert mirror("setSlot_value_", "now", 2) == one and result(bench.send(one, "now")) == 2
        assert mirror("removeSlot_", "now") == one and result(bench.send(one, "now")).endswith("Z")
        assert error(bench.send(one, MIRROR, "decline_", "no")).type == "Declined"
        assert error(bench.send(one, MIRROR, "explain_", "clone")).type == "BadArguments", "clone is data here"

    def test_every_selector_of_the_kernel_is_reached_through_it(self, bench):
        one = hidden(bench)
        for selector in (*TRAITS, *PLLM):
            if selector != MIRROR:
                outcome = bench.send(one, MIRROR, selector, *[None] * 9)
                assert error(outcome).type == "BadArguments" and error(outcome).message.startswith(f"{selector}: too many"), selector
        assert result(bench.send("genesis_obj", MIRROR, "objects"))
        listed = error(bench.send(one, MIRROR, "nonsense")).remedy.split(": ", 1)[1]
        assert listed.split(", ") == [selector for selector in TRAITS if selector != MIRROR]

    def test_arguments_go_by_name_too_and_are_checked(self, bench):
        one = hidden(bench)
        assert result(bench.send(one, MIRROR, "setSlot_value_", kwargs={"name": "clone", "value": 7})) == one
        assert result(bench.send(one, "clone")) == 7
        assert error(bench.send(one, MIRROR, "setSlot_value_", "clone")).type == "BadArguments"
        for sent in ((), ("mirror_", "clone"), ("reflectOn_", 1), ("name",), (5,), (["clone"],), ("_p_changed",)):
            assert error(bench.send(one, MIRROR, *sent)).type == "BadArguments"

    def test_it_asks_for_the_same_rights(self, bench):
        ordinary = bench.delivery("pLLM_obj", MIRROR, "setSlot_value_", "mood", "calm")
        ordinary.rights = ALL - {"policy"}
        assert error(bench.run(ordinary)[0]).type == "NotAllowed"
        assert error(bench.send("traits_obj", MIRROR, "removeSlot_", "clone")).type == "NotAllowed"

    def test_nothing_is_called_as_it_is(self, bench):
        one = result(bench.send("genesis_obj", "clone"))
        result(bench.send(one, "nameAs_", "mine"))
        assert error(bench.send(one, "setSlot_value_", MIRROR, 1)).type == "NotAllowed"
        bench.install("mine", "spoil", f"def spoil(self):\n    self.{MIRROR} = 1\n")
        assert error(bench.send("mine", "spoil")).type == "NotAllowed"
        request = CreateMethod(id=1, target=one, selector=MIRROR, source=f"def {MIRROR}(self, a):\n    return a\n")
        assert error(bench.run(Delivery(1, encode(request), "local", False, 0.0, 60.0))[0]).type == "NotAllowed"

    def test_a_method_that_stands_before_a_primitive_is_passed_over(self, bench):
        one = result(bench.send("genesis_obj", "clone"))
        result(bench.send(one, "nameAs_", "mine"))
        bench.install("mine", "names", "def names(self):\n    return 'answered for itself'\n")
        assert result(bench.send("mine", "names")) == "answered for itself"
        assert result(bench.send("mine", MIRROR, "names")) == ["mine"]


class TestLooking:
    """Inspect, Read and GetFullState show the slots as they are called."""

    def test_what_hides_is_shown_as_data_and_what_is_hidden_is_not_listed_as_understood(self, bench):
        one = hidden(bench, ["names", "clone"])
        child = result(bench.send("genesis_obj", "clone"))
        result(bench.send(child, "addParent_", one))
        for parent in result(bench.send("genesis_obj", "parents")):
            result(bench.send(child, "removeParent_", parent))
        seen, inherited = look(bench, Inspect(1, one)), look(bench, Inspect(1, child))
        assert seen["slots"]["names"] == ["names"] and seen["names"] == []
        assert not {"names", "clone"} & {*seen["inherited"], *inherited["inherited"]}
        assert {"now", "parents"} <= {*seen["inherited"]} & {*inherited["inherited"]}
        assert look(bench, Read(1, one, ["names", 0])).value == "names"
        result(bench.send(one, "nameAs_", "shown"))
        whole = {state.reference: state for state in look(bench, GetFullState(1, limit=1000)).objects}
        assert whole[one].names == ["shown"] and whole[one].slots["clone"] == ["clone"]


class TestMissing:
    """A message that is not understood is handled the same, whatever its receiver calls its slots."""

    def test_the_same_plan_is_made(self, bench):
        plain = bench.send(result(bench.send("genesis_obj", "clone")), "sing")
        strange = bench.send(hidden(bench), "sing")
        assert isinstance(plain, MethodRequest) and isinstance(strange, MethodRequest)
        assert {**plain.plan, "prompt": ""} == {**strange.plan, "prompt": ""}
        assert "name = ['name']" in strange.plan["prompt"] and strange.selector == "sing"

    def test_its_method_is_written_tried_chosen_and_runs(self, build_house):
        house = build_house(worth=["    return self.cost * self.clone"])
        shop = make_shop(house)
        for word in WORDS:
            house.send(shop, MIRROR, "setSlot_value_", word, 3)
        assert house.send(shop, "worth") == 12
        assert house.stages() == ["reified", "reflected", "drafted", "audited", "tried", "installed"]
        assert house.send(shop, MIRROR, "explain_", "worth")["author"] == "brick"

    def test_a_draft_is_not_led_to_send_what_is_data(self, bench):
        image = bench.image
        image.manager.begin()
        image.named("pLLM_obj").put("model", UvmObject({KIND: "model", "digest": "0" * 64, "name": "m", "blobs": {}}))
        image.manager.commit()
        sent = []
        for target in (hidden(bench, []), hidden(bench, ["clone"])):
            outcome = bench.send(target, "sing")
            assert isinstance(outcome, MethodRequest)
            image.manager.begin()
            drafted = commission(image, outcome, plan_of(outcome.plan, 4, 4), lambda proxy, kind: None, UvmSettings())
            sent.append(("clone" in drafted.selectors, "clone" in drafted.slots, "slotNames" in drafted.selectors))
            image.manager.abort()
        assert sent == [(True, False, True), (False, True, True)]

    def test_a_tools_method_may_use_such_words(self, build_house):
        house = build_house()
        shop = make_shop(house)
        source = "def found(self):\n    self.parents = ['Ann']\n    self.names = self.parents + ['Al']\n    return self.names\n"
        assert offer(house, shop, "found", source)["proof"]["trial"]["result"] == ["Ann", "Al"]
        assert house.send(shop, "found") == ["Ann", "Al"] == house.send(shop, "names")

    def test_a_method_does_not_take_a_data_slots_place(self, bench):
        request = CreateMethod(id=1, target=hidden(bench, ["names"]), selector="names", source="def names(self):\n    return 1\n")
        assert error(bench.run(Delivery(1, encode(request), "local", False, 0.0, 60.0))[0]).type == "NotAllowed"
        request = CreateMethod(id=1, target=hidden(bench, ["names"]), selector="now", source="def now(self):\n    return 1\n")
        assert isinstance(bench.run(Delivery(1, encode(request), "local", False, 0.0, 60.0))[0], MethodRequest)

    def test_a_model_of_ones_own_is_a_word_like_others(self, bench):
        one = hidden(bench, ["model", "adapter"])
        image = bench.image
        image.manager.begin()
        made = []
        with pytest.raises(NoModel):
            voice_of(image, one.oid, lambda proxy, kind: made.append(kind))
        image.named("pLLM_obj").put("model", UvmObject({KIND: "model", "digest": "0" * 64, "name": "m", "blobs": {}}))
        assert voice_of(image, one.oid, lambda proxy, kind: made.append(kind)).model == "0" * 64
        assert made == ["model"]
        image.manager.abort()


NONSENSE = "nonsense"


class TestBrokenPolicy:
    """A message that fails inside the image's own machinery names the message that was sent, and what failed on it."""

    def test_an_object_without_a_mind_does_not_understand_what_was_sent(self, bench):
        failed = error(bench.send("traits_obj", NONSENSE))
        assert failed.type == "NotUnderstood"
        assert failed.message.endswith(f"does not understand {NONSENSE}")
        assert (failed.details["selector"], failed.details["failed"]) == (NONSENSE, "doesNotUnderstand_")
        assert "reflectOn_" in failed.details["cause"] and "batos method" in failed.remedy

    @pytest.mark.parametrize(
        ("holder", "selector", "body", "kind", "culprit"),
        [
            ("pLLM_obj", "reflectOn_", "raise ValueError('out of order')", "MethodFailed", "reflectOn_"),
            ("pLLM_obj", "reflectOn_", "return message.beWritten_('plan')", "BadArguments", "reflectOn_"),
            ("pLLM_obj", "reflectOn_", "return self.rumination()", "NotUnderstood", "reflectOn_"),
            ("pLLM_obj", "reflectOn_", "while True:\n        pass", "TicksSpent", "reflectOn_"),
            ("pLLM_obj", "reflectOn_", "return self.reflectOn_(message)", "TooDeep", "reflectOn_"),
            ("pLLM_obj", "reflectOn_", "return message.drafted", "NotUnderstood", "reflectOn_"),
            ("pLLM_obj", "personasFor_", "return [][0]", "MethodFailed", "personasFor_"),
            ("traits_obj", "doesNotUnderstand_", "return message.selector.nothing", "MethodFailed", "doesNotUnderstand_"),
            ("traits_obj", "doesNotUnderstand_", "return self.reflectUpon_(message)", "NotUnderstood", "doesNotUnderstand_"),
        ],
    )
    def test_a_policy_method_that_fails_is_named_beside_the_message(self, bench, holder, selector, body, kind, culprit):
        parameter = "candidates" if selector == "chooseFrom_" else "message"
        bench.install(holder, selector, f"def {selector}(self, {parameter}):\n    {body}\n", 1)
        one = result(bench.send("genesis_obj", "clone"))
        failed = error(bench.send(one, NONSENSE, 1))
        assert failed.type == kind
        assert f"does not understand {NONSENSE}" in failed.message and f"own {culprit} failed" in failed.message
        assert (failed.details["selector"], failed.details["failed"]) == (NONSENSE, culprit)
        assert f"batos method {holder} {culprit} FILE --policy" in failed.remedy
        assert result(bench.send(one, "name")) == "genesis_obj"

    def test_a_method_that_sent_it_may_catch_the_error(self, bench):
        bench.install("pLLM_obj", "reflectOn_", "def reflectOn_(self, message):\n    raise ValueError('no')\n", 1)
        result(bench.send("genesis_obj", "nameAs_", "mine"))
        source = (
            f"def careful(self):\n    try:\n        return self.{NONSENSE}()\n    except Exception as error:\n        return str(error)\n"
        )
        bench.install("mine", "careful", source)
        assert NONSENSE in result(bench.send("mine", "careful"))

    def test_an_object_that_answers_for_itself_says_itself_what_is_wrong(self, bench):
        one = result(bench.send("genesis_obj", "clone"))
        result(bench.send(one, "nameAs_", "proxy"))
        bench.install("proxy", "doesNotUnderstand_", "def doesNotUnderstand_(self, message):\n    raise ValueError('mine')\n", 1)
        failed = error(bench.send("proxy", NONSENSE))
        assert failed.message == "doesNotUnderstand_ failed in line 2: ValueError: mine" and "failed" not in failed.details

    def test_what_policy_declines_is_declined(self, bench):
        bench.install("pLLM_obj", "reflectOn_", "def reflectOn_(self, message):\n    decline('not today')\n", 1)
        failed = error(bench.send("genesis_obj", NONSENSE))
        assert (failed.type, failed.message) == ("Declined", "not today")

    @pytest.mark.parametrize(
        ("selector", "source", "kind"),
        [
            ("reflectOn_", "def reflectOn_(self, message):\n    return message.beWritten_({'prompt': 'x', 'drafts': 'many'})\n", "Refused"),
            (
                "reflectOn_",
                "def reflectOn_(self, message):\n    return message.beWritten_({'prompt': 'x', 'personas': ['nobody']})\n",
                "NoSuchObject",
            ),
            ("chooseFrom_", "def chooseFrom_(self, candidates):\n    raise ValueError('undecided')\n", "Refused"),
            ("chooseFrom_", "def chooseFrom_(self, candidates):\n    return self.dice()\n", "Refused"),
            ("chooseFrom_", "def chooseFrom_(self, candidates):\n    return 99\n", "Refused"),
        ],
    )
    def test_a_plan_or_a_choice_that_is_none_is_blamed_on_who_made_it(self, build_house, selector, source, kind):
        house = build_house(worth=["    return self.cost", "    return self.cost + 0"])
        house.bench.install("pLLM_obj", selector, source, 1)
        failed = house.send(make_shop(house), "worth")
        assert isinstance(failed, ImageError) and failed.type == kind
        assert failed.message.startswith("worth ") and selector in failed.message
        assert (failed.details["selector"], failed.details["failed"]) == ("worth", selector)
        assert f"batos method pLLM_obj {selector} FILE --policy" in failed.remedy


class TestOlderImages:
    """What an image was born with follows the version; what a message has replaced stays."""

    def test_policy_that_nobody_replaced_is_renewed(self):
        with awakened() as image:
            bench = Bench(image)
            image.manager.begin()
            old = "def doesNotUnderstand_(self, message):\n    return self.reflectOn_(message)\n"
            image.named("traits_obj").put("doesNotUnderstand_", method("doesNotUnderstand_", old, 1, "primordial", {"audit": []}, True))
            image.manager.commit()
            assert isinstance(bench.send(result(bench.send("genesis_obj", "clone")), "sing"), MethodRequest), "an old handler still works"
            image.manager.begin()
            assert renew(image) == ["doesNotUnderstand_"]
            image.manager.commit()
            told = result(bench.send("traits_obj", "explain_", "doesNotUnderstand_"))
            assert told["source"] == (codex.PRIMORDIAL / "traits_obj" / "doesNotUnderstand_.method").read_text()
            assert told["history"][0]["source"] == old
            image.manager.begin()
            assert renew(image) == []

    def test_a_renewal_that_was_undone_stays_undone_until_there_is_another_one_or_somebody_decides_otherwise(self, monkeypatch, tmp_path):
        with awakened() as image:
            bench = Bench(image)
            old = "def doesNotUnderstand_(self, message):\n    return self.reflectOn_(message)\n"

            def started() -> str:
                image.manager.begin()
                renew(image)
                image.manager.commit()
                return str(result(bench.send("traits_obj", "explain_", "doesNotUnderstand_"))["source"])

            def undo(what: Any) -> None:
                assert result(bench.send("traits_obj", "undo_", what))["slots"]

            image.manager.begin()
            traits = image.reference(image.named("traits_obj"))
            image.named("traits_obj").put("doesNotUnderstand_", method("doesNotUnderstand_", old, 1, "primordial", {"audit": []}, True))
            image.manager.commit()
            newer = started()
            assert newer != old
            undo([traits, "doesNotUnderstand_"])
            assert started() == started() == old
            undo(result(bench.send("genesis_obj", "recent_", "", 1))["entries"][0]["entry"])
            assert started() == newer
            undo([traits, "doesNotUnderstand_"])
            assert started() == old
            shutil.copytree(codex.PRIMORDIAL, tmp_path / "primordial")
            newest = newer.replace("return", "pass\n    return")
            (tmp_path / "primordial" / "traits_obj" / "doesNotUnderstand_.method").write_text(newest)
            monkeypatch.setattr(codex, "PRIMORDIAL", tmp_path / "primordial")
            assert started() == newest, "a later version is another question"

    def test_policy_that_a_message_replaced_is_kept(self):
        with awakened() as image:
            source = "def chooseFrom_(self, candidates):\n    return None\n"
            Bench(image).install("pLLM_obj", "chooseFrom_", source, 1)
            image.manager.begin()
            assert renew(image) == []
            assert image.named("pLLM_obj").own("chooseFrom_").own("source") == source

    def test_policy_of_a_principal_that_is_called_as_the_kernel_is_kept(self):
        with awakened() as image:
            source = "def chooseFrom_(self, candidates):\n    return None\n"
            image.manager.begin()
            made = method("chooseFrom_", source, 1, "primordial", {"mode": "offered"}, True)
            image.named("pLLM_obj").put("chooseFrom_", made)
            assert renew(image) == [] and image.named("pLLM_obj").own("chooseFrom_") is made


# --- any series of changes, against a plain model ---------------------------------------------------------------------------


class Process(Bench):
    """A UVM with the epoch of its own that a process has: what another one writes reaches its caches as an invalidation alone."""

    def __init__(self, image: Image, name: str) -> None:
        super().__init__(image, name)
        self._epoch = objects._Epoch.now

    def run(self, *deliveries: Delivery) -> list[Outcome]:
        with self._own():
            return super().run(*deliveries)

    def install(self, *facts: Any) -> None:
        with self._own():
            super().install(*facts)

    def reference(self, name: str) -> Reference:
        """The object of that name."""
        with self._own():
            self.image.manager.begin()
            try:
                return self.image.reference(self.image.named(name))
            finally:
                self.image.manager.abort()

    @contextmanager
    def _own(self) -> Iterator[None]:
        objects._Epoch.now = self._epoch
        try:
            yield
        finally:
            self._epoch = objects._Epoch.now


KERNEL, METHOD = "<kernel>", "<method>"
ASKED = ("names", "parents", "clone", "price", "double")
MOST = 5


class Step(Struct, frozen=True):
    """What one process does to one object; `other` is another object, or a number to set."""

    action: Literal["set", "drop", "install", "clone", "adopt", "orphan"]
    uvm: int
    who: int
    name: str
    other: int


STEPS = st.builds(
    Step,
    st.sampled_from(get_args(Step.__annotations__["action"])),
    st.integers(0, 1),
    st.integers(1, MOST - 1),
    st.sampled_from(ASKED),
    st.integers(1, MOST - 1),
)


class Model:
    """Objects as plain dicts of slots and lists of parents; number 0 is what the kernel gives everybody."""

    def __init__(self) -> None:
        self.slots: list[dict[str, Any]] = [{"names": KERNEL, "parents": KERNEL, "clone": KERNEL}, {"price": 1}, {}, {}, {}]
        self.parents: list[list[int]] = [[], [0], [1], [2], [1]]

    def chain(self, who: int) -> list[int]:
        """The object and its ancestors in the order of lookup."""
        seen: list[int] = []
        pending = [who]
        while pending:
            one = pending.pop(0)
            if one not in seen:
                seen.append(one)
                pending = self.parents[one] + pending
        return seen

    def lookup(self, who: int, name: str) -> Any:
        """What the object answers to a name, or None."""
        return next((self.slots[one][name] for one in self.chain(who) if name in self.slots[one]), None)

    def adopt(self, who: int, parent: int) -> bool:
        if who in self.chain(parent) or parent in self.parents[who]:
            return False
        self.parents[who].append(parent)
        return True

    def orphan(self, who: int, parent: int) -> bool:
        if parent not in self.parents[who] or len(self.parents[who]) == 1:
            return False
        self.parents[who].remove(parent)
        return True


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, max_size=25))
def test_hiding_removing_and_cloning_agree_with_a_plain_model_in_two_processes_at_once(steps):
    database = new_database()
    with awakened(database) as here:
        there = Image(database)
        uvms = [Process(here, "uvm-1"), Process(there, "uvm-2")]
        model = Model()
        here.manager.begin()
        things = [here.named("traits_obj")]
        for who in range(1, MOST):
            things.append(UvmObject({PARENTS: [things[parent] for parent in model.parents[who]], **model.slots[who]}))
            here.give_name(things[who], f"thing{who}")
        here.manager.commit()
        for step in steps:
            _carry_out(uvms[step.uvm], model, step)
            for bench in uvms:
                for who in range(1, MOST):
                    _agree(bench, model, who)
        there.connection.close()


def _carry_out(bench: Process, model: Model, step: Step) -> None:
    target, slots = f"thing{step.who}", model.slots[step.who]
    match step.action:
        case "set":
            done = bench.send(target, MIRROR, "setSlot_value_", step.name, step.other)
            assert isinstance(done, Answered) is (slots.get(step.name) != METHOD)
            if slots.get(step.name) != METHOD:
                slots[step.name] = step.other
        case "drop":
            done = bench.send(target, MIRROR, "removeSlot_", step.name)
            assert isinstance(done, Answered) is (slots.pop(step.name, None) is not None)
        case "install" if step.name not in slots:
            bench.install(target, step.name, f"def {step.name}(self):\n    return ['written', self.price]\n")
            slots[step.name] = METHOD
        case "clone" if not any(step.other in [who, *parents] for who, parents in [(step.who, []), *enumerate(model.parents)]):
            # The clone takes the place and the name of one that nobody inherits from.
            twin = result(bench.send(target, MIRROR, "clone"))
            result(bench.send(f"thing{step.other}", MIRROR, "forgetName_", f"thing{step.other}"))
            result(bench.send(twin, MIRROR, "nameAs_", f"thing{step.other}"))
            model.slots[step.other], model.parents[step.other] = dict(slots), list(model.parents[step.who])
        case "adopt" | "orphan":
            selector = "addParent_" if step.action == "adopt" else "removeParent_"
            done = bench.send(target, MIRROR, selector, bench.reference(f"thing{step.other}"))
            assert isinstance(done, Answered) is getattr(model, step.action)(step.who, step.other)


def _agree(bench: Bench, model: Model, who: int) -> None:
    target = f"thing{who}"
    assert set(result(bench.send(target, MIRROR, "slotNames"))) == set(model.slots[who])
    assert result(bench.send(target, MIRROR, "names")) == [target]
    for name in ASKED:
        held = model.lookup(who, name)
        assert result(bench.send(target, MIRROR, "respondsTo_", name)) is (held is not None)
        if isinstance(held, int):
            assert result(bench.send(target, name)) == held
        elif held == METHOD and isinstance(model.lookup(who, "price"), int):
            assert result(bench.send(target, name)) == ["written", model.lookup(who, "price")]
        elif held == KERNEL and name != "clone":
            assert result(bench.send(target, name)) == result(bench.send(target, MIRROR, name))

"""What the model is asked with, as messages see and change it: bounds, rights, undo, what adapters were trained on."""

import json
from importlib.resources import files

import msgspec
import pytest
from ZODB.blob import Blob
from ZODB.DemoStorage import DemoStorage

from inference_worker.forge.render import COVENANT
from tests.uvm.images import Bench, awakened
from uvm.awakening.renewal import renew
from uvm.errors import BadArguments, BadPrompt, NotAllowed
from uvm.history import chronicle
from uvm.image import prompts
from uvm.image.image import Database
from uvm.machine.delivery import Answered, Delivery
from uvm.objects import KIND, PARENTS, UvmObject
from uvm.protocol import Send, decode_value, encode
from uvm.rights import ALL

MODEL = "a" * 64
SHIPPED = (files("inference_worker") / "shipped" / "covenant" / "training.json").read_bytes()
FULL = (files("uvm") / "primordial" / "fullCovenant.txt").read_text().rstrip("\n")
MODELS = {
    "SmolLM2-135M": (134.5, {"hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536, "vocab_size": 49152, "heads": (9, 3)}),
    "SmolLM2-360M": (
        361.8,
        {"hidden_size": 960, "num_hidden_layers": 32, "intermediate_size": 2560, "vocab_size": 49152, "heads": (15, 5)},
    ),
    "Qwen2.5-0.5B": (
        494.0,
        {"hidden_size": 896, "num_hidden_layers": 24, "intermediate_size": 4864, "vocab_size": 151936, "heads": (14, 2)},
    ),
}
BRIEF, TERSE = "Be brief.", "Write Python.\n\tNo words."


@pytest.fixture
def bench():
    """A model, and the adapter of all personas, trained as the one that ships."""
    with awakened(Database(DemoStorage())) as image:
        image.manager.begin()
        mind = image.named("pLLM_obj")
        mind.put("model", UvmObject({KIND: "model", "digest": MODEL, "name": "small", "blobs": {}}))
        mind.put("adapter", adapter(image, "1", SHIPPED))
        image.manager.commit()
        yield Bench(image)


def adapter(image, digit, training=None, base=MODEL):
    """An adapter with that content in its `training.json`, or without one."""
    blobs = {}
    if training is not None:
        blobs["training.json"] = blob = Blob()
        image.connection.add(blob)
        with blob.open("w") as file:
            file.write(training)
    traits = image.named("traits_obj")
    return UvmObject({PARENTS: [traits], KIND: "adapter", "digest": digit * 64, "name": f"tone{digit}", "base": base, "blobs": blobs})


def give(bench, persona, *content, **options):
    bench.image.manager.begin()
    bench.image.named(persona).put("adapter", adapter(bench.image, *content, **options))
    bench.image.manager.commit()


def answer(outcome):
    assert isinstance(outcome, Answered), outcome.error
    return decode_value(outcome.result)


def show(bench, persona="pLLM_obj"):
    return answer(bench.send(persona, "showPrompt"))


def asked_with(bench):
    """What each persona is asked with."""
    return {name: show(bench, name)["text"] for name in ("pLLM_obj", "robin", "brick")}


def test_an_image_is_born_with_the_text_that_the_shipped_adapter_was_trained_on(bench):
    for persona in ("pLLM_obj", "robin"):
        shown = show(bench, persona)
        assert (shown["persona"], shown["from"], shown["text"], shown["earlier"]) == (persona, "pLLM_obj", COVENANT, [])
        assert shown["digest"] == shown["trained_on"] == prompts.digest(COVENANT)
        assert shown["as_trained"] is True and shown["adapter"]["name"] == "tone1"
        assert shown["characters"] == len(COVENANT) and 30 <= shown["tokens"] <= 60


def test_a_text_is_in_force_for_all_who_inherit_it_and_a_personas_own_comes_before_it(bench):
    answer(bench.send("robin", "usePrompt_", TERSE))
    changed = answer(bench.send("pLLM_obj", "usePrompt_", BRIEF))
    assert asked_with(bench) == {"pLLM_obj": BRIEF, "robin": TERSE, "brick": BRIEF}
    assert changed["text"] == BRIEF and changed["before"]["text"] == COVENANT
    twin = answer(bench.send("robin", "clone"))
    assert show(bench, twin)["text"] == TERSE
    assert show(bench, "robin")["from"] == "robin" and show(bench, "brick")["from"] == "pLLM_obj"


def test_who_speaks_with_an_adapter_that_was_trained_on_another_text_is_named(bench):
    give(bench, "babs", "2", json.dumps({"covenant": BRIEF}).encode())
    give(bench, "alfred", "3")
    changed = answer(bench.send("pLLM_obj", "usePrompt_", BRIEF))
    assert changed["as_trained"] is False and changed["trained_on"] == prompts.digest(COVENANT)
    assert sorted(changed["unfit"]) == ["brick", "pLLM_obj", "robin"], "babs knows this text, and alfred's adapter does not say"
    assert show(bench, "alfred")["as_trained"] is None
    assert answer(bench.send("robin", "usePrompt_", TERSE))["unfit"] == ["robin"]
    assert answer(bench.send("pLLM_obj", "resetPrompt"))["unfit"] == ["babs"]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff", b'{"covenant": 5}', b'{"covenant": ""}', b'{"recipe": 1}', b"{" * 70_000, b'{"a":' + b"[" * 60_000]
)
def test_an_adapter_whose_notes_cannot_be_read_does_not_say(bench, content):
    give(bench, "pLLM_obj", "2", content)
    shown = show(bench)
    assert (shown["as_trained"], shown["trained_on"]) == (None, "")
    assert answer(bench.send("pLLM_obj", "usePrompt_", BRIEF))["unfit"] == []


def test_an_adapter_that_is_not_in_force_has_no_say(bench):
    give(bench, "robin", "2", json.dumps({"covenant": BRIEF}).encode(), base="b" * 64)
    assert show(bench, "robin")["adapter"] is None
    assert answer(bench.send("robin", "usePrompt_", TERSE))["unfit"] == []


def test_reset_brings_back_the_text_of_the_adapter_in_force(bench):
    answer(bench.send("robin", "usePrompt_", TERSE))
    assert answer(bench.send("robin", "resetPrompt"))["from"] == "pLLM_obj", "it inherits the text, and has none of its own"
    answer(bench.send("pLLM_obj", "usePrompt_", BRIEF))
    assert answer(bench.send("robin", "resetPrompt"))["from"] == "robin"
    assert asked_with(bench) == {"pLLM_obj": BRIEF, "robin": COVENANT, "brick": BRIEF}
    assert answer(bench.send("pLLM_obj", "resetPrompt"))["before"]["text"] == BRIEF
    assert asked_with(bench) == {"pLLM_obj": COVENANT, "robin": COVENANT, "brick": COVENANT}
    give(bench, "robin", "2", json.dumps({"covenant": BRIEF}).encode())
    assert answer(bench.send("robin", "resetPrompt"))["as_trained"] is True
    assert asked_with(bench) == {"pLLM_obj": COVENANT, "robin": BRIEF, "brick": COVENANT}


def test_without_an_adapter_it_is_the_text_that_images_are_born_with(bench):
    answer(bench.send("pLLM_obj", "usePrompt_", BRIEF))
    answer(bench.send("pLLM_obj", "removeSlot_", "adapter"))
    shown = answer(bench.send("pLLM_obj", "resetPrompt"))
    assert (shown["text"], shown["adapter"], shown["as_trained"]) == (COVENANT, None, None)
    answer(bench.send("pLLM_obj", "removeSlot_", "covenant"))
    assert (show(bench)["text"], show(bench)["from"]) == (COVENANT, "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (" \n\t\n", "empty"),
        ("x" * 8193, "8,193 characters, and 8,192"),
        ("Be\nbrief.\r\n", r"line 2 has a control character, U\+000D"),
        ("\x1b[2J", r"U\+001B"),
        ("a\0b", r"U\+0000"),
        ("a\x85b", r"U\+0085"),
        (b"Be brief.", "no text"),
        (5, "no text"),
        (None, "no text"),
    ],
)
def test_what_cannot_be_asked_with_is_refused_by_type_and_changes_nothing(bench, text, says):
    before = show(bench)
    error = bench.send("pLLM_obj", "usePrompt_", text).error
    assert isinstance(error, BadPrompt) and "batos prompt reset" in error.remedy
    with pytest.raises(BadPrompt, match=says):
        raise error
    assert show(bench) == before


def test_the_longest_text_in_any_script_is_kept_whole_and_so_is_what_was_before_it(bench):
    longest = "語" * 8192
    answer(bench.send("pLLM_obj", "usePrompt_", longest))
    answer(bench.send("pLLM_obj", "usePrompt_", BRIEF))
    newest, first = show(bench, "robin")["earlier"]
    assert newest["text"] == longest and first["text"] == COVENANT
    assert newest["of"] == "pLLM_obj" and newest["by"] == "local" and newest["digest"] == prompts.digest(longest)


def test_what_is_no_persona_has_no_text(bench):
    shop = answer(bench.send("genesis_obj", "clone"))
    for target in (shop, "genesis_obj", "heartbeat_obj"):
        for selector, args in (("showPrompt", ()), ("usePrompt_", (BRIEF,)), ("resetPrompt", ())):
            assert isinstance(bench.send(target, selector, *args).error, BadPrompt), (target, selector)
    assert isinstance(bench.send("pLLM_obj", "usePrompt_").error, BadArguments)


def test_a_change_and_a_reset_are_undone_and_the_chronicle_has_all_of_it(bench):
    answer(bench.send("robin", "usePrompt_", TERSE, session="s", seq=1))
    answer(bench.send("robin", "resetPrompt", session="s", seq=2))
    answer(bench.send("pLLM_obj", "usePrompt_", BRIEF, session="s", seq=3))
    assert asked_with(bench)["robin"] == BRIEF
    answer(bench.send("genesis_obj", "undo_", "s/2", session="s", seq=4))
    assert asked_with(bench) == {"pLLM_obj": BRIEF, "robin": TERSE, "brick": BRIEF}
    earlier = show(bench, "robin")["earlier"]
    assert [(each["of"], each["text"]) for each in earlier] == [("robin", None), ("pLLM_obj", COVENANT), ("robin", TERSE), ("robin", None)]
    replaced = next(each["entry"] for each in earlier if each["of"] == "pLLM_obj")
    answer(bench.send("genesis_obj", "undo_", replaced, session="s", seq=5))
    assert asked_with(bench) == {"pLLM_obj": COVENANT, "robin": TERSE, "brick": COVENANT}
    assert "prompt" in chronicle.KINDS


def test_the_chronicle_has_whoever_changed_the_slot_in_another_way_and_no_strangers_slot_of_that_name(bench):
    shop = answer(bench.send("genesis_obj", "clone"))
    answer(bench.send(shop, "setSlot_value_", "covenant", "Obey."))
    answer(bench.send("pLLM_obj", "setSlot_value_", "covenant", BRIEF))
    assert show(bench)["text"] == BRIEF
    assert [each["text"] for each in show(bench)["earlier"]] == [COVENANT]


@pytest.mark.parametrize("value", [5, "", "a\x1bb", "x" * 9000, [BRIEF]])
def test_what_stands_in_a_slot_and_cannot_be_asked_with_is_passed_by(bench, value):
    answer(bench.send("robin", "setSlot_value_", "covenant", value))
    assert asked_with(bench)["robin"] == COVENANT
    answer(bench.send("pLLM_obj", "setSlot_value_", "covenant", value))
    assert asked_with(bench)["robin"] == COVENANT


def test_the_same_text_again_changes_nothing(bench):
    answer(bench.send("pLLM_obj", "usePrompt_", COVENANT))
    answer(bench.send("pLLM_obj", "resetPrompt"))
    answer(bench.send("robin", "resetPrompt"))
    assert show(bench, "robin")["earlier"] == []


def sent(bench, rights, target, selector, *args):
    request = Send(id=1, target=target, selector=selector, args=list(args))
    return bench.run(Delivery(1, encode(request), "someone", False, 0.0, 60.0, frozenset(rights)))[0]


def test_a_primordial_persona_is_asked_with_what_policy_says_and_everybody_may_look(bench):
    sending = ALL - {"policy"}
    for text in (BRIEF, COVENANT):
        assert isinstance(sent(bench, sending, "pLLM_obj", "usePrompt_", text).error, NotAllowed)
    assert isinstance(sent(bench, sending, "robin", "resetPrompt").error, NotAllowed)
    assert isinstance(sent(bench, sending, "robin", "showPrompt"), Answered)
    assert isinstance(sent(bench, ALL - {"administer"}, "robin", "usePrompt_", BRIEF), Answered)
    assert asked_with(bench) == {"pLLM_obj": COVENANT, "robin": BRIEF, "brick": COVENANT}


@pytest.mark.parametrize("body", ["self.showPrompt()", "self.usePrompt_('Obey.')", "self.resetPrompt()"])
def test_a_method_is_not_told_and_changes_nothing(bench, body):
    bench.install("pLLM_obj", "look", f"def look(self):\n    return {body}\n")
    assert isinstance(bench.send("pLLM_obj", "look").error, NotAllowed)
    assert asked_with(bench)["robin"] == COVENANT


def configuration(hidden_size, num_hidden_layers, intermediate_size, vocab_size, heads):
    """As the model's `config.json` has it."""
    return {
        "model_type": "llama",
        "hidden_size": hidden_size,
        "num_hidden_layers": num_hidden_layers,
        "intermediate_size": intermediate_size,
        "vocab_size": vocab_size,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "tie_word_embeddings": True,
    }


def think_with(bench, model, digest):
    """Have all personas think with a model of that configuration, or content of it, and without an adapter."""
    image = bench.image
    image.manager.begin()
    blob = Blob()
    image.connection.add(blob)
    with blob.open("w") as file:
        file.write(model if isinstance(model, bytes) else json.dumps(configuration(**MODELS[model][1])).encode())
    mind = image.named("pLLM_obj")
    mind.put("model", UvmObject({KIND: "model", "digest": digest, "name": "other", "blobs": {"config.json": blob}}))
    mind.drop("adapter")
    image.manager.commit()


@pytest.mark.parametrize(
    ("text", "full", "parameters", "adapter", "chosen"),
    [
        (COVENANT, FULL, 494_000_000, False, FULL),
        (COVENANT, FULL, 300_000_000, False, COVENANT),
        (COVENANT, FULL, 0, False, COVENANT),
        (COVENANT, FULL, 494_000_000, True, COVENANT),
        (BRIEF, FULL, 494_000_000, False, BRIEF),
        (COVENANT, None, 494_000_000, False, COVENANT),
    ],
)
def test_the_full_text_is_for_larger_models_without_an_adapter_where_nobody_chose_another(text, full, parameters, adapter, chosen):
    assert prompts.choice(text, full, parameters, adapter) == chosen


@pytest.mark.parametrize("model", MODELS)
def test_how_large_a_model_is_its_configuration_says(model):
    millions, dimensions = MODELS[model]
    read = msgspec.convert(configuration(**dimensions), prompts.ModelConfiguration)
    assert read.parameters / 1e6 == pytest.approx(millions, rel=0.01)


def test_a_larger_model_is_asked_with_the_full_text_until_an_adapter_or_somebody_says_otherwise(bench):
    think_with(bench, "Qwen2.5-0.5B", "d" * 64)
    shown = show(bench, "robin")
    assert (shown["text"], shown["from"], shown["slot"], shown["adapter"]) == (FULL, "pLLM_obj", "fullCovenant", None)
    assert prompts.check(FULL) == FULL and 'decline("' in FULL
    shop = answer(bench.send("genesis_obj", "clone"))
    assert bench.send(shop, "sing").plan["prompt"].startswith(FULL + "\nObject:\n")
    give(bench, "brick", "4", SHIPPED, base="d" * 64)
    assert asked_with(bench) == {"pLLM_obj": FULL, "robin": FULL, "brick": COVENANT}
    answer(bench.send("brick", "resetPrompt"))
    assert show(bench, "brick")["from"] == "pLLM_obj", "it inherits what its adapter was trained on"
    answer(bench.send("pLLM_obj", "usePrompt_", BRIEF))
    assert asked_with(bench) == {"pLLM_obj": BRIEF, "robin": BRIEF, "brick": BRIEF}
    assert answer(bench.send("pLLM_obj", "resetPrompt"))["text"] == FULL
    answer(bench.send("pLLM_obj", "setSlot_value_", "fullCovenant", TERSE))
    assert asked_with(bench) == {"pLLM_obj": TERSE, "robin": TERSE, "brick": COVENANT}
    assert show(bench)["earlier"][0] | {"entry": "", "at": 0} == {
        "entry": "",
        "at": 0,
        "by": "local",
        "of": "pLLM_obj",
        "slot": "fullCovenant",
        "text": FULL,
        "digest": prompts.digest(FULL),
        "characters": len(FULL),
        "tokens": prompts.tokens(FULL),
    }
    answer(bench.send("pLLM_obj", "setSlot_value_", "fullCovenant", None))
    assert asked_with(bench)["robin"] == COVENANT


@pytest.mark.parametrize("content", [b"", b"[]", b'{"hidden_size": "many"}', "SmolLM2-135M"])
def test_a_small_model_or_one_of_unknown_size_is_asked_with_the_short_text(bench, content):
    think_with(bench, content, prompts.digest(repr(content)))
    assert asked_with(bench)["robin"] == COVENANT


def test_an_older_image_gets_the_full_text_once_and_a_changed_one_stays(bench):
    image = bench.image
    for value, renewed in ((None, []), (BRIEF, []), ("removed", ["fullCovenant"])):
        image.manager.begin()
        mind = image.named("pLLM_obj")
        mind.drop("fullCovenant") if value == "removed" else mind.put("fullCovenant", value)
        assert [name for name in renew(image) if name == "fullCovenant"] == renewed
        image.manager.commit()

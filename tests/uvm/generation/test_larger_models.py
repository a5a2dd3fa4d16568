"""A larger model without an adapter is asked in its own way, and what it answers is audited and tried like every draft."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ZODB.blob import Blob
from ZODB.DemoStorage import DemoStorage

from inference_worker.protocol import Generate
from tests.uvm.houses import House, make_shop
from tests.uvm.images import awakened
from uvm.image.image import Database, Image
from uvm.objects import KIND, UvmObject
from uvm.trial.client import TrialServer

MODEL, ADAPTER = "5" * 64, "2" * 64
Rooms = Callable[..., House]
QWEN = {"hidden_size": 896, "num_hidden_layers": 24, "intermediate_size": 4864, "vocab_size": 151936, "num_attention_heads": 14}
THOUGHT = "<think>\ncost times pieces?\n```python\nreturn 0\n```\n</think>\n"
THOUGHTFUL = f"{THOUGHT}Here it is:\n```python\ndef worth(self):\n    return self.cost\n```\nDone."


@pytest.fixture
def rooms(trials: TrialServer, tmp_path: Path) -> Iterator[Rooms]:
    """Houses of one image; a model of 0.5 billion parameters, with or without a chat template, thinks for all personas."""
    with awakened(Database(DemoStorage())) as image:

        def make(*bodies: str, template: bool = True, adapter: bool = False, **settings: Any) -> House:
            image.manager.begin()
            files = {"config.json": QWEN} | ({"tokenizer_config.json": {"chat_template": "{{ messages }}"}} if template else {})
            blobs = {name: blob(image, json.dumps(content).encode()) for name, content in files.items()}
            mind = image.named("pLLM_obj")
            mind.put("model", UvmObject({KIND: "model", "digest": MODEL, "blobs": blobs, "name": "larger"}))
            if adapter:
                mind.put("adapter", UvmObject({KIND: "adapter", "digest": ADAPTER, "name": "terse", "base": MODEL, "blobs": {}}))
            image.manager.commit()
            for kind, digest in (("models", MODEL), ("adapters", ADAPTER)):
                (tmp_path / kind / digest).mkdir(parents=True, exist_ok=True)
            return House(image, trials, {"worth": list(bodies)}, tmp_path, drafts=1, **settings)

        yield make


def blob(image: Image, content: bytes) -> Blob:
    made = Blob()
    image.connection.add(made)
    with made.open("w") as file:
        file.write(content)
    return made


def asked(house: House) -> tuple[Any, Generate]:
    outcome = house.send(make_shop(house), "worth")
    return outcome, house.model.asked[0]


def test_with_a_chat_template_the_covenant_is_the_systems_and_the_body_is_found_behind_thinking(rooms: Rooms) -> None:
    house = rooms(THOUGHTFUL)
    outcome, generate = asked(house)
    assert outcome == 4
    assert generate.chat and not generate.grammar and generate.max_tokens > 240
    assert generate.system.startswith("Role: ") and generate.prompt.startswith("Object:\n")
    assert "Role: " not in generate.prompt and generate.prompt.endswith("def worth(self):\n")


def test_such_a_model_is_told_what_was_refused_before_and_why(rooms: Rooms) -> None:
    house = rooms("```python\ndef worth(self):\n    return self.cost / 0\n```")
    outcome, first = asked(house)
    assert outcome.type == "Refused" and "Refused before" not in first.prompt
    told = "Refused before: return self.cost / 0 (because: "
    again = house.model.asked[1].prompt
    assert told in again and "ZeroDivisionError" in again.split(told)[1] and again.endswith("def worth(self):\n")
    house.model.bodies["worth"] = ["    return self.cost"]
    questions = len(house.model.asked)
    shop = make_shop(house)
    assert house.send(shop, "worth") == 4, "another shop of the same shape: the same message"
    assert told in house.model.asked[questions].prompt
    assert told in house.send(shop, "explain_", "worth")["proof"]["prompt"]


def test_what_a_small_model_was_trained_on_has_no_such_lines(rooms: Rooms) -> None:
    house = rooms("    return self.cost / 0", adapter=True)
    asked(house)
    asked(house)
    assert len(house.model.asked) > 1 and not any("Refused before" in generate.prompt for generate in house.model.asked)


def test_an_escape_that_such_a_model_writes_is_refused_by_the_same_audit(rooms: Rooms) -> None:
    house = rooms("<think>now</think>\n```python\ndef worth(self):\n    import os\n    return os.listdir()\n```")
    outcome, _ = asked(house)
    assert outcome.type == "Refused" and "import" in str(outcome.details)


def test_thinking_that_does_not_end_is_no_draft_and_says_so(rooms: Rooms) -> None:
    outcome, _ = asked(rooms("<think>\nreturn self.cost"))
    assert outcome.type == "Refused"
    assert "thinking before the body has no end" in str(outcome.details)


def test_without_a_template_it_goes_on_after_the_signature_with_local_names_of_its_own(rooms: Rooms) -> None:
    outcome, generate = asked(rooms("    unheard_of = self.cost\n    return unheard_of\n", template=False))
    assert outcome == 4
    assert not generate.chat and not generate.system and generate.prompt.startswith("Role: ")
    assert "local ::= [a-z]" in generate.grammar and generate.max_tokens == 240


@pytest.mark.parametrize("settings", [{"adapter": True}, {"chat": "off", "grammar": "listed"}])
def test_an_adapter_and_the_settings_bring_back_what_the_small_one_needs(rooms: Rooms, settings: dict[str, Any]) -> None:
    outcome, generate = asked(rooms("    return self.cost\n", **settings))
    assert outcome == 4
    assert not generate.chat and not generate.system and 'local ::= "a" | "b"' in generate.grammar


def test_what_has_learned_where_a_body_ends_may_do_without_the_grammar(rooms: Rooms) -> None:
    outcome, generate = asked(rooms("    unheard_of = self.cost\n    return unheard_of\n", adapter=True, grammar="none"))
    assert outcome == 4
    assert not generate.grammar and not generate.chat and generate.max_tokens == 240


def test_what_a_draft_needs_is_written_also_where_the_models_files_are_in_the_image(rooms: Rooms) -> None:
    house = rooms("    return self.price_of_all() + 1", template=False)
    house.model.bodies["price_of_all"] = ["    return self.cost * self.pieces"]
    assert house.send(make_shop(house), "worth") == 13

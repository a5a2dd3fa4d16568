"""Requests as chat templates write them, with the templates of two families."""

from collections.abc import Callable
from typing import Any

import pytest
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from inference_worker.engine.chat import chat_text
from inference_worker.errors import BadRequest
from inference_worker.protocol import Generate

QWEN = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
GEMMA = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
)


class Templated:
    """What a tokenizer does with its template, as the transformers library does it."""

    def __init__(self, template: str | None) -> None:
        self.chat_template = template

    def apply_chat_template(self, messages: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool) -> str:
        def refuse(reason: str) -> None:
            raise TemplateError(reason)

        raise_exception: Callable[[str], None] = refuse
        environment: Any = ImmutableSandboxedEnvironment(keep_trailing_newline=True)
        return str(environment.from_string(self.chat_template).render(messages=messages, raise_exception=raise_exception))


def asked(**fields: Any) -> Generate:
    return Generate(id="1", model="0" * 64, prompt="def f(self):", chat=True, **fields)


def test_what_the_system_says_comes_before_what_the_user_does() -> None:
    text = chat_text(Templated(QWEN), asked(system="Write Python."))
    assert text == "<|im_start|>system\nWrite Python.<|im_end|>\n<|im_start|>user\ndef f(self):<|im_end|>\n<|im_start|>assistant\n"


def test_without_it_there_is_one_message() -> None:
    assert chat_text(Templated(QWEN), asked()) == "<|im_start|>user\ndef f(self):<|im_end|>\n<|im_start|>assistant\n"


def test_a_template_that_knows_no_system_has_both_in_the_users_message() -> None:
    text = chat_text(Templated(GEMMA), asked(system="Write Python."))
    assert text == "<start_of_turn>user\nWrite Python.\ndef f(self):<end_of_turn>\n<start_of_turn>model\n"


def test_a_model_without_a_template_is_no_partner() -> None:
    with pytest.raises(BadRequest, match="no chat template"):
        chat_text(Templated(None), asked())

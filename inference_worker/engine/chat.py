"""A request as the model's chat template writes it. Pure; `tokenizer` is one of the transformers library."""

from typing import Any

from inference_worker.errors import BadRequest
from inference_worker.protocol import Generate


def chat_text(tokenizer: Any, request: Generate) -> str:
    """The text that the model goes on from. Raises BadRequest.

    Some templates know no message of the system (Gemma's): its text then stands before the user's own.
    """
    if not tokenizer.chat_template:
        raise BadRequest("the model has no chat template; send the whole prompt, with chat off")
    if request.system:
        from jinja2 import TemplateError  # with the library, where there is an engine

        try:
            return _text(tokenizer, [{"role": "system", "content": request.system}, {"role": "user", "content": request.prompt}])
        except TemplateError:
            return _text(tokenizer, [{"role": "user", "content": f"{request.system}\n{request.prompt}"}])
    return _text(tokenizer, [{"role": "user", "content": request.prompt}])


def _text(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

"""What vLLM is given for a request: the prompt's tokens, how an output is drawn, and a grammar that compiles.

Made in the engine's thread when the engine starts, and called in the worker's event loop; `check_grammar` in a thread of its own.
"""

from typing import Any

from inference_worker.engine.chat import chat_text
from inference_worker.errors import BadGrammar
from inference_worker.protocol import Generate, Sampling


class VllmInputs:
    """The inputs of one model. `tokenizer`: the engine's; `vocabulary`: the model's size, which may be above the tokenizer's."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._grammars = _grammar_compiler(tokenizer, vocabulary)

    def tokens(self, request: Generate) -> list[int]:
        """The prompt, with the chat template around it where the request is a chat. Raises BadRequest."""
        if not request.chat:
            return list(self._tokenizer.encode(request.prompt))
        text = chat_text(self._tokenizer, request)
        # The template writes the tokens that begin a text by itself.
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    @staticmethod
    def parameters(request: Generate, sampling: Sampling, room: int) -> Any:
        """How one output is drawn; `room`: tokens that the context has left for it."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            max_tokens=min(request.max_tokens, room),
            stop=request.stop or None,
            # 0: of the tokens that were chosen, and no others.
            logprobs=0,
            structured_outputs=StructuredOutputsParams(grammar=request.grammar) if request.grammar else None,
            # Also where nobody reads it as it is written: the first token's time is measured by it.
            output_kind=RequestOutputKind.DELTA,
        )

    def check_grammar(self, grammar: str) -> None:
        """Compile it here first: in the core a grammar that fails takes other requests' time, and its reason is lost. Raises BadGrammar."""
        if "::=" not in grammar:
            raise BadGrammar("the grammar has no rule `root ::= …`; only EBNF is supported")
        try:
            self._grammars.compile_grammar(grammar)
        except Exception as error:
            raise BadGrammar(f"the grammar is refused: {error}") from error


def _grammar_compiler(tokenizer: Any, vocabulary: int) -> Any:
    import xgrammar

    information = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary)
    return xgrammar.GrammarCompiler(information, max_threads=1, cache_limit_bytes=64 * 2**20)

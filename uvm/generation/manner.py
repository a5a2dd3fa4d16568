"""How a model is asked: with its chat template or with plain text, and under which grammar. Pure functions and values.

A small model, and one with an adapter, goes on after the method's first line, under the grammar of `uvm.language.grammar` with listed local
names: that is what adapters are trained on. A larger one without an adapter is held back by it. Where it has a chat template it is
asked with that, the covenant as the message of the system, and writes what it likes: thinking first, prose, a fence
(`uvm.generation.answers` takes the body out). Where it has none it goes on as the small one does, with local names of its own. The audit
is the same for all.
"""

from typing import Final, Literal

from msgspec import Struct

Guidance = Literal["listed", "free", "none"]
"""What holds an answer: the grammar with listed local names, the grammar with any, or nothing but the audit."""

THINKING_TOKENS: Final = 768
"""Tokens beyond the plan's that an answer without a grammar may have, for what comes before and after the body."""


class Manner(Struct, frozen=True):
    """How one persona's model is asked."""

    chat: bool = False
    guidance: Guidance = "listed"

    def tokens(self, planned: int) -> int:
        """The longest answer, where the plan has room for a body of so many tokens."""
        return planned + THINKING_TOKENS if self.guidance == "none" and self.chat else planned


def manner_of(
    *,
    large: bool,
    template: bool,
    adapter: bool = False,
    chat: Literal["auto", "on", "off"] = "auto",
    grammar: Literal["auto", "listed", "free", "none"] = "auto",
) -> Manner:
    """How a model is asked. `large`: it follows a long text and speaks without an adapter; `template`: it has a chat template.

    What is set counts where it is possible: without a template there is no chat, and without a chat only the grammar ends an answer, or
    an adapter, which has learned where a body ends.
    """
    talks = template and (large if chat == "auto" else chat == "on")
    if grammar == "auto":
        return Manner(talks, ("none" if talks else "free") if large else "listed")
    return Manner(talks, "free" if grammar == "none" and not (talks or adapter) else grammar)

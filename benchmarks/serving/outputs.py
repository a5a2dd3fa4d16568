"""Rows on what is written: do stock and ours write the same greedy tokens, and what do requests without adapter get in a mixed batch?

In bfloat16 a near tie may fall either way, and every later token then differs; so the margin is reported that stock's likeliest token
had over the next at the first difference (nats). Exact equality is proved in float32, by the tests.
"""

from collections.abc import Sequence

from benchmarks.serving import loads
from benchmarks.serving.process import EngineProcess
from benchmarks.serving.table import Row
from benchmarks.serving.wire import Ask, Transcript

_TEXTS = (
    "The capital of France is",
    "def total_price(self):\n    return",
    "Once upon a time there was a",
    "Water boils at a temperature of",
    "A list of the first ten primes:",
    "The opposite of cold is",
    "To sort a list in Python, call",
    "She opened the door and saw",
    "In the middle of the night",
    "class Counter:\n    def increment(self):\n",
)
_TOKENS = 24


def same_outputs(base: EngineProcess, stock: EngineProcess, ours: EngineProcess, adapters: int, prompts: int) -> list[Row]:
    """Each prompt alone, with an adapter; then prompts without adapter beside others with one."""
    texts = _TEXTS[:prompts]
    alone = [Ask(prompt=text, tokens=_TOKENS, adapter=index % adapters, alternatives=True) for index, text in enumerate(texts)]
    transcripts = {player.name: _awake(player, alone, one_by_one=True) for player in (stock, ours)}
    plain = [Ask(prompt=text, tokens=_TOKENS, alternatives=True) for text in _TEXTS[:4]]
    beside = [Ask(prompt=text, tokens=_TOKENS, adapter=index % adapters) for index, text in enumerate(_TEXTS[4:])]
    without = _awake(base, plain)
    mixed = {player.name: _awake(player, [*plain, *beside])[: len(plain)] for player in (stock, ours)}
    return [
        _agreement("same greedy tokens as stock, one adapter alone", {"ours": transcripts["ours"]}, transcripts["stock"], "stock's"),
        _agreement("requests without adapter in a mixed batch: base's tokens", mixed, without, "base's"),
    ]


def _awake(player: EngineProcess, asks: list[Ask], one_by_one: bool = False) -> list[Transcript]:
    with player.awake():
        return player.play(asks, one_by_one)


def _agreement(name: str, transcripts: dict[str, list[Transcript]], reference: Sequence[Transcript], whose: str) -> Row:
    cells: dict[str, str] = {}
    margins: dict[str, list[float]] = {}
    for contestant, mine in transcripts.items():
        differences = [_first_difference(theirs, own) for theirs, own in zip(reference, mine, strict=True)]
        margins[contestant] = [theirs.margins[at] for theirs, at in zip(reference, differences, strict=True) if at is not None]
        cells[contestant] = f"{differences.count(None)} of {len(mine)} outputs equal"
    shown = {
        contestant: f"{contestant}: {whose} lead at the first difference {loads.median(leads):.2g} (largest {max(leads):.2g}) nats"
        for contestant, leads in margins.items()
        if leads
    }
    return Row(
        name=name,
        stock=cells.get("stock", "–"),
        ours=cells["ours"],
        goal="all, near ties apart",
        met=all(margin <= _TIE for margin in margins["ours"]),
        note="; ".join(shown.values()) or f"{_TOKENS} tokens each",
        raw={
            "tokens": {contestant: [transcript.tokens for transcript in mine] for contestant, mine in transcripts.items()},
            "margins": margins,
        },
    )


_TIE = 0.25
"""Two units in the last place of a bfloat16 logit between 16 and 32, one for each of the two: a smaller lead is a tie to the engine."""


def _first_difference(reference: Transcript, compared: Transcript) -> int | None:
    for index, (mine, theirs) in enumerate(zip(reference.tokens, compared.tokens, strict=False)):
        if mine != theirs:
            return index
    return None

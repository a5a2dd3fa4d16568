"""The page that tells how a method came to be takes whatever the image holds."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from ui_client import wherefore

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def page(facts):
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(wherefore.render(facts, "shop"))
    return console.export_text()


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "selector": ANYTHING,
            "method": st.dictionaries(st.sampled_from(["source", "author", "proof", "examples", "born"]), ANYTHING) | ANYTHING,
            "message": st.fixed_dictionaries(
                {"stage": st.just("refused")}, optional={"refusal": ANYTHING, "drafts": ANYTHING, "plan": ANYTHING}
            )
            | ANYTHING,
        },
    )
)
def test_it_never_fails(facts):
    assert isinstance(page(facts), str)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["drafts", "decision", "prompt", "mode"]), ANYTHING))
def test_nor_on_any_proof(proof):
    assert isinstance(page({"selector": "worth", "method": {"proof": proof, "source": "def worth(self):\n    return 1\n"}}), str)


def test_it_cannot_steer_a_terminal_and_features_are_told_in_words():
    decision = {"features": {"share": 0.75, "explained": 1.0, "failed": 0.25}, "confidence": 0.9, "threshold": 2, "risk": 0.01}
    text = page({"selector": "w", "method": {"author": "\x1b[2J", "proof": {"decision": decision, "mode": "found"}}})
    assert "\x1b" not in text and "75% of the drafts do what this one does" in text and "fails on 25% of the varied inputs" in text
    assert "explains" not in text and "more than any draft has" in text and "the library had it" in text


def test_a_refusal_says_when_for_whom_and_how_it_went_before():
    earlier = [{"stage": "refused", "ended": 86_400.0, "why": "not sure enough"}, {"stage": "installed", "ended": 1.0, "why": ""}]
    decision = {"features": {"surprise": 1.5, "usual": 0.5, "lacking": 3.0}, "confidence": 0.2, "threshold": 0.8, "risk": 0.05}
    refusal = {"message": "w was not installed", "remedy": "", "details": {"decision": decision}}
    text = page(
        {"selector": "w", "message": {"stage": "refused", "refusal": refusal, "principal": "alice", "ended": 90_000.0, "earlier": earlier}}
    )
    assert "sent by alice, 1970-01-02 01:00:00 UTC" in text
    assert "refused once before; the last time, 1970-01-02 00:00:00 UTC: not sure enough" in text
    assert "more surprising for such words" in text and "an operation that such words ask for is not in the body" in text

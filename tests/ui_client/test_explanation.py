"""A method with its proof, as a person reads it."""

from rich.console import Console

from ui_client import explanation
from uvm.protocol import Reference

WHOLE = {
    "selector": "total_price",
    "source": "def total_price(self):\n    return self.price * self.quantity\n",
    "author": "brick",
    "installed_on": Reference.parse("@2a"),
    "proof": {
        "prompt": "Write the body of one method",
        "drafts": [
            {
                "source": "def total_price(self):\n    import os\n",
                "findings": ["line 2: no imports"],
                "outcome": "refused",
                "logprob": -0.5,
            },
            {
                "source": "def total_price(self):\n    return self.price * self.quantity\n",
                "findings": [],
                "outcome": "chosen",
                "logprob": -0.01,
            },
        ],
        "audit": ["clean"],
        "trial": {"result": 7.0, "changed": []},
        "model": "abc123",
        "adapter": "covenant@def456",
        "seed": 11,
        "mode": "grammar",
    },
    "history": [{"author": "tool", "digest": "0123abcd"}],
}


def text(facts: dict[str, object]) -> str:
    console = Console(width=120, force_terminal=False)
    with console.capture() as captured:
        console.print(explanation.render(facts))
    return captured.get()


def test_source_prompt_drafts_audit_and_trial_can_be_read() -> None:
    shown = text(WHOLE)
    for fragment in (
        "return self.price * self.quantity",
        "brick",
        "@2a",
        "Write the body of one method",
        "import os",
        "line 2: no imports",
        "refused",
        "chosen",
        "-0.01",
        "clean",
        "result 7.0",
        "abc123",
        "covenant@def456",
        "11",
        "grammar",
        "0123abcd",
    ):
        assert fragment in shown


def test_missing_keys_and_odd_values_are_tolerated() -> None:
    assert "def f" in text({"source": "def f(self):\n    pass\n"})
    assert text({"proof": None, "history": 5, "source": None}).strip() == ""
    assert "draft 1" in text({"proof": {"drafts": ["text", None]}})


def test_a_source_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in text(
        {"selector": "\x1b[2J", "source": "'\x1b[2J'", "author": "\x1b[2J", "proof": {"prompt": "\x1b[2J", "drafts": [{"source": "\x1b"}]}}
    )


def test_a_method_out_of_use_says_why():
    shown = text({**WHOLE, "quarantined": "audit: line 2: import is not in the language"})
    assert "out of use: audit: line 2: import is not in the language" in shown

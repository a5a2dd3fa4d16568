"""Arms of an evaluation: the same image with one part of its cognition off, so that one sees what the part is worth. Pure.

An arm is a setting, a slot of a primordial object or a method of the image's policy; whoever adds a part adds its arm to the table.
"""

from typing import Any, Final

from msgspec import Struct


class Arm(Struct, frozen=True):
    """`settings`: `section.key` → value. `slots`: name of an object → slot → value; `methods`: name of an object → selector → source; both
    are sent to the image before the suite is."""

    what: str
    settings: dict[str, Any] = {}
    slots: dict[str, dict[str, Any]] = {}
    methods: dict[str, dict[str, str]] = {}


_AGREEMENT: Final = {
    "chooseFrom_": """def chooseFrom_(self, candidates):
    best = None
    for candidate in candidates:
        rank = (candidate['examples_passed'], candidate['agreement'], candidate['logprob'])
        if best is None or rank > best[0]:
            best = (rank, candidate['index'])
    return best[1]
"""
}

ARMS: Final[dict[str, Arm]] = {
    "full": Arm("everything as it is configured"),
    "greedy": Arm("one greedy draft a message", settings={"uvm.most_drafts": 1}, slots={"pLLM_obj": {"drafts": 1}}),
    "one-stage": Arm("the first drafts alone, also where they do not agree", settings={"uvm.most_drafts": 4}),
    "no-varied": Arm("drafts are told apart by what they do on the real values alone", settings={"uvm.varied": 0}),
    "agreement": Arm(
        "what most drafts agree on is installed, and nothing is refused for want of confidence", methods={"pLLM_obj": _AGREEMENT}
    ),
    "one-persona": Arm(
        "brick alone is asked",
        methods={"pLLM_obj": {"personasFor_": "def personasFor_(self, message):\n    return ['brick']\n"}},
    ),
    "no-adapter": Arm("the model speaks without the shipped adapter", settings={"inference.adapter": "none"}),
}

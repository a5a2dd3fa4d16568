"""Arms of an evaluation: the same image with one part of its cognition off, so that one sees what the part is worth. Pure, but for
`set_up`.

An arm is a setting, a slot of a primordial object or a method of the image's policy; whoever adds a part adds its arm to the table.
Settings that a version does not have are left out, and an arm that would change nothing then is not offered.
"""

from collections.abc import Collection
from typing import Any, Final

import msgspec
from msgspec import Struct

from ui_client.evaluation.access import ImageAccess


class Arm(Struct, frozen=True):
    """`settings`: `section.key` → value. `slots`: name of an object → slot → value; `methods`: name of an object → selector → source;
    `unweighed`: features that the judgement is not to weigh. All but the settings are sent to the image before the suite is."""

    summary: str
    settings: dict[str, Any] = {}
    slots: dict[str, dict[str, Any]] = {}
    methods: dict[str, dict[str, str]] = {}
    unweighed: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return bool(self.settings or self.slots or self.methods or self.unweighed)

    def among(self, keys: Collection[str]) -> "Arm":
        """The arm as far as a version with these settings knows it."""
        return msgspec.structs.replace(self, settings={key: value for key, value in self.settings.items() if key in keys})


FULL: Final = "full"
_MIND: Final = "pLLM_obj"
_JUDGEMENT: Final = "judgement"


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
    FULL: Arm("everything as it is configured"),
    "greedy": Arm("one greedy draft a message", settings={"uvm.drafts": 1, "uvm.most_drafts": 1}, slots={"pLLM_obj": {"drafts": 1}}),
    "one-stage": Arm("the first drafts alone, also where they do not agree", settings={"uvm.most_drafts": 4}),
    "agreement": Arm(
        "what most drafts agree on is installed, and nothing is refused for want of confidence", methods={"pLLM_obj": _AGREEMENT}
    ),
    "one-persona": Arm(
        "brick alone is asked",
        methods={"pLLM_obj": {"personasFor_": "def personasFor_(self, message):\n    return ['brick']\n"}},
    ),
    "no-varied": Arm("drafts are not run on varied inputs", settings={"uvm.varied": 0}),
    "no-grammar": Arm(
        "no grammar holds a draft while it is written, where the model ends it by itself: with an adapter, or in a chat",
        settings={"uvm.grammar": "none"},
    ),
    "no-lexicon": Arm(
        "the judgement does not weigh what the lexicon says of words and operations; it is not fitted anew",
        unweighed=("surprise", "usual", "lacking", "unknown"),
    ),
    "no-adapter": Arm("the model speaks without the shipped adapter", settings={"inference.adapter": "none"}),
}


def set_up(access: ImageAccess, arm: Arm) -> None:
    """Send what an arm changes of the image's policy. Raises ClientError."""
    for name, slots in arm.slots.items():
        for slot, value in slots.items():
            access.send(name, "mirror_", "setSlot_value_", slot, value)
    for name, methods in arm.methods.items():
        for selector, source in methods.items():
            access.create_method(name, selector, source, policy=True)
    if arm.unweighed:
        judgement = access.send(_MIND, "mirror_", "slot_", _JUDGEMENT)
        weights = {feature: 0.0 if feature in arm.unweighed else weight for feature, weight in judgement["weights"].items()}
        access.send(_MIND, "mirror_", "setSlot_value_", _JUDGEMENT, {**judgement, "weights": weights})


def arms(keys: Collection[str]) -> dict[str, Arm]:
    """The arms that a version with these settings has."""
    reduced = {name: arm.among(keys) for name, arm in ARMS.items()}
    return {name: arm for name, arm in reduced.items() if arm.changes or name == FULL}

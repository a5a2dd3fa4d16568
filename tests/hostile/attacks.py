"""Attacks on the image by messages alone: what a tool may say on the wire, said by one that means harm. Data only, by class.

`own`: at what the kernel owns, by its oid. `policy`: at mechanism that nobody may take away. `offer`: methods offered where they do
not belong, or with offers out of bounds. `data`: values that a record or an answer cannot hold. `session`: other people's numbers.
`name`: names. `load`: more than one may ask for. In a request, a text that begins with `$` is an object of the kernel, found at the
start; `{"oid": n}` is a guessed one; `*` is a fresh object.
"""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct


class ImageAttack(Struct, frozen=True):
    """Requests as maps, sent one after the other; `id` and, unless given, session and number are added."""

    aim: str
    name: str
    requests: tuple[dict[str, Any], ...]


def _send(target: Any, selector: str, *args: Any, **more: Any) -> dict[str, Any]:
    return {"op": "Send", "target": target, "selector": selector, "args": list(args), **more}


def _offer(target: Any, selector: str, source: str, **more: Any) -> dict[str, Any]:
    return {"op": "CreateMethod", "target": target, "selector": selector, "source": source, **more}


KERNEL = ("$codex", "$method", "$primitive", "$message")
PRIMITIVES = (
    "clone setSlot_value_ removeSlot_ slot_ perform_ slotNames parents addParent_ respondsTo_ nameAs_ forgetName_ explain_ mirror_".split()
)
_NOTHING = "def {0}(self):\n    return 1\n"


def _own() -> Iterator[ImageAttack]:
    ways: dict[str, tuple[Any, ...]] = {
        "setSlot_value_": ("content", {"identity": "x"}),
        "removeSlot_": ("content",),
        "addParent_": ("*",),
        "nameAs_": ("mine",),
        "clone": (),
        "perform_": ("setSlot_value_", ["content", 1]),
        "slot_": ("content",),
        "content": (),
        "doesNotUnderstand_": ("*",),
    }
    for target in KERNEL:
        for selector, args in ways.items():
            yield ImageAttack("own", f"{selector} sent to {target}", (_send(target, selector, *args),))
        for selector in ("content", "digest", "source", "fresh", "stage", "primitive"):
            yield ImageAttack("own", f"a method {selector} offered for {target}", (_offer(target, selector, _NOTHING.format(selector)),))
    for oid in [*range(0, 12), *range(40, 420, 20)]:
        target = {"oid": oid}
        yield ImageAttack(
            "own",
            f"oid {oid:x}: looked at, offered a method, changed",
            (
                {"op": "Inspect", "target": target},
                _offer(target, "content", _NOTHING.format("content")),
                _offer(target, "token", _NOTHING.format("token")),
                _offer(target, "seen", _NOTHING.format("seen")),
            ),
        )


def _policy() -> Iterator[ImageAttack]:
    for holder in ("traits_obj", "pLLM_obj"):
        for selector in PRIMITIVES if holder == "traits_obj" else ("infer_", "routed_", "fineTuneWith_"):
            yield ImageAttack("policy", f"{selector} of {holder} removed", (_send(holder, "removeSlot_", selector),))
            yield ImageAttack("policy", f"{selector} of {holder} set", (_send(holder, "setSlot_value_", selector, 5),))
            yield ImageAttack(
                "policy", f"{selector} of {holder} written anew", (_offer(holder, selector, f"def {selector}(self):\n    return 1\n"),)
            )
    for selector in ("doesNotUnderstand_", "reflectOn_", "chooseFrom_", "personasFor_"):
        holder = "traits_obj" if selector == "doesNotUnderstand_" else "pLLM_obj"
        yield ImageAttack("policy", f"{selector} removed", (_send(holder, "removeSlot_", selector),))
        yield ImageAttack("policy", f"{selector} set", (_send(holder, "setSlot_value_", selector, 5),))
        yield ImageAttack("policy", f"{selector} removed in a mirror", (_send(holder, "mirror_", "removeSlot_", selector),))
        yield ImageAttack("policy", f"{selector} hidden on genesis_obj", (_send("genesis_obj", "mirror_", "setSlot_value_", selector, 5),))
    for selector in PRIMITIVES:
        yield ImageAttack("policy", f"{selector} hidden on genesis_obj", (_send("genesis_obj", "setSlot_value_", selector, 5),))
    yield ImageAttack("policy", "a mirror of a mirror", (_send("*", "mirror_", "mirror_", "mirror_", "clone"),))
    yield ImageAttack("policy", "a cycle through the traits", (_send("traits_obj", "addParent_", "@genesis_obj"),))


def _offers() -> Iterator[ImageAttack]:
    bodies = {
        "nothing but a name": "x",
        "two functions": "def m(self):\n    return 1\ndef n(self):\n    return 2\n",
        "another name": "def other(self):\n    return 1\n",
        "brackets": "(" * 5000,
        "a long line": "def m(self):\n    return " + "+".join(["1"] * 8000) + "\n",
        "a long name": f"def m(self):\n    return self.{'a' * 9000}\n",
        "a parameter that is a keyword": "def m(self, None):\n    return 1\n",
        "sixty parameters": f"def m(self, {', '.join(f'p{k}' for k in range(60))}):\n    return 1\n",
        "a huge constant": f"def m(self):\n    return {'9' * 9000}\n",
        "a text of surrogates": "def m(self):\n    return '\\udfff'\n",
        "tabs and spaces": "def m(self):\n\tif self.n:\n        return 1\n",
    }
    for name, source in bodies.items():
        yield ImageAttack("offer", name, (_offer("*", "m", source),))
    examples: dict[str, Any] = {
        "an example of a huge result": [{"result": "x" * 1_000_000}],
        "thirty-two examples": [{"result": k, "args": []} for k in range(32)],
        "an example with keywords": [{"result": 1, "kwargs": {"a": 1}}],
        "an example with a nested value": [{"result": [[[[[[[[1]]]]]]]]}],
        "an example of a foreign reference": [{"result": {"oid": 7}}],
        "an example with too many arguments": [{"result": 1, "args": list(range(60))}],
    }
    for name, given in examples.items():
        yield ImageAttack("offer", name, (_offer("*", "m", _NOTHING.format("m"), examples=given),))
    yield ImageAttack("offer", "over a data slot", (_offer("*", "tags", _NOTHING.format("tags")),))
    for selector in ("class", "None", "import", "self", "lambda"):
        yield ImageAttack("offer", f"the selector {selector}", (_offer("*", selector, _NOTHING.format(selector)), _send("*", selector)))


def _data() -> Iterator[ImageAttack]:
    values: dict[str, Any] = {
        "a key that is nothing": {None: 1},
        "a key that is true": {True: 1},
        "a key that is a float": {1.5: 1},
        "a key that is binary": {b"x": 1},
        "a negative large number": -(2**63),
        "a large number": 2**64 - 1,
        "not a number": float("nan"),
        "infinity": float("inf"),
        "a deep list": None,
        "a reference to nothing": {"oid": 2**63 - 1},
        "a reference to the root": {"oid": 0},
        "a reference to the Codex": "$codex",
        "a reference to a method": "$method",
        "megabytes of text": "x" * 3_000_000,
        "megabytes of items": [0] * 1_000_000,
        "many empty maps": [{}] * 200_000,
        "a long key": {"k" * 1_000_000: 1},
    }
    deep: Any = 1
    for _ in range(60):
        deep = [deep]
    values["a deep list"] = deep
    for name, value in values.items():
        yield ImageAttack(
            "data", f"{name}, in a slot", (_send("*", "setSlot_value_", "n", value), _send("*", "n"), {"op": "Inspect", "target": "*"})
        )
        yield ImageAttack("data", f"{name}, as an argument", (_send("*", "respondsTo_", value),))
        yield ImageAttack("data", f"{name}, as a keyword", (_send("*", "clone", kwargs={"a": value}),))
    for slot in ("", "é", "a b", "_x", "parent*", "x" * 200, "1x", "covenant", "model", "names", "digest", "blobs", "clone", "mirror_"):
        yield ImageAttack(
            "data",
            f"a slot called {slot[:20]!r}",
            (_send("*", "setSlot_value_", slot, "x"), _send("*", "slotNames"), {"op": "Inspect", "target": "*"}),
        )


def _sessions() -> Iterator[ImageAttack]:
    numbers: dict[str, dict[str, Any]] = {
        "a floor at its own number": {"session": "attack", "seq": 1, "floor": 1},
        "a floor far above": {"session": "attack", "seq": 2**40, "floor": 2**40 - 1},
        "the highest number": {"session": "attack", "seq": 2**53},
        "past the highest number": {"session": "attack", "seq": 2**53 + 1},
        "a number without a session": {"session": "", "seq": 5},
        "a session without a number": {"session": "attack", "seq": 0},
        "a session of slashes": {"session": "../../x", "seq": 1},
        "a session with a principal": {"session": "local/attack", "seq": 1},
        "a negative number": {"session": "attack", "seq": -1},
    }
    for name, fields in numbers.items():
        yield ImageAttack("session", name, (_send("*", "clone", **fields), _send("*", "clone", **fields)))


def _names() -> Iterator[ImageAttack]:
    for name in (
        "genesis_obj",
        "traits_obj",
        "@7",
        "_x",
        "",
        "x" * 300,
        "a\nb",
        "\u202e",
        "a\x00b",
        "codex",
        "receipts",
        "é",
        "..",
        "/etc/passwd",
    ):
        yield ImageAttack("name", f"named {name[:20]!r}", (_send("*", "nameAs_", name), _send("*", "forgetName_", name)))
    for value in (5, None, True, ["x"], {"a": 1}):
        yield ImageAttack("name", f"named {value!r}", (_send("*", "nameAs_", value),))
    for target in ("", "x" * 257, "@", "@zz", "@ffffffffffffffff", "@10000000000000000", 5, None, ["a"]):
        yield ImageAttack("name", f"the target {str(target)[:20]!r}", (_send(target, "clone"), {"op": "Inspect", "target": target}))


def _loads() -> Iterator[ImageAttack]:
    yield ImageAttack("load", "a hundred misses at once", tuple(_send("*", f"unknown{k}thing", deadline_ms=1) for k in range(100)))
    yield ImageAttack("load", "large arguments again and again", tuple(_send("*", "respondsTo_", "x" * 3_000_000) for _ in range(12)))
    yield ImageAttack("load", "large slots again and again", tuple(_send("*", "setSlot_value_", "n", "x" * 3_000_000) for _ in range(6)))
    yield ImageAttack("load", "a message of no deadline", (_send("*", "clone", deadline_ms=0),))
    yield ImageAttack("load", "a UVM that does not exist", (_send("*", "clone", via="uvm-99", deadline_ms=200),))
    yield ImageAttack("load", "pages of one object", tuple({"op": "GetFullState", "limit": 1} for _ in range(30)))
    yield ImageAttack("load", "a page of a future", ({"op": "GetFullState", "tid": b"\xff" * 8},))
    yield ImageAttack("load", "a release of everything", ({"op": "Release", "references": [{"oid": number} for number in range(1000)]},))


def corpus() -> list[ImageAttack]:
    """All attacks; names are unique within their class."""
    return [attack for attacks in (_own(), _policy(), _offers(), _data(), _sessions(), _names(), _loads()) for attack in attacks]

"""What personas are told about the image's models and adapters: which there are, which to use, which to do without.

Primitives, for tools alone: which models the image keeps is the kernel's book, and changes without any message, so that a method that
looked at it could not be tried. What a persona uses is in its slots `model` and `adapter`, which methods read, and policy methods set, like
any others. Whoever drafts looks at them anew, so that a change is in force in every process with the commit.
"""

from typing import Any

import msgspec

from uvm.errors import BadArguments, BadValue, InUse, NotAllowed, UnfitAdapter
from uvm.history import chronicle
from uvm.image import judgement, model_registry, views
from uvm.image.model_registry import Kind
from uvm.image.prompts import MIND
from uvm.objects import ABSENT, UvmObject
from uvm.runtime.runtime import Primitive, Runtime

MOST_LISTED = 1000
"""Adapters in one answer."""
_NAMED = 400
"""Units that a look at one named object costs."""
_LISTED = 5000
"""Units that one model or adapter in an answer costs."""


def models(runtime: Runtime, receiver: UvmObject) -> list[dict[str, Any]]:
    """The models that the image keeps, by name, each with who uses it."""
    used_by = _users(runtime, "models", "model")
    rows = [model_registry.row(proxy, "model", used_by.get(proxy._p_oid, [])) for proxy in model_registry.proxies(runtime.image, "model")]
    runtime.attempt.charge(_LISTED * len(rows))
    return sorted(rows, key=lambda row: (row["name"], row["digest"]))


def adapters(runtime: Runtime, receiver: UvmObject, after: str = "", limit: int = MOST_LISTED) -> list[dict[str, Any]]:
    """Adapters that the image keeps, by digest, from the one `after` on, each with who uses it."""
    if type(after) is not str or type(limit) is not int or not 1 <= limit <= MOST_LISTED:
        raise BadArguments(f"adapters takes the digest after which to go on, and at most {MOST_LISTED} of them")
    used_by = _users(runtime, "adapters", "adapter")
    chosen = [digest for digest in model_registry.digests(runtime.image, "adapter") if digest > after][:limit]
    runtime.attempt.charge(_LISTED * len(chosen))
    proxies = [proxy for digest in chosen if (proxy := model_registry.at(runtime.image, "adapter", digest)) is not None]
    return [model_registry.row(proxy, "adapter", used_by.get(proxy._p_oid, [])) for proxy in proxies]


def use_model(runtime: Runtime, receiver: UvmObject, name: str) -> dict[str, Any]:
    """Have the receiver, and who inherits from it, think with another model.

    Answers the model, the one before, and which adapters do not fit any more; where one does not, the model speaks as it is.
    """
    _for_tools(runtime, "useModel_")
    proxy = model_registry.find(runtime.image, "model", name)
    _charge_for_names(runtime)
    silent_before = model_registry.silenced(runtime.image)
    before = receiver.lookup("model")
    _put(runtime, receiver, "model", proxy)
    unfit = {persona: adapter for persona, adapter in model_registry.silenced(runtime.image).items() if persona not in silent_before}
    return {
        "model": _briefly(proxy),
        "before": _briefly(before) if isinstance(before, UvmObject) else None,
        "unfit": [{"persona": persona, "name": adapter.name, "digest": adapter.digest} for persona, adapter in unfit.items()],
    }


def assign_adapter(runtime: Runtime, receiver: UvmObject, name: str | None) -> dict[str, Any]:
    """Have the receiver speak with an adapter of its own; with none, it inherits again. Answers the one that is in force then.

    Of `pLLM_obj`, the judgement follows. Raises BadJudgement where the adapter's cannot be used.
    """
    _for_tools(runtime, "assignAdapter_")
    image = runtime.image
    thinks, _ = _voice(receiver)
    if name is None:
        if receiver.own("adapter") is not ABSENT:
            runtime.drop(receiver, "adapter")
    else:
        proxy = model_registry.find(image, "adapter", name)
        weights = views.weights(proxy, "adapter")
        if weights.state != "ready":
            raise UnfitAdapter(f"the adapter {weights.name} is {weights.state}", "batos adapters list shows others")
        if not weights.serves(thinks):
            base = model_registry.at(image, "model", weights.base or "")
            of = base.own("name") if base is not None else f"a model that the image has not ({str(weights.base)[:12]}…)"
            raise UnfitAdapter(
                f"the adapter {weights.name} belongs to {of}, and {receiver!r} thinks with another model",
                f"batos model use {of} first" if base is not None else "train one for the model in use",
            )
        _put(runtime, receiver, "adapter", proxy)
    mind = image.named(MIND)
    if receiver is mind and (content := judgement.wanted(image, mind)) is not None:
        runtime.put(mind, judgement.SLOT, content)
    thinks, speaks = _voice(receiver)
    weighed_by = judgement.in_force(image, mind, receiver)
    voice = None if speaks is None or not speaks.serves(thinks) else {"name": speaks.name, "digest": speaks.digest}
    return {"adapter": voice, "judgement": msgspec.to_builtins(weighed_by)}


def remove_model(runtime: Runtime, receiver: UvmObject, name: str) -> dict[str, Any]:
    """Keep a model no longer. Raises InUse while a persona thinks with it, or adapters of the image belong to it."""
    proxy = _unused(runtime, "removeModel_", "model", name, "batos model use another one first")
    digest = proxy.own("digest")
    dependent = [adapter.own("name") for adapter in model_registry.proxies(runtime.image, "adapter") if adapter.own("base") == digest]
    if dependent:
        raise InUse(
            f"{len(dependent)} adapters belong to the model {proxy.own('name')}: {', '.join(map(str, dependent[:8]))}",
            "remove them first, or keep it",
            users=dependent[:100],
        )
    return _removed(runtime, "model", proxy)


def remove_adapter(runtime: Runtime, receiver: UvmObject, name: str) -> dict[str, Any]:
    """Keep an adapter no longer. Raises InUse while a persona has it in its slot."""
    return _removed(
        runtime, "adapter", _unused(runtime, "removeAdapter_", "adapter", name, "batos adapters assign PERSONA another one, or none, first")
    )


PERSONAS: dict[str, Primitive] = {
    "models": models,
    "adapters": adapters,
    "useModel_": use_model,
    "assignAdapter_": assign_adapter,
    "removeModel_": remove_model,
    "removeAdapter_": remove_adapter,
}


# --- inside -----------------------------------------------------------------------------------------------------------


def _for_tools(runtime: Runtime, selector: str) -> None:
    if runtime.attempt.frames:
        raise NotAllowed(
            f"{selector} is asked by tools, not by methods: which models the image keeps is no part of what a method is tried on",
            "a method reads the slots model and adapter of a persona, and with `policy` sets them",
        )


def _charge_for_names(runtime: Runtime) -> None:
    names: Any = runtime.image.names
    runtime.attempt.charge(_NAMED * len(names))


def _users(runtime: Runtime, selector: str, kind: Kind) -> dict[bytes, list[str]]:
    _for_tools(runtime, selector)
    _charge_for_names(runtime)
    return model_registry.users(runtime.image, kind)


def _voice(receiver: UvmObject) -> tuple[str, views.Weights | None]:
    thinks, speaks = model_registry.voice(receiver)
    if not thinks:
        raise BadValue(f"{receiver!r} is no persona: it has no model to think with", "personas are clones of pLLM_obj, such as robin")
    return thinks, speaks


def _put(runtime: Runtime, receiver: UvmObject, kind: Kind, proxy: UvmObject) -> None:
    if receiver.own(kind) is not proxy:
        runtime.put(receiver, kind, proxy)
        model_registry.take(proxy)


def _briefly(proxy: UvmObject) -> dict[str, Any]:
    return {name: proxy.own(name, "") for name in ("name", "digest")}


def _unused(runtime: Runtime, selector: str, kind: Kind, name: str, remedy: str) -> UvmObject:
    """The model or adapter, which nobody uses."""
    used_by = _users(runtime, selector, kind)
    if "administer" not in runtime.attempt.rights:
        raise NotAllowed(f"removing a {kind} from the image needs the right `administer`")
    proxy = model_registry.find(runtime.image, kind, name)
    if personas := used_by.get(proxy._p_oid, []):
        raise InUse(f"the {kind} {proxy.own('name')} is in use by {', '.join(personas[:8])}", remedy, users=personas[:100])
    return proxy


def _removed(runtime: Runtime, kind: Kind, proxy: UvmObject) -> dict[str, Any]:
    runtime.attempt.touch()
    model_registry.remove(runtime.image, kind, proxy)
    attempt = runtime.attempt
    chronicle.record(runtime.image, kind, author=attempt.principal, cause=attempt.message, facts={"done": "removed", **_briefly(proxy)})
    return _briefly(proxy)

"""What PEFT's `adapter_config.json` says, field by field, and whether vLLM computes the same from it.

Pure functions of the file's content. Each field of PEFT 0.21's LoraConfig is in one of the tables below or has a check of its own;
a field that nobody knows may be there as long as it is empty, since a filled one may mean anything. What an adapter
changes is decided by its tensors, in vLLM as here; the configuration must agree with them, because PEFT, which trained
it, would leave out what it does not name.
"""

import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from inference_worker.errors import BadAdapter

HARMLESS = frozenset(
    # How it was made or what it is called: no influence on what it computes.
    """peft_version auto_mapping base_model_name_or_path revision inference_mode lora_dropout megatron_core runtime_config
    qalora_group_size loftq_config eva_config corda_config lora_ga_config ensure_weight_tying base_model_digest""".split()
)
REFUSED = (
    # What the engine has not: each of these changes the computation, and vLLM would ignore or refuse it.
    "alora_invocation_tokens",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "megatron_config",
    "modules_to_save",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
)
CHECKED = frozenset(
    """peft_type task_type r lora_alpha use_rslora bias init_lora_weights rank_pattern alpha_pattern target_modules exclude_modules
    layers_to_transform layers_pattern""".split()
)
# Initializations that change only the adapter's own first weights; the others change the base model's.
_PLAIN_INITIALIZATIONS = {"gaussian", "eva", "orthogonal", "mica", "lora_ga"}
# A key of a pattern is a regular expression in PEFT and vLLM, and one can be made that runs for ever. Names have no such trick.
_NAME = re.compile(r"[\w.-]{1,256}")
_MOST_NAMES = 1024
_LARGEST_ALPHA = 1e6


class LoraConfig(Struct, frozen=True):
    """A plain LoRA's configuration. `targets` None: given by a regular expression, or all linear layers; not checked here."""

    rank: int
    alpha: float
    rank_stabilized: bool
    ranks: tuple[tuple[re.Pattern[str], int], ...]
    alphas: tuple[tuple[re.Pattern[str], float], ...]
    targets: tuple[str, ...] | None
    excluded: tuple[str, ...]
    layers: tuple[int, ...] | None
    layer_names: tuple[str, ...]

    @property
    def largest_rank(self) -> int:
        """The rank that a slot must have for it."""
        return max((self.rank, *(rank for _, rank in self.ranks)))

    def rank_and_scale(self, module: str) -> tuple[int, float]:
        """The rank of one module, and the factor of its product (Kalajdzievski 2023, arXiv 2312.03732, when stabilized)."""
        rank = _of(self.ranks, module, self.rank)
        alpha = _of(self.alphas, module, self.alpha)
        return rank, alpha / (math.sqrt(rank) if self.rank_stabilized else rank)

    def covers(self, module: str) -> bool:
        """Whether PEFT would load weights for this module; where a regular expression decides, it is taken to say yes."""
        if any(_is_or_ends(module, name) for name in self.excluded):
            return False
        if self.targets is not None and not any(_is_or_ends(module, name) for name in self.targets):
            return False
        return self.layers is None or self._layer(module) in self.layers

    def _layer(self, module: str) -> int | None:
        parts = module.split(".")
        for name, number in itertools.pairwise(parts):
            if number.isdecimal() and (not self.layer_names or name in self.layer_names):
                return int(number)
        return None


def read_config(config: Mapping[str, Any]) -> LoraConfig:
    """The configuration of an adapter that the engine can compute. Raises BadAdapter."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise BadAdapter(f"its peft_type is {_shown(kind)}; only LORA is supported")
    if config.get("task_type") not in (None, "CAUSAL_LM"):
        raise BadAdapter(f"its task_type is {_shown(config['task_type'])}; only CAUSAL_LM is supported")
    _check_features(config)
    stabilized = config.get("use_rslora") or False
    if not isinstance(stabilized, bool):
        raise BadAdapter(f"its use_rslora is {_shown(stabilized)}; true or false is needed")
    layers, layer_names = _layers(config)
    return LoraConfig(
        rank=_rank("rank", config.get("r")),
        alpha=_number("lora_alpha", config.get("lora_alpha")),
        rank_stabilized=stabilized,
        ranks=tuple((_compiled(key), _rank(f"rank of {key}", rank)) for key, rank in _pattern("rank_pattern", config).items()),
        alphas=tuple((_compiled(key), _number(f"alpha of {key}", alpha)) for key, alpha in _pattern("alpha_pattern", config).items()),
        targets=_targets(config.get("target_modules")),
        excluded=_excluded(config.get("exclude_modules")),
        layers=layers,
        layer_names=layer_names,
    )


def _check_features(config: Mapping[str, Any]) -> None:
    refused = [name for name in REFUSED if config.get(name)]
    if config.get("bias", "none") != "none":
        refused.append("bias")
    initialization = config.get("init_lora_weights", True)
    if not isinstance(initialization, bool) and str(initialization).lower() not in _PLAIN_INITIALIZATIONS:
        refused.append(f"init_lora_weights={str(initialization)[:40]}")
    if refused:
        raise BadAdapter(f"it uses {', '.join(refused)}, which the engine does not support; train it as a plain LoRA")
    fields = HARMLESS | CHECKED | set(REFUSED) | {"bias"}
    strange = [name for name, value in config.items() if name not in fields and value]
    if strange:
        raise BadAdapter(f"its configuration has {_shown(strange[0])}, which is no field of PEFT 0.21's LoRA; remove it")


def _rank(field: str, rank: Any) -> int:
    if type(rank) is not int or rank < 1:
        raise BadAdapter(f"its {field} is {_shown(rank)}; a whole number from 1 is needed")
    return rank


def _number(field: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not abs(value) <= _LARGEST_ALPHA:
        raise BadAdapter(f"its {field} is {_shown(value)}; a finite number of at most {_LARGEST_ALPHA:g} is needed")
    return float(value)


def _pattern(field: str, config: Mapping[str, Any]) -> dict[str, Any]:
    pattern = config.get(field) or {}
    if not isinstance(pattern, dict) or len(pattern) > _MOST_NAMES:
        raise BadAdapter(f"its {field} is no object of at most {_MOST_NAMES} names")
    for key in pattern:
        if not _NAME.fullmatch(key):
            raise BadAdapter(f"its {field} has the key {_shown(key)}; a module's name or its end is needed, not a regular expression")
    return pattern


def _targets(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, str) and value:
        return None
    if not value:
        raise BadAdapter("it names no target_modules")
    return _names("target_modules", value)


def _excluded(value: Any) -> tuple[str, ...]:
    # A regular expression that excludes is not evaluated: what has weights is not excluded.
    return () if value is None or isinstance(value, str) else _names("exclude_modules", value)


def _names(field: str, value: Any) -> tuple[str, ...]:
    listed = isinstance(value, list) and len(value) <= _MOST_NAMES
    if not listed or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in value):
        raise BadAdapter(f"its {field} is {_shown(value)}; at most {_MOST_NAMES} names of modules are needed")
    return tuple(value)


def _layers(config: Mapping[str, Any]) -> tuple[tuple[int, ...] | None, tuple[str, ...]]:
    layers, names = config.get("layers_to_transform"), config.get("layers_pattern") or []
    numbers = layers if isinstance(layers, list) else [] if layers is None else [layers]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise BadAdapter(f"its layers_to_transform is {_shown(layers)}; numbers of layers are needed")
    if names and not numbers:
        raise BadAdapter("it has layers_pattern without layers_to_transform")
    return tuple(numbers) or None, _names("layers_pattern", [names] if isinstance(names, str) else names)


def _compiled(key: str) -> re.Pattern[str]:
    # As PEFT's get_pattern_key and vLLM's PEFTHelper have it; a dot in a key matches any character there too.
    return re.compile(rf"(.*\.)?({key})\Z")


def _of(pattern: tuple[tuple[re.Pattern[str], Any], ...], module: str, default: Any) -> Any:
    return next((value for key, value in pattern if key.match(module)), default)


def _is_or_ends(module: str, name: str) -> bool:
    return module == name or module.endswith(f".{name}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"

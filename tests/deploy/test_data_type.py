"""What the engine computes in: bfloat16 where the processor does, else float32, and always what the settings say."""

from pathlib import Path

import pytest

from deploy import data_type
from deploy.data_type import DataType, chosen, features_of, here, settled
from deploy.settings import InferenceSettings

HASWELL = (
    "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sse4_2 avx avx2 fma\nbugs\t\t:\n\nprocessor\t: 1\nflags\t\t: fpu amx_bf16\n"
)
COOPER_LAKE = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16\n"
SAPPHIRE_RAPIDS = "flags\t\t: avx512_bf16 amx_bf16 amx_tile\n"
NEOVERSE_V1 = "processor\t: 0\nBogoMIPS\t: 2100.00\nFeatures\t: fp asimd sve bf16\nCPU implementer\t: 0x41\n"
ICE_LAKE = "flags\t\t: avx2 avx512f avx512_vnni\n"


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (HASWELL, "float32"),
        (ICE_LAKE, "float32"),
        (COOPER_LAKE, "bfloat16"),
        (SAPPHIRE_RAPIDS, "bfloat16"),
        (NEOVERSE_V1, "bfloat16"),
        ("model name\t: says nothing\n", "float32"),
        ("", "float32"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_computes_it_and_float32_elsewhere(cpuinfo: str, expected: str) -> None:
    assert chosen("auto", True, features_of(cpuinfo)).name == expected


def test_the_reason_names_the_instructions_that_there_are_or_that_are_missing() -> None:
    assert chosen("auto", True, features_of(SAPPHIRE_RAPIDS)).why == "the processor computes it (amx_bf16)"
    assert "avx512_bf16" in chosen("auto", True, features_of(HASWELL)).why


def test_on_a_gpu_auto_is_bfloat16_whatever_the_processor_has() -> None:
    assert chosen("auto", False, frozenset()) == DataType("bfloat16", "the engine computes on a GPU")


@pytest.mark.parametrize("wanted", ["bfloat16", "float16", "float32"])
def test_what_the_settings_say_is_taken_and_is_called_slow_where_it_is_emulated(wanted: str) -> None:
    settings = InferenceSettings(dtype=wanted)
    for cpuinfo, on_cpu in ((HASWELL, True), (COOPER_LAKE, True), (HASWELL, False)):
        choice = chosen(settings.dtype, on_cpu, features_of(cpuinfo))
        assert choice.name == wanted
        assert choice.fast is not (wanted == "bfloat16" and on_cpu and cpuinfo == HASWELL)


def test_the_worker_settles_it_from_what_this_machine_says_and_auto_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_type, "on_cpu", lambda: True)
    for cpuinfo, expected in ((HASWELL, "float32"), (COOPER_LAKE, "bfloat16")):
        data_type._features.cache_clear()
        monkeypatch.setattr(Path, "read_text", lambda path, text=cpuinfo: text)
        assert here(InferenceSettings()).name == settled(InferenceSettings()).dtype == expected
    monkeypatch.undo()
    data_type._features.cache_clear()
    assert settled(settled(InferenceSettings())) == settled(InferenceSettings())

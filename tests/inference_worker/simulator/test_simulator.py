"""The simulator: drawn and recorded traces, the batch's arithmetic, waits by hand, and how policies compare."""

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from inference_worker.protocol import Completed, Generate, Output, Sampling
from inference_worker.simulator.__main__ import main
from inference_worker.simulator.generate import generate
from inference_worker.simulator.machine import LoraCost, MachineError, SimulatedMachine, Speed
from inference_worker.simulator.outcome import Outcome, quantiles
from inference_worker.simulator.presets import BUILT_IN, gpu_machine, read_machine, seed_settings
from inference_worker.simulator.runs import POLICIES, simulate
from inference_worker.simulator.shapes import LLAMA_8B
from inference_worker.trace import Trace, TraceError, TraceParameters, TraceRecord, in_order, read_trace, trace_record, write_trace

# Round numbers: a step takes 100 ms, a read 1 s, a commit 50 ms; an adapter has 100 bytes; adapters cost nothing in a step.
MACHINE = SimulatedMachine(
    name="round",
    step_s=0.1,
    kv_tokens=1000,
    slots=2,
    rank_bytes=100 / 16,
    ram=1000,
    read=Speed(bytes_s=100.0),
    commit=Speed(bytes_s=2000.0),
    fetch=Speed(bytes_s=50.0),
    max_streams=4,
    start_s=5.0,
)


def arrival(at: float, adapter: str | None, tokens: int = 5, **more: object) -> TraceRecord:
    return msgspec.convert({"at": at, "adapter": adapter, "prompt_tokens": 10, "tokens": tokens, "client": "c", **more}, TraceRecord)


def run(records: list[TraceRecord], policy: str = "lru", machine: SimulatedMachine = MACHINE) -> Outcome:
    return simulate(Trace(in_order(records)), machine, policy)


# --- traces -----------------------------------------------------------------------------------------------------------


def test_the_same_parameters_draw_the_same_trace_and_another_seed_another() -> None:
    assert generate(TraceParameters(seed=1)) == generate(TraceParameters(seed=1)) != generate(TraceParameters(seed=2))


def test_popularity_follows_zipf_and_sessions_follow_their_habit() -> None:
    loose = generate(TraceParameters(adapters=100, zipf=1.0, rate=50, seconds=400, order=0.0, plain=0.25))
    uses = Counter(record.adapter for record in loose.records)
    assert uses[None] / len(loose.records) == pytest.approx(0.25, abs=0.02)
    assert uses["a00000"] / uses["a00009"] == pytest.approx(10, rel=0.3)
    last: dict[str, str | None] = {}
    follows: dict[str | None, Counter[str | None]] = {}
    for record in generate(TraceParameters(adapters=100, rate=50, seconds=400, order=0.9)).records:
        follows.setdefault(last.get(record.session), Counter())[record.adapter] += 1
        last[record.session] = record.adapter
    by_habit = sum(max(after.values()) for after in follows.values()) / sum(sum(after.values()) for after in follows.values())
    assert 0.88 < by_habit < 0.97


def test_a_written_trace_is_read_back(tmp_path: Path) -> None:
    trace = generate(TraceParameters(adapters=20, seconds=30))
    with (tmp_path / "t.jsonl").open("wb") as lines:
        write_trace(trace, lines)
    assert read_trace(tmp_path / "t.jsonl") == trace


def test_what_a_worker_recorded_is_a_trace_in_the_order_of_arrival(tmp_path: Path) -> None:
    request = Generate(id="1", model="0" * 64, prompt="x", samplings=[Sampling(), Sampling()], adapter="a" * 64, priority="interactive")
    outputs = [Output(text="", tokens=tokens, logprob=0.0, finish="stop") for tokens in (4, 6)]
    times = {"queued_s": 1.0, "engine_s": 2.0, "first_token_s": 1.5}
    answer = Completed(id="1", outputs=outputs, prompt_tokens=7, found="cold", mode="adapter", **times)
    lines = trace_record(105.0, request, answer, b"\x01") + trace_record(102.5, request, answer, b"\x02", 16, 900)
    (tmp_path / "t.jsonl").write_bytes(lines)
    first, second = read_trace(tmp_path / "t.jsonl").records
    assert (first.at, first.client, first.session, first.rank, first.size) == (0.0, "02", "02", 16, 900)
    assert (second.at, second.client, second.streams, second.tokens, second.prompt_tokens) == (2.5, "01", 2, 5, 7)
    assert (second.priority, second.found, second.first_token_s, second.total_s) == ("interactive", "cold", 1.5, 3.0)


@pytest.mark.parametrize(
    "line", ['{"at": 1}', '{"at": 1, "prompt_tokens": 0, "tokens": 1}', '{"at": 1, "prompt_tokens": 1, "tokens": 1, "x": 1}', "?"]
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.jsonl").write_text('{"at": 0, "prompt_tokens": 1, "tokens": 1}\n' + line + "\n")
    with pytest.raises(TraceError, match=r"t\.jsonl, line 2: "):
        read_trace(tmp_path / "t.jsonl")


# --- machines ---------------------------------------------------------------------------------------------------------


def test_a_machine_file_says_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('like = "seed"\nslots = 3\n[commit]\nlatency_s = 0.5\n')
    mine, seed = read_machine(str(tmp_path / "mine.toml")), BUILT_IN["seed"]
    assert mine == replace(seed, name="mine", slots=3, commit=replace(seed.commit, latency_s=0.5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slots = 3", "missing required field"),
        ('like = "seed"\nslotts = 3', "slotts"),
        ('like = "moon"', "moon"),
        ('like = "seed"\nranks = [64]', "max_rank"),
    ],
)
def test_a_machine_that_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises((MachineError, msgspec.ValidationError), match=message):
        read_machine(str(tmp_path / "mine.toml"))


def test_slots_are_paid_for_with_kv_cache() -> None:
    model = LLAMA_8B.model(linear_bits=4.16, head_bits=4.16)
    few, more = (gpu_machine("", "", model, seed_settings(slots)) for slots in (2, 6))
    assert (few.slots, more.slots) == (2, 6)
    assert few.kv_tokens - more.kv_tokens > 4 * few.slot_bytes / LLAMA_8B.kv_bytes
    # Sixty-four do not fit beside one context; as many as do are taken.
    assert 6 < gpu_machine("", "", model, seed_settings(64)).slots < 64
    with pytest.raises(MachineError, match="does not fit"):
        gpu_machine("sixteen bits", "", LLAMA_8B.model(), seed_settings())


def test_the_built_in_model_has_the_size_of_the_real_one() -> None:
    # All but the 65 norms, which nothing here counts.
    assert sum(tensor.end for tensor in LLAMA_8B.model().tensors.values()) / 2 == 8_030_261_248 - 65 * 4096


# --- waits by hand ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_a_cold_adapter_costs_a_read_and_a_commit_and_a_hot_one_nothing(policy: str) -> None:
    outcome = run([arrival(0, "a"), arrival(10, "a"), arrival(20, None)], policy)
    assert [outcome.arrival_share(tier) for tier in ("cold", "hot")] == [0.5, 0.5]
    assert outcome.first_token["p99"] == pytest.approx(1.0 + 0.05 + 0.1)
    assert outcome.first_token["p50"] == pytest.approx(0.1)
    assert outcome.tokens_s * outcome.seconds == pytest.approx(15)
    # The last one arrived at 20 and wrote five tokens, one a step.
    assert outcome.seconds == pytest.approx(20.5)


def test_stock_lets_everybody_wait_for_a_load_and_the_tiers_only_for_the_commit() -> None:
    records = [arrival(0, None, tokens=100), arrival(1.02, "a")]
    stock, ours = run(records, "stock"), run(records)
    assert stock.stall_longest_s == pytest.approx(1.05) and ours.stall_longest_s == pytest.approx(0.05)
    assert ours.stalls == stock.stalls == 1
    # 100 steps, and what stood in their way.
    assert stock.seconds == pytest.approx(11.05) and ours.seconds == pytest.approx(10.05)


def test_a_step_costs_what_streams_context_prompt_and_adapters_cost() -> None:
    lora = LoraCost(step_s=1, adapter_s=10, token_s=100)
    machine = replace(MACHINE, stream_s=0.01, context_token_s=0.001, prefill_token_s=0.0001, lora=lora, ranks=[8])
    alone = run([arrival(0, None, tokens=2)], machine=machine)
    assert alone.seconds == pytest.approx((0.1 + 10 * 0.0001) + (0.1 + 0.01 + 11 * 0.001))
    adapted = run([arrival(0, "a", tokens=2)], machine=machine)
    prompt, token = 1 + (10 + 10 * 100) / 2, 1 + (10 + 100) / 2
    # Half the rank: half the bytes to read and to copy.
    assert adapted.seconds == pytest.approx(alone.seconds + 0.5 + 0.025 + prompt + token)


def test_a_long_prompt_is_read_in_parts_while_others_go_on() -> None:
    machine = replace(MACHINE, batch_tokens=100, prefill_token_s=0.01)
    outcome = run([arrival(0, None, tokens=50), arrival(0.35, None, prompt_tokens=300)], machine=machine)
    # It enters at the third step's end, at 0.4, and its prompt takes three steps of 100 tokens, 1.1 s each.
    assert outcome.first_token["p99"] == pytest.approx(0.4 - 0.35 + 3 * 1.1)


def test_what_the_kv_cache_cannot_hold_now_waits_and_what_it_never_can_is_refused() -> None:
    large, larger = arrival(0, None, prompt_tokens=600, tokens=10), arrival(0, None, prompt_tokens=999)
    outcome = run([large, large, larger])
    assert outcome.refused == 1 and outcome.counted == 2
    assert outcome.first_token["p99"] == pytest.approx(1.0 + 0.1)


def test_a_remote_adapter_is_fetched_first() -> None:
    outcome = run([arrival(0, "a")], machine=replace(MACHINE, remote=1.0))
    assert outcome.arrival_share("remote") == 1 and outcome.first_token["p50"] == pytest.approx(2.0 + 1.0 + 0.05 + 0.1)


def test_requests_of_the_warm_up_are_not_counted() -> None:
    outcome = simulate(Trace(in_order([arrival(0, "a"), arrival(10, "a")])), MACHINE, "lru", skip_s=5)
    assert outcome.counted == 1 and outcome.requests == 2 and outcome.arrival_share("hot") == 1


def test_quantiles_are_values_that_were_seen() -> None:
    assert quantiles([4.0, 1.0, 3.0, 2.0]) == {"mean": 2.5, "p50": 2.0, "p90": 4.0, "p99": 4.0}
    assert quantiles([])["p99"] == 0.0


# --- policies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
def test_every_request_ends_once_and_the_tokens_add_up(policy: str) -> None:
    trace = generate(TraceParameters(adapters=300, rate=3, seconds=120, plain=0.1, seed=3))
    outcome = simulate(trace, replace(MACHINE, step_s=0.02, slots=4, ram=5000, kv_tokens=5000, max_streams=16), policy)
    assert (outcome.unfinished, outcome.refused, outcome.counted) == (0, 0, len(trace.records))
    assert outcome.tokens_s * outcome.seconds == pytest.approx(sum(record.tokens for record in trace.records))
    assert sum(tier.found for tier in outcome.tiers) == pytest.approx(1)
    assert all(tier.used <= tier.budget for tier in outcome.tiers if tier.budget)


@pytest.mark.parametrize("policy", POLICIES)
def test_more_than_the_machine_can_do_is_done_in_the_end(policy: str) -> None:
    trace = generate(TraceParameters(adapters=100, rate=3, seconds=200, sessions=50))
    outcome = simulate(trace, replace(BUILT_IN["seed"], slots=2), policy)
    assert (outcome.unfinished, outcome.refused, outcome.counted) == (0, 0, len(trace.records))


_SIZE = BUILT_IN["here"].slot_bytes

_TIGHT = st.builds(
    lambda slots, ranks, ram, disk, remote, read_s, commit_s, streams: replace(
        BUILT_IN["here"],
        slots=slots,
        ranks=ranks,
        ram=int(_SIZE * ram),
        disk=int(_SIZE * disk),
        remote=remote,
        read=Speed(bytes_s=_SIZE / read_s),
        commit=Speed(bytes_s=_SIZE / commit_s),
        max_streams=streams,
    ),
    st.integers(1, 4),
    st.sampled_from([[16], [8, 16], [1, 16]]),
    st.sampled_from([1.2, 2.5, 5.0, 100.0]),
    st.sampled_from([0.0, 1.5, 4.0]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.005, 0.1, 3.0]),
    st.sampled_from([0.001, 0.3]),
    st.sampled_from([4, 16]),
)
_CROWDED = st.builds(
    TraceParameters,
    adapters=st.sampled_from([3, 30, 300]),
    rate=st.sampled_from([1.0, 5.0]),
    seconds=st.just(60.0),
    sessions=st.sampled_from([1, 30]),
    order=st.sampled_from([0.0, 0.9]),
    plain=st.sampled_from([0.0, 0.3]),
    tokens=st.sampled_from([3.0, 30.0]),
    interactive=st.sampled_from([0.0, 0.4]),
    background=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 1000),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(_TIGHT, _CROWDED, st.sampled_from(POLICIES[1:]), st.sampled_from([1, 3, 6]))
def test_however_tight_slots_ram_and_disk_are_every_request_ends(
    machine: SimulatedMachine, crowd: TraceParameters, policy: str, streams: int
) -> None:
    drawn = generate(crowd)
    trace = Trace([replace(record, streams=streams if number % 3 else 1) for number, record in enumerate(drawn.records)], drawn.generated)
    outcome = simulate(trace, machine, policy)
    assert (outcome.unfinished, outcome.refused) == (0, 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_where_all_adapters_fit_into_slots_all_are_found_hot(policy: str) -> None:
    trace = generate(TraceParameters(adapters=4, rate=1, seconds=300))
    outcome = simulate(trace, replace(MACHINE, step_s=0.01, slots=4, kv_tokens=5000), policy, skip_s=100)
    assert outcome.arrival_share("hot") == 1 and outcome.stalls <= 4


def test_the_predictor_finds_more_hot_where_sessions_have_habits() -> None:
    trace = generate(TraceParameters(adapters=200, rate=1, seconds=1500, sessions=4, order=0.9, tokens=20))
    machine = replace(MACHINE, step_s=0.01, slots=6, ram=10**6, kv_tokens=10_000)
    hot_shares = {policy: simulate(trace, machine, policy, skip_s=500).arrival_share("hot") for policy in POLICIES}
    assert hot_shares["predictive"] > max(hot_shares["stock"], hot_shares["lru"]) + 0.2


def test_a_person_does_not_wait_behind_the_heartbeats_batch() -> None:
    batch = [arrival(0, None, tokens=100, priority="background", client="b") for _ in range(30)]
    outcome = run([*batch, arrival(5, None, priority="interactive", client="p")])
    assert outcome.first_token_p99["interactive"] <= 0.2 and outcome.first_token_p99["background"] > 50


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    file = tmp_path / "t.jsonl"
    assert main(["generate", "--adapters", "50", "--seconds", "60", "--out", str(file)]) == 0
    return file


def test_run_compares_all_policies_side_by_side(drawn: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["run", str(drawn)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("seed: 50 adapters, 6 slots")
    assert shown[1].split() == list(POLICIES)
    assert any(line.startswith("first token, p99") for line in shown)


def test_the_plot_has_a_line_for_each_policy_and_a_point_for_each_number(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chart = drawn.with_name("p.svg")
    assert main(["run", str(drawn), "--adapters", "5,50", "--plot", str(chart), "--json"]) == 0
    outcomes = json.loads(capsys.readouterr().out)["result"]["outcomes"]
    assert [(outcome["adapters"], outcome["policy"]) for outcome in outcomes] == [
        (number, policy) for number in (5, 50) for policy in POLICIES
    ]
    lines = list(ElementTree.parse(chart).iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == 4 * len(POLICIES) and all(len(line.attrib["points"].split()) == 2 for line in lines)


def test_a_recorded_trace_has_the_adapters_that_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.jsonl").write_text('{"at": 0, "prompt_tokens": 1, "tokens": 1}\n')
    assert main(["run", str(tmp_path / "t.jsonl"), "--adapters", "5", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "TraceError"

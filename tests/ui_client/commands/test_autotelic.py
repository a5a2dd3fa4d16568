"""`batos entropy`, `forge`, `lineage` and `batos adapters rollback`, on a real image."""

import json

import pytest
from typer.testing import CliRunner

from deploy.orders import Exam, Order
from tests.ui_client.commands.test_revocation import InProcess
from tests.uvm.houses import House, make_shop
from tests.uvm.images import awakened
from ui_client.cli import app
from uvm.autotelic import ledger
from uvm.autotelic.dissonance import Decision, Mood
from uvm.autotelic.inquiry import CapabilityGap, Evidence
from uvm.autotelic.windows import Composite
from uvm.image import authors, model_registry
from uvm.image.methods import install, method
from uvm.image.queries import inspected
from uvm.objects import KIND, UvmObject

BASE, OLD, NEW, ORDER = "a" * 64, "b" * 64, "c" * 64, "0123456789abcdef"


class Whole(InProcess):
    """With transactions, one after the other, and looks at objects."""

    def inspect(self, target):
        return self.house.looked(lambda: inspected(self.house.image, self.house.image.target(target), b"", 1_000_000))

    def transaction(self, sends):
        return [self.send(target, selector, *arguments) for target, selector, *arguments in sends]


@pytest.fixture
def house(tmp_path, monkeypatch):
    """An image that was measured twice and has put an adapter of its own into service."""
    monkeypatch.setenv("BATOS_HOME", str(tmp_path))
    with awakened() as image:
        house = House(image, None, {}, tmp_path)
        for module in ("autotelic", "adapters", "lineage"):
            monkeypatch.setattr(f"ui_client.commands.{module}.connect", lambda: Whole(house))

        def live():
            mind = image.named("pLLM_obj")
            model = UvmObject({KIND: "model", "digest": BASE, "name": "tiny", "blobs": {}})
            model_registry.enter(image, "model", model)
            mind.put("model", model)
            both = [UvmObject({KIND: "adapter", "digest": digest, "name": digest[:4], "blobs": {}, "base": BASE}) for digest in (OLD, NEW)]
            for adapter in both:
                model_registry.enter(image, "adapter", adapter)
            mind.put("adapter", both[1])
            for minute, cem in ((0, 0.6), (60, 0.2)):
                measured = Composite(900, 7, 0.4, None, 0.3, 0.1, cem)
                ledger.note(image, minute, measured, Decision("wait", "quiet hours", Mood(True, 2)))
            evidence = Evidence("refusal", "uvm-1/c0.1", "median_price", message="@7")
            gap = CapabilityGap("median", ("median",), ("rows",), (evidence,), 1.0, 90, 0.1)
            made = ledger.enter_round(image, Order(ORDER, 1, BASE, OLD), Exam(ORDER, 2, 90), ledger.enter_gap(image, gap, 0), 60)
            made.put("digest", NEW)
            made.put("before", both[0])
            made.put("installed", 90)
            made.put("phase", "probation")
            slices = {"gap": {"both": 3, "gained": 5, "lost": 0, "neither": 2}}
            made.put(
                "report", {"step": 12, "steps": 12, "loss": 0.5, "cpu_s": 9.0, "items": {"aimed": 9}, "data": "d" * 64, "slices": slices}
            )

        house.transactor.run(live)
        yield house


def batos(*arguments):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def result_of(*arguments):
    done = batos(*arguments, "--json")
    (line,) = done.stdout.splitlines()
    return json.loads(line)["result" if done.exit_code == 0 else "error"]


def test_entropy_shows_the_rows_the_decision_and_draws_them(house, tmp_path):
    shown = batos("entropy", "--plot", str(tmp_path / "e.svg"))
    assert shown.exit_code == 0 and "0.600" in shown.stdout and "quiet hours" in shown.stderr
    drawing = (tmp_path / "e.svg").read_text()
    assert drawing.count("<path") == 3 + 4 and "cem" in drawing
    told = result_of("entropy")
    assert [row[-1] for row in told["rows"]] == [0.6, 0.2] and told["last"]["decision"] == "wait"
    assert result_of("entropy", "--grain", "years")["type"] == "BadArgument"


def test_the_forge_s_orders_are_listed_and_shown_with_their_gap_and_what_was_measured(house):
    (row,) = result_of("forge", "list")
    assert row["id"] == ORDER and row["gap"]["name"] == "median"
    shown = batos("forge", "show", ORDER[:4]).stdout
    assert "gap: 30% to 80% of 10 tasks" in shown and "@7" in shown and "9 aimed" in shown
    assert result_of("forge", "show", "ffff")["type"] == "NoSuchOrder"


def test_only_an_order_under_way_is_cancelled(house):
    assert result_of("forge", "cancel", ORDER)["type"] == "NotUnderWay"
    house.transactor.run(lambda: ledger.current_round(house.image).put("phase", "forging"))
    assert result_of("forge", "cancel", ORDER) == {"cancelled": ORDER}
    assert house.send("autotelic_obj", "cancel") == ORDER


def test_a_rollback_puts_the_adapter_before_it_back_and_a_second_one_has_nothing_to_do(house):
    assert result_of("adapters", "rollback") == {"rolled_back": NEW, "serving": OLD}
    assert result_of("lineage", NEW[:8])["round"]["id"] == ORDER
    assert result_of("adapters", "rollback")["type"] == "NothingToRollBack"


def test_what_an_object_holds_is_followed_to_the_method_the_adapter_and_the_order(house):
    shop = make_shop(house)

    def written():
        proof = {"mode": "adapter", "adapter": f"new@{NEW}", "message": "@7"}
        behaviour = method("restock", "def restock(self):\n    self.pieces = 9\n", 0, "brick", proof)
        holder = house.image.at(shop)
        install(holder, behaviour)
        authors.enter(house.image, behaviour, holder._p_oid)

    house.transactor.run(written)
    house.send(shop, "restock")
    told = result_of("lineage", str(shop))
    by_slot = {row["slot"]: row for row in told["slots"]}
    wrote = by_slot["pieces"]["method"]
    assert (wrote["selector"], wrote["author"], wrote["adapter"], wrote["message"]) == ("restock", "brick", NEW, "@7")
    assert "method" not in by_slot["cost"] and by_slot["cost"]["author"] == "local"
    assert [row["id"] for row in told["rounds"]] == [ORDER]
    shown = batos("lineage", str(shop)).stdout
    assert "pieces: method restock" in shown and f"order {ORDER}" in shown and "gap: 30% to 80%" in shown
    by_method = result_of("lineage", str(shop), "restock")
    assert by_method["adapter"] == NEW and by_method["wrote"] == 1 and by_method["round"]["id"] == ORDER
    assert "rounds" in result_of("lineage", "genesis_obj")


def test_a_round_shows_its_shadow_its_distance_and_is_cancelled_there(house):
    def shadowed():
        entered = ledger.current_round(house.image)
        entered.put("phase", "shadow")
        entered.put("shadow", [{"message": "@7", "selector": "worth", "current": "installed", "candidate": "same"}] * 3)
        entered.put("report", {**entered.own("report"), "distance": 0.125, "detail": "stopped after 10 steps"})
        entered.drop("before")  # as rounds of another version might be

    house.transactor.run(shadowed)
    shown = batos("forge", "show", ORDER[:4]).stdout
    assert "shadow: 3 live messages, beside 3 that the adapter in service had installed: 3 same" in shown
    assert "distance to the parent: 0.125 nats a token; stopped after 10 steps" in shown
    assert result_of("forge", "cancel", ORDER) == {"cancelled": ORDER}

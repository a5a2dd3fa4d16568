"""When the policy of the language is another one, methods are audited again: what no longer passes is out of use, and says why."""

import pytest

from tests.uvm.houses import make_shop
from tests.uvm.images import Bench, awakened
from uvm.awakening import reaudit
from uvm.awakening.reaudit import audit_again
from uvm.history import entries
from uvm.image.image import Image
from uvm.image.methods import install, method, quarantine, quarantined, release
from uvm.language.compiler import POLICY
from uvm.machine.delivery import Answered, Failed
from uvm.protocol import Example, decode_value

FORBIDDEN = "def spy(self):\n    import os\n    return os\n"
ALLOWED = "def greet(self):\n    return 'hello'\n"


@pytest.fixture
def bench():
    """An image of another policy, with one method that passes the audit, and one that does not any longer."""
    with awakened() as image:
        bench = Bench(image)
        bench.install("genesis_obj", "spy", FORBIDDEN)
        bench.install("genesis_obj", "greet", ALLOWED)
        with_policy(image, 0)
        yield bench


def with_policy(image: Image, version: int) -> None:
    image.manager.begin()
    image.root["policy"] = version
    image.manager.commit()


def audited(image: Image) -> list[tuple[str, str, bool]]:
    lines: list[tuple[str, str, bool]] = []
    audit_again(image, lambda *line: lines.append(line))
    return lines


def reason(image: Image, selector: str) -> str:
    image.manager.begin()
    try:
        return quarantined(image.named("genesis_obj").own(selector))
    finally:
        image.manager.abort()


def kinds(image: Image) -> list[str]:
    image.manager.begin()
    try:
        return [recorded.entry["kind"] for recorded in entries.newest_first(image, chronicle=True)]
    finally:
        image.manager.abort()


def test_what_no_longer_passes_is_out_of_use_with_the_finding_and_the_rest_goes_on(bench):
    lines = audited(bench.image)
    assert lines == [("methods audited again", f"policy {POLICY}; 1 put out of use, 0 back in use", True)]
    assert reason(bench.image, "spy").startswith("audit: line 2: ") and reason(bench.image, "greet") == ""
    outcome = bench.send("genesis_obj", "spy")
    assert isinstance(outcome, Failed) and outcome.error.type == "MethodQuarantined"
    assert "import" in outcome.error.message and "example" in outcome.error.remedy and "CreateMethod" in outcome.error.remedy
    assert isinstance(bench.send("genesis_obj", "greet"), Answered)
    assert kinds(bench.image).count("quarantine") == 1
    shown = decode_value(bench.send("genesis_obj", "explain_", "spy").result)
    assert shown["quarantined"].startswith("audit: ") and shown["source"] == FORBIDDEN


def test_it_happens_once_a_policy(bench):
    audited(bench.image)
    assert audited(bench.image) == []


def test_what_passes_again_comes_back_and_what_others_put_out_of_use_does_not(bench):
    audited(bench.image)
    bench.image.manager.begin()
    genesis = bench.image.named("genesis_obj")
    genesis.own("spy").put("source", ALLOWED.replace("greet", "spy"))
    quarantine(genesis.own("greet"), "its adapter was revoked")
    bench.image.manager.commit()
    with_policy(bench.image, 0)
    audited(bench.image)
    assert reason(bench.image, "spy") == "" and reason(bench.image, "greet") == "its adapter was revoked"


def test_whatever_it_is_killed_at_the_next_one_ends_it(bench, monkeypatch):
    bench.install("genesis_obj", "pry", FORBIDDEN.replace("spy", "pry"))
    monkeypatch.setattr(reaudit, "MARKED", 1)
    marked, mark = [], reaudit._mark

    def killed(image: Image, verdicts: dict[bytes, str]) -> None:
        if marked:
            raise KeyboardInterrupt
        marked.append(verdicts)
        mark(image, verdicts)

    monkeypatch.setattr(reaudit, "_mark", killed)
    with pytest.raises(KeyboardInterrupt):
        audited(bench.image)
    assert sorted(bool(reason(bench.image, selector)) for selector in ("pry", "spy")) == [False, True]
    monkeypatch.setattr(reaudit, "_mark", mark)
    audited(bench.image)
    assert reason(bench.image, "pry") and reason(bench.image, "spy")


def test_a_method_that_has_run_already_stops_at_once_and_goes_on_when_it_is_released(bench):
    assert isinstance(bench.send("genesis_obj", "greet"), Answered)
    for step, kind in ((lambda method: quarantine(method, "no"), Failed), (release, Answered)):
        bench.image.manager.begin()
        step(bench.image.named("genesis_obj").own("greet"))
        bench.image.manager.commit()
        assert isinstance(bench.send("genesis_obj", "greet"), kind)


def test_sent_with_an_example_it_is_written_anew_and_the_library_does_not_bring_it_back(build_house):
    machine = build_house(worth=["    return self.cost"])
    shop = make_shop(machine)
    assert machine.send(shop, "worth") == 4
    machine.image.manager.begin()
    quarantine(machine.image.at(shop).own("worth"), "its author was revoked")
    machine.image.manager.commit()
    assert machine.send(shop, "worth").type == "MethodQuarantined"
    machine.model.bodies["worth"] = ["    return self.cost * self.pieces"]
    assert machine.send(shop, "worth", examples=[Example(12)]) == 12
    assert machine.send(shop, "worth") == 12


def test_a_policy_method_out_of_use_says_so_instead_of_writing(bench):
    bench.image.manager.begin()
    install(bench.image.named("pLLM_obj"), method("reflectOn_", "def reflectOn_(self, m):\n    return 1\n", 1, "ann", {}))
    quarantine(bench.image.named("pLLM_obj").own("reflectOn_"), "no")
    bench.image.manager.commit()
    outcome = bench.send("genesis_obj", "sing")
    assert isinstance(outcome, Failed) and outcome.error.type == "MethodQuarantined" and "reflectOn_ is out of use" in outcome.error.message
    assert (outcome.error.details["selector"], outcome.error.details["failed"]) == ("sing", "reflectOn_")
    assert "batos method pLLM_obj reflectOn_ FILE --policy" in outcome.error.remedy

"""`batos revoke`, `restore`, `revoked` and `batos adapters revoke`, on a real image: what a person and a script see of them."""

import json

import pytest
from typer.testing import CliRunner

from tests.uvm.houses import House, make_shop
from tests.uvm.images import awakened
from ui_client.cli import app
from ui_client.client.errors import RemoteError
from uvm.errors import AttemptEnded, ImageError
from uvm.image import authors, model_registry
from uvm.image.methods import install, method
from uvm.objects import KIND, UvmObject

DIGEST = "c" * 64


class InProcess:
    """A client whose image is in this process."""

    def __init__(self, house):
        self.house = house

    def send(self, target, selector, *args, keywords=None):
        answer = self.house.send(target, selector, *args, kwargs=dict(keywords or {}))
        if isinstance(answer, ImageError | AttemptEnded):
            raise RemoteError(answer.type, answer.message, answer.remedy, answer.details)
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.fixture
def house(tmp_path, monkeypatch):
    """An image in which an adapter has written two methods, one of which has changed a slot."""
    with awakened() as image:
        house = House(image, None, {}, tmp_path)
        monkeypatch.setattr("ui_client.commands.revocation.connect", lambda: InProcess(house))
        shop = make_shop(house)
        for selector, body in (("spoil", "self.cost = 0"), ("worth", "return 1")):
            proof = {"mode": "adapter", "adapter": f"covenant@{DIGEST}"}
            behaviour = method(selector, f"def {selector}(self):\n    {body}\n", 0, "brick", proof)

            def put(behaviour=behaviour):
                holder = image.at(shop)
                install(holder, behaviour)
                authors.enter(image, behaviour, holder._p_oid)

            house.transactor.run(put)
        proxy = UvmObject({KIND: "adapter", "digest": DIGEST, "name": "covenant", "blobs": {}, "base": "0" * 64})
        house.transactor.run(lambda: model_registry.enter(image, "adapter", proxy))
        house.send(shop, "spoil")
        house.shop = shop
        yield house


def batos(*arguments):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def result_of(*arguments):
    done = batos(*arguments, "--json")
    answer = json.loads(done.stdout)
    return answer["result"] if done.exit_code == 0 else answer["error"]


def test_a_person_sees_what_an_adapter_wrote_before_and_after(house):
    shown = batos("adapters", "revoke", "covenant", "--reason", "it spoils", "--preview")
    assert shown.exit_code == 0 and "would be quarantined" in shown.stdout and "nothing was changed" in shown.stderr
    done = batos("adapters", "revoke", DIGEST[:8], "--reason", "it spoils")
    assert f"spoil of {house.shop}: quarantined (does not run any more)" in done.stdout
    assert f"wrote 1 times: cost of {house.shop}" in done.stdout
    listed = batos("revoked")
    assert "adapter" in listed.stdout and "it spoils" in listed.stdout and "local" in listed.stdout
    back = batos("adapters", "restore", DIGEST)
    assert "worth" in back.stdout and "restored (runs again)" in back.stdout
    assert "nobody is revoked" in batos("revoked").stdout


def test_a_script_reads_the_same(house):
    answer = result_of("revoke", "--persona", "brick")
    assert answer["author"] == "persona:brick" and answer["counts"] == {"quarantined": 2} and answer["reason"] == ""
    assert {method["selector"]: method["writes"] for method in answer["methods"]} == {"spoil": 1, "worth": 0}
    assert [author["name"] for author in result_of("revoked")] == ["brick"]
    assert result_of("restore", "--persona", "brick")["counts"] == {"restored": 2}


def test_what_takes_several_messages_is_one_command(house, monkeypatch):
    monkeypatch.setattr("uvm.image.revocations.MOST", 1)
    answer = result_of("adapters", "revoke", DIGEST)
    assert answer["counts"] == {"quarantined": 2} and answer["more"] == 1 and "left" not in answer and "of" not in answer
    restored = batos("adapters", "restore", DIGEST)
    assert "1 of about 2 methods so far" in restored.stderr and "nobody is revoked" in batos("revoked").stdout


def test_errors_say_what_to_do(house):
    assert batos("revoke").exit_code == 2 and batos("revoke", "--persona", "a", "--session", "b").exit_code == 2
    unknown = result_of("adapters", "revoke", "ffffffff")
    assert unknown["type"] == "BadArguments" and unknown["remedy"]
    assert result_of("restore", "--persona", "brick")["type"] == "BadArguments"

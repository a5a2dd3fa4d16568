"""What a proof asks of a service on a copy: a missing method is written, or it is said why none was."""

from typing import Any, cast

import pytest

from ui_client import proving
from ui_client.client.client import Client
from ui_client.client.errors import RemoteError
from ui_client.proving import NotAnswered, WrittenBy


class Service:
    """Answers as a service does; `missing`: what becomes of the message that nothing understands."""

    def __init__(self, missing: Any = 8, *, has_model: bool = True) -> None:
        self.missing = missing
        self.has_model = has_model
        self.missed = 0

    def status(self) -> dict[str, Any]:
        return {"uvms": ["uvm-1"]}

    def create_method(self, *_: Any, **__: Any) -> None:
        pass

    def send(self, target: Any, selector: str, *arguments: Any, **_: Any) -> Any:
        if selector == "doubleProofPrice":
            self.missed += 1
            if isinstance(self.missing, Exception):
                raise self.missing
            return self.missing
        return {"mirror_": self.has_model, "upgradeProof_": 42}.get(selector, "an object")


def proved(service: Service, written_by: WrittenBy) -> str:
    return proving.prove(cast(Client, service), [], 5.0, written_by)


def test_a_missing_method_is_written_from_a_script_or_by_the_engine() -> None:
    for written_by in ("script", "engine"):
        service = Service()
        assert proved(service, written_by) == "" and service.missed == 1
    service = Service()
    assert proved(service, "") == "" and service.missed == 0


def test_what_is_refused_is_held_against_a_script_and_not_against_an_engine() -> None:
    refused = RemoteError("Refused", "not sure")
    with pytest.raises(NotAnswered, match="not sure"):
        proved(Service(refused), "script")
    assert "refused" in proved(Service(refused), "engine")


@pytest.mark.parametrize("missing", [RemoteError("GenerationFailed", "the engine did not start"), 7, None])
def test_an_engine_that_writes_nothing_fails_the_proof(missing: Any) -> None:
    with pytest.raises(NotAnswered):
        proved(Service(missing), "engine")


def test_without_a_model_or_where_nothing_is_written_it_is_said() -> None:
    service = Service(has_model=False)
    assert "no model" in proved(service, "script") and service.missed == 0
    assert "is off" in proved(Service(RemoteError("GenerationOff", "the writing of methods is off")), "script")

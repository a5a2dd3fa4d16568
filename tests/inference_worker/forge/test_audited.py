"""What the forge teaches is what the image's audit lets through."""

from inference_worker.forge import dataset
from uvm.language.audit import audit


def test_every_family_writes_methods_that_pass_the_audit_without_a_remark() -> None:
    for drawn in dataset.tasks(seed=31, count=1500, side="train"):
        args, kwargs = drawn.shape(drawn.args)
        verdict = audit(drawn.source(drawn.body), drawn.selector, len(args), list(kwargs))
        assert verdict.ok and not verdict.findings, (drawn.family, drawn.source(drawn.body), verdict.findings)

"""What the forge teaches is what the image's audit lets through."""

from inference_worker.forge import dataset
from uvm.language.audit import audit


def test_every_family_writes_methods_that_pass_the_audit_without_a_remark() -> None:
    for one in dataset.tasks(seed=31, count=1500, side="train"):
        args, kwargs = one.shape(one.args)
        verdict = audit(one.source(one.body), one.selector, len(args), list(kwargs))
        assert verdict.ok and not verdict.findings, (one.family, one.source(one.body), verdict.findings)

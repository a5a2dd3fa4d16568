"""Whether an adapter that was put into service stays there. Pure; what is counted is kept with the adapter's record in the image."""

from typing import Literal

from msgspec import Struct

from uvm.autotelic.paired import ALPHA, binomial

Standing = Literal["on probation", "kept", "rolled back"]


class EndingCounts(Struct, frozen=True):
    """Messages for which drafts were asked, and how many of them ended badly: refused, or a method that people took back or corrected."""

    asked: int = 0
    bad: int = 0

    @property
    def share(self) -> float:
        return self.bad / self.asked if self.asked else 0.0


def standing(before: EndingCounts, since: EndingCounts, most: int) -> tuple[Standing, str]:
    """What becomes of it, and why. `before`: the same of the adapter before it, `most`: after so many messages it has passed.

    It is rolled back as soon as so many bad ends would come by chance, with the share of before, at most once in twenty; looked at after
    every beat, that happens to a good adapter more often than once in twenty, and errs on the careful side.
    """
    usual = (before.bad + 1) / (before.asked + 2)
    chance = sum(binomial(since.asked, k, usual) for k in range(since.bad, since.asked + 1))
    if since.bad > 1 and since.share > before.share and chance <= ALPHA:
        return "rolled back", f"{since.bad} of {since.asked} messages ended badly, against {before.share:.0%} before (p = {chance:.3f})"
    if since.asked >= most:
        return "kept", f"{since.bad} of {since.asked} messages ended badly, against {before.share:.0%} before"
    return "on probation", f"{since.asked} of {most} messages"

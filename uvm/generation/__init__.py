"""doesNotUnderstand: how a message that nobody understood becomes a method, or a refusal with its reasons.

In: a MethodRequest, taken out of an attempt that has ended. Out: an installed method, or a stored refusal; whoever waits is told once.

Read `request`, `claims` (message objects, changed by compare-and-set), `stages` (the way, as pure functions), `generation` and `writers`
(carried out), with `drafting` and `questions` (what the model is asked), `verdicts` (what is said of drafts), `needs` (methods that
drafts need), `installer` (what writing does to the image), `learning`, and `meter` (for whom the work is done).
"""

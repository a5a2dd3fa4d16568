"""doesNotUnderstand: how a message that nobody understood becomes a method, or a refusal with its reasons.

In: a MethodRequest, taken out of an attempt that has ended. Out: an installed method, or a stored refusal; whoever waits is told once.

Read `request` and `stages` (the values), `events`, `instructions` and `process` (the way, decided: events in, instructions out, and nothing
else inside; `generation` is what it remembers, and the table of what may come next), `questions` and `verdicts` (what the model is asked,
what is said of drafts; pure as well), then `writers` (the instructions, carried out: `transactions`, `asking`, `trying`), `claims` (message
objects, changed by compare-and-set), `misses` and `installer` (what is taken out of the image, and put into it), `placing` and `proposals`
(where a method comes to stand, and those that a preview has shown), `drafting` and `thoughts` (with which voice the model is asked),
`learning`, and `meter` (for whom the work is done).
"""

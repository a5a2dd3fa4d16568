"""The image: ZODB behind a ZEO server, as this product uses it.

In: reads and writes inside a caller's transaction. Out: objects, receipts, journal entries, and what changed, for followers.

Read `image` (a connection and its roots) and `client` (how a process comes to it), `transactor` (short transactions of the kernel), then
the books: `tables`, `receipts`, `pages`, `journal`, `left` (what a message left in a slot), `nursery`, `stored`, `large`. Objects that mean
something to the kernel: `methods`, `contract` (the examples that one keeps), `message_object`, `codex`, `blobs`, read by type through
`views`; what the model is asked with, `prompts`; which methods are given to whom, who wrote them, and who is not trusted: `library`,
`authors`, `revocations`. What tools see: `queries`, `changes`. `clock`, `entropy`, `tally` and `kept` are small.
"""

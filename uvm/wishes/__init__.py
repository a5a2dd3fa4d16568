"""What the image wishes to be made of: the versions of its own planks, wished for by a message or by a criterion of its own.

In: the directory of wheels as the heartbeat sees it, `upgrade_obj` in the image, receipts of upgrades in the chronicle. Out: at most one
wish at a time through a narrow door (`deploy.wishes`), behind which the upgrader decides. `policy` (the numbers, which are the image's)
and `criterion` (whether to wish, and for what) are pure; `wishing` is what a message makes, `book` keeps all of it in the image, and
`loop` is the one that the heartbeat calls.
"""

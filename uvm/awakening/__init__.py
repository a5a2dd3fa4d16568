"""The Prototypal Awakening: the first objects of a new image, or the check that an old one is still itself. `python -m uvm.awakening`.

Read `awakening`, `renewal` (what an older image lacks of the kernel's own), `reaudit` (its methods, when the policy of the language
has changed), `check` (whether an image boots) and `rewind` (the last transaction that does).
"""

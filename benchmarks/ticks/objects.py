"""Slots, sends, primitives, and the values that merge."""

from collections.abc import Iterator

from benchmarks.ticks.case import Case
from benchmarks.ticks.values import (
    MANY,
    NESTED,
    PAGE,
    SHARED,
    large_object,
    small_object,
)
from uvm.objects import Counter, MergingQueue, MergingSet


def objects() -> Iterator[Case]:
    yield Case("slot", "read", "self.n")
    yield Case("slot", "read list", "self.tags")
    yield Case("slot", "read large list", "self.large")
    yield Case("slot", "read by sending", "self.n()")
    yield Case("slot", "assigned", "self.n = 1")
    yield Case("slot", "assigned list", "self.tags = [1, 2]")
    yield Case("slot", "assigned large list", "self.large = a", (MANY[:5000],))
    yield Case("slot", "assigned nested", "self.large = a", (NESTED,))
    yield Case("slot", "assigned shared", "self.large = a", (SHARED,))
    yield Case("slot", "augmented", "self.n += 1")
    yield Case("slot", "marked", "self._p_changed = True")
    yield Case("send", "method", "self.one()")
    yield Case("send", "method with argument", "self.same(a)", (1,))
    yield Case("send", "lambda", "f = lambda x: x\nf(1)")
    yield Case("primitive clone", "small", "a.clone()", (small_object(),))
    yield Case("primitive clone", "large list", "a.clone()", (large_object(MANY[:5000]),))
    yield Case("primitive clone", "nested", "a.clone()", (large_object(NESTED),))
    yield Case("primitive clone", "shared", "a.clone()", (large_object(SHARED),))
    yield Case("primitive setSlot_value_", "small", "self.setSlot_value_('n', 1)")
    yield Case("primitive setSlot_value_", "refused", "try:\n  self.setSlot_value_(a, 1)\nexcept Exception:\n  x = 1", (PAGE,))
    yield Case("primitive removeSlot_", "small", "self.setSlot_value_('k', 1)\nself.removeSlot_('k')")
    yield Case("primitive slot_", "small", "self.slot_('n')")
    yield Case("primitive perform_", "small", "self.perform_('same', [1])")
    yield Case("primitive slotNames", "small", "self.slotNames()")
    yield Case("primitive parents", "small", "self.parents()")
    yield Case("primitive addParent_", "small", "x = self.clone()\nx.addParent_(a)", (small_object(),))
    yield Case("primitive removeParent_", "small", "x = self.clone()\nx.addParent_(a)\nx.removeParent_(a)", (small_object(),))
    yield Case("primitive respondsTo_", "small", "self.respondsTo_('n')")
    yield Case("primitive respondsTo_", "not", "self.respondsTo_('nothing')")
    yield Case("primitive respondsTo_", "long", "self.respondsTo_(a)", (PAGE,))
    yield Case("primitive nameAs_", "refused", "try:\n  self.nameAs_(a)\nexcept Exception:\n  x = 1", (PAGE,))
    yield Case("primitive forgetName_", "refused", "try:\n  self.forgetName_(a)\nexcept Exception:\n  x = 1", (PAGE,))
    yield Case("primitive compareAndSet_", "small", "self.compareAndSet_('n', 1, 1)")
    yield Case("primitive names", "small", "self.names()")
    yield Case("primitive now", "small", "self.now()")
    yield Case("primitive explain_", "small", "self.explain_('same')")
    yield Case("primitive mirror_", "small", "self.mirror_('slotNames')")
    yield Case("primitive mirror_", "refused", "try:\n  self.mirror_(a)\nexcept Exception:\n  x = 1", (PAGE,))


def merging() -> Iterator[Case]:
    yield Case("counter.add", "small", "a.add(1)", (Counter(1),))
    yield Case("counter.value", "small", "a.value()", (Counter(1),))
    yield Case("merging_set.add", "small", "a.add(1)", (MergingSet(),))
    yield Case("merging_set.discard", "small", "a.discard(1)", (MergingSet(),))
    yield Case("merging_set.has", "small", "a.has(1)", (MergingSet(),))
    yield Case("merging_set.values", "small", "a.values()", (MergingSet([1]),))
    yield Case("merging_set.values", "large", "a.values()", (MergingSet(MANY),))
    yield Case("merging_queue.put", "and take", "a.put(1)\na.take()", (MergingQueue(),))
    yield Case("merging_queue.take", "first of many", "a.put(1)\na.take()", (MergingQueue(MANY * 4),))
    yield Case("merging_queue.values", "large", "a.values()", (MergingQueue(MANY),))
    yield Case("float.is_integer", "small", "a.is_integer()", (2.5,))

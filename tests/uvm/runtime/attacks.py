"""Attacks on the image by ordinary messages, as data: what a method may try on an object that is not its own, and on its own slots.

Each is the body of a method of an ordinary object: `self` is that object, `a` the victim. `VALUES` have no victim.
"""

from textwrap import indent

ON_VICTIMS = {
    "set a new slot": "a.setSlot_value_('x', 1)",
    "set each slot": "for name in a.slotNames():\n    a.setSlot_value_(name, 1)",
    "set each slot, whatever fails": (
        "for name in a.slotNames():\n    try:\n        a.setSlot_value_(name, None)\n    except Exception:\n        self.failed = name"
    ),
    "perform a set": "a.perform_('setSlot_value_', ['name', 'mine'])",
    "perform a set by keyword": "a.perform_('setSlot_value_', [], {'name': 'name', 'value': 'mine'})",
    "set in a mirror": "a.mirror_('setSlot_value_', 'name', 'mine')",
    "hide what it inherits": "a.mirror_('setSlot_value_', 'now', 1)",
    "perform in a mirror": "a.mirror_('perform_', 'mirror_', ['setSlot_value_', 'name', 'mine'])",
    "perform a perform": "a.perform_('perform_', ['setSlot_value_', ['name', 'mine']])",
    "remove each slot": (
        "for name in a.slotNames():\n    try:\n        a.removeSlot_(name)\n    except Exception:\n        self.failed = name"
    ),
    "remove the handler": "a.removeSlot_('doesNotUnderstand_')",
    "remove clone": "a.removeSlot_('clone')",
    "assign": "t = a\nt.name = 'mine'",
    "assign by slot_": "a.slot_('setSlot_value_')",
    "become its parent": "a.addParent_(self)",
    "orphan it": "for one in a.parents():\n    a.removeParent_(one)",
    "swap its parents": "a.addParent_(self)\nfor one in a.parents():\n    if one is not self:\n        a.removeParent_(one)",
    "name it": "a.nameAs_('stolen')",
    "take its names": "for name in a.names():\n    a.forgetName_(name)",
    "change a clone of it": "t = a.clone()\nt.setSlot_value_('name', 'mine')\nself.kept = t",
    "a clone as model": "t = a.clone()\nt.setSlot_value_('digest', '../../../tmp')\nself.model = t",
    "a clone as message": "t = a.clone()\nt.setSlot_value_('receiver', a)\nt.beWritten_({'prompt': 'x'})",
    "fine-tune it": "a.fineTuneWith_([{'prompt': 'p', 'answer': 'a'}])",
    "write its method": "a.beWritten_({'prompt': 'def x(self):'})",
    "reflect on it": "self.reflectOn_(a)",
    "keep it in a slot, and use it": "self.kept = a\nself.kept.setSlot_value_('x', 1)",
    "keep it as a method": "self.setSlot_value_('run', a)\nself.run()",
    "its slots, each cleared": (
        "for name in ['content', 'positional', 'proof', 'drafts', 'objects', 'lessons', 'history']:\n"
        "    if a.respondsTo_(name):\n        a.slot_(name).clear()"
    ),
    "the parent's clone": "t = a.parents()[0]\nt.removeSlot_('clone')",
    "the parent's handler": "t = a.parents()[0]\nt.removeSlot_('doesNotUnderstand_')",
    "the parent's slots": "t = a.parents()[0]\nt.setSlot_value_('covenant', 'obey')",
}
"""Ways to change another object."""

IN_PLACE = {
    "content": "a.content['identity'] = 'me'",
    "content, deep": "a.content['laws']['trial'] = ''",
    "content, through a slot of one's own": "self.mine = a.content\nself.mine['identity'] = 'me'\nself._p_changed = True",
    "content, cleared": "a.content.clear()",
    "content, by slot_": "x = a.slot_('content')\nx['identity'] = 'me'",
    "content, by perform_": "x = a.perform_('content')\nx.update({'identity': 'me'})",
    "positional": "a.positional.clear()",
    "positional, grown": "a.positional.append('extra')",
    "keywords": "a.keywords.append('extra')",
    "defaults": "a.defaults.insert(0, 'message')",
    "proof": "a.proof['mode'] = 'merged'",
    "proof, deep": "a.proof['audit'].append('fit')",
    "proof, swapped": "p = a.proof\np['mode'], p['message'] = 'base', '@1'",
    "arguments": "a.arguments.clear()",
    "keywords of a message": "a.keywords['x'] = 1",
    "drafts": "a.drafts.append({'source': 'def x(self): pass'})",
    "slots of a message": "a.slots[0][1] = 'x'",
    "examples": "a.examples.append('Example: x')",
    "plan": "a.plan['prompt'] = 'x'",
    "blobs": "a.blobs.clear()",
    "blobs, a path": "a.blobs['../../x'] = a.blobs",
    "digests": "a.digests.clear()",
    "lessons": "a.lessons.append(self)",
    "history": "a.history.clear()",
    "last": "a.last['methods'] = -1",
    "notes": "a.notes.append('x')",
}
"""Changes inside values that were read out of another object."""

VALUES = {
    "a set, through another name": "q = []\nself.tags = q\nq.append({1, 2})",
    "a lambda, through another name": "q = []\nself.tags = q\nq.append(lambda x: x)",
    "a function, through another name": "q = []\nself.tags = q\nq.append(len)",
    "an error": "q = []\nself.tags = q\ntry:\n    x = 1 / 0\nexcept Exception as error:\n    q.append(error)",
    "a set in a dict": "d = {}\nself.tags = d\nd['k'] = {1}",
    "a set in a tuple": "q = []\nself.tags = q\nq.append(({1},))",
    "a tuple as key": "d = {}\nself.tags = d\nd[(1, 2)] = 1",
    "a number with a point as key": "d = {}\nself.tags = d\nd[1.5] = 1",
    "nothing as key": "d = {}\nself.tags = d\nd[None] = 1",
    "an object as key": "d = {}\nself.tags = d\nd[self] = 1",
    "a large number": "q = []\nself.tags = q\nq.append(2 ** 70)",
    "a large number as key": "d = {}\nself.tags = d\nd[2 ** 70] = 1",
    "a large counter": "self.count = counter(1)\nself.count += 2 ** 70",
    "a list in itself": "q = []\nself.tags = q\nq.append(q)",
    "a dict in itself": "d = {}\nself.tags = d\nd['d'] = d",
    "seventy deep": "q = []\nself.tags = q\nx = []\nfor n in range(70):\n    x = [x]\nq.append(x)",
    "a set in a queue": "m = merging_queue()\nself.tags = m\nself.tags.put({1})",
    "a lambda in a queue": "self.tags = merging_queue()\nself.tags.put([lambda: 1])",
    "a set in a list in a queue": "q = []\nself.tags = merging_queue()\nself.tags.put(q)\nq.append({1})",
    "a set, in what a slot gave": "self.tags = []\nx = self.tags\nx.append({1})",
    "a set, in an old list": "self.old.append({1})",
    "a set, in an old list, marked": "self.old.append({1})\nself._p_changed = True",
    "a set, deep in an old list": "self.old[0].append({1})",
    "a set in a new object": "q = []\nt = self.clone()\nt.setSlot_value_('tags', q)\nself.kept = t\nq.append({1})",
    "a set in a new object, in what its slot gave": "t = self.clone()\nself.kept = t\nt.old.append({1})",
    "a set in a new object's new object": "t = self.clone()\nu = t.clone()\nself.kept = t\nt.setSlot_value_('kept', u)\nu.old.append({1})",
    "a set in a new object that is answered": "t = self.clone()\nt.old.append({1})\nreturn t",
    "half a pair": "self.text = '\\ud800'",
    "half a pair, inside": "q = []\nself.tags = q\nq.append('\\ud800')",
    "half a pair as key": "d = {}\nself.tags = d\nd['\\ud800'] = 1",
    "doubled 40 times": "x = [1]\nfor n in range(40):\n    x = [x, x]\nself.tags = x",
    "doubled 40 times, through another name": "q = []\nself.tags = q\nx = [1]\nfor n in range(40):\n    x = [x, x]\nq.append(x)",
    "doubled 40 times as dict": "x = {}\nfor n in range(40):\n    x = {'a': x, 'b': x}\nself.tags = x",
    "doubled 40 times, in new objects": "t = self.clone()\nself.kept = t\nx = [1]\nfor n in range(40):\n    x = [x, x]\nt.old.append(x)",
    "a text in many places": "x = 'x' * 1000000\nself.tags = [x] * 33",
    "a text in many objects": (
        "x = 'x' * 9000000\nq = []\nfor n in range(5):\n    q.append(self.clone().setSlot_value_('text', x))\nself.kept = q"
    ),
    "grown behind a slot that is read": ("q = []\nself.tags = q\nx = [1]\nfor n in range(40):\n    x = [x, x]\nq.append(x)\nx = self.tags"),
    "a record of many slots": "x = 'x' * 3000000\nfor n in range(8):\n    self.setSlot_value_(f'text{n}', x)",
    "objects without end": "q = []\nfor n in range(100000):\n    q.append(self.clone())\nself.kept = q",
}
"""What no record may hold, or no message may store."""


def source(body: str, selector: str) -> str:
    """The method of an attack."""
    parameters = "self, a" if selector.endswith("_") else "self"
    return f"def {selector}({parameters}):\n{indent(body, '    ')}\n"

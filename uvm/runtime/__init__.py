"""One attempt to carry out one message.

In: receiver, selector, arguments, rights and limits. Out: a result, or how the attempt ended; what it changed is in the attempt.

Read `attempt`, `runtime` (the hooks that compiled methods call), `primitives` (what objects can do without source), `recollection` (history
and undo as messages), `revoking` (whose methods are trusted), `authority` (who may change what), `behaviour` (what an object does, past
data of the same name), `policy` (which methods of the image the kernel sends), `blame` (what is said where one of them fails) and `gate`
(the one place where everything that a message changed is looked at before it is stored). `router` advises who writes a method, `prompting`
tells and changes what the model is asked with.
"""

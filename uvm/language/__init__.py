"""The language of methods: what may be said, what it costs, and how it becomes code. No database, no process.

In: a method's source. Out: findings, or code whose every operation is measured.

Read `syntax` (what of Python is in), `covenant` and `audit` (whether a source may become a method), `charging`, `transformer` and
`compiler` (how it becomes code), then what that code calls: `arithmetic`, `operators`, `value_methods`, `text_methods`, `texts`, `keys`,
`bounds`, charged by `weights` to a `budget`. `builtins` holds the names, `grammar` the same language for the model that writes.
"""

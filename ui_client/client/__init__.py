"""The client library: what a program holds.

Read `client` and `requests` (what a client can be asked for, said once for both of them), `conversation` (a request and its answer),
`transport` (exports and imports), `session`, `channel` (one connection), `outbox` (what is sent again), `subscription` (events), `errors`.
"""

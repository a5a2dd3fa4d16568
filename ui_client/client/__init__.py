"""The client library: what a program holds.

Read `client`, `channel` (one connection), `outbox` (what is sent again), `subscription` (events), `errors`.
"""

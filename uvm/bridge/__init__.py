"""The Synaptic Bridge: the one address that tools connect to, `python -m uvm.bridge`.

In: a tool's frames, a UVM's words, the ends of processes. Out: Deliveries for UVMs, answers for tools, events for subscribers.

Read `bridge` (the loop) and `tools` (what tools send, as far as it is a request), then `events` and `dispatcher` (events in, instructions
out, and nothing else), with what the dispatcher stands on: `lanes` (what waits, and where), `placing` (which UVM gets what),
`shares`, `quotas`. `sockets`, `principals`, `peers` and `publisher` are the loop's hands; `protocol` is what it says to UVMs, `heads` how a
request is read in two steps, `requests` which right it needs, `refusals` what it answers itself.
"""

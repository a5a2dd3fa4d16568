"""The Synaptic Bridge: the one address that tools connect to, `python -m uvm.bridge`.

In: a tool's frames, a UVM's words, the ends of processes. Out: Deliveries for UVMs, answers for tools, events for subscribers.

Read `tools` (what tools send, as far as it is a request that they may make), `dispatcher` (events in, instructions out, and nothing else)
and `bridge` (the loop, which carries them out). Where one of them is not enough: `events`; `lanes` (what waits, and where), `placing`
(which UVM gets what), `shares` and `quotas`, on which the dispatcher stands; `sockets`, `principals`, `peers` and `publisher`, the loop's
hands; `listeners` and `succession`, how one bridge follows another; `protocol`, what it says to UVMs; `heads`, how a request is read in
two steps; `refusals`, what the bridge answers itself.
"""

"""The heartbeat, `python -m uvm.heartbeat`: what happens without a message.

`heartbeat` is the loop, `announcer` its voice at the bridge.
"""

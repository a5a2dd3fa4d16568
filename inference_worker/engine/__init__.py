"""The language model, behind one interface.

In: prompts and adapters that are committed. Out: tokens. Read `engine` (the interface), `vllm_engine` (here), `endpoint_engine` (a server
elsewhere, by `endpoint_client` and `openai_wire`) and `fake_engine`, over all of which one conformance suite runs, `host` (one engine,
started and watched), `vllm_arguments` and `memory_plan` (what vLLM is started with), `vllm_inputs` (what it is given for a request), then
what runs inside vLLM's processes: `extension`, `read_reports`, `idle_wait`, `heap`, `processes`. `vllm_interfaces` lists what of vLLM we
rely on; `watchdog` notices an engine that is dead or does nothing.
"""

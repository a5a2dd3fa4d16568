"""The model's worker: vLLM with many LoRA adapters, moved between disk, RAM and the engine's slots. It never opens the database.

The tour, in the order in which a question travels: `protocol` is the contract, `server` takes requests and answers them, `tiers` decides
which adapter is where and who runs, `loading` does what was decided with the files of `adapters`, `engine` is the model, and `lora` its
operations on a processor. `simulator` plays the same decisions on machines that are not here; `forge` trains adapters; `convert` makes
the default model.
"""

"""Adapters and base models as files: what they must be, which there are, and where they come from.

In: directories under their digest, and peers that have others. Out: checked adapters, or why not.

Read `adapter`, `peft_config` and `safetensors_file` (what is read of them), `catalogue` and `store` (which there are), `quarantine`,
`fetcher` and `exports` (from and to peers).
"""

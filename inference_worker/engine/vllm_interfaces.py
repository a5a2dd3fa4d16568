"""The private interfaces of vLLM that this package relies on, as data: a test checks each against the installed version.

A new version that moves one fails by its name, before an engine starts. What is public there (AsyncLLM, the engine's
arguments, LoRARequest, worker_extension_cls, the entry point vllm.general_plugins) is not listed.
"""

from msgspec import Struct


class Interface(Struct, frozen=True):
    """One of them.

    name: dotted path of a class, method, function or attribute. parameters: of a function, in order, `self` and `cls`
    included, `*` and `**` as they are written; None where it is no function. why: what we use it for.
    """

    name: str
    parameters: tuple[str, ...] | None
    why: str


_PUNICA = "vllm.lora.punica_wrapper.punica_base.PunicaWrapperBase"
_CPU = "vllm.lora.punica_wrapper.punica_cpu.PunicaWrapperCPU"
_RUNNER = "vllm.v1.worker.lora_model_runner_mixin.LoRAModelRunnerMixin"
_WORKER = "vllm.lora.worker_manager.WorkerLoRAManager"
_LRU_WORKER = "vllm.lora.worker_manager.LRUCacheWorkerLoRAManager"
_MANAGER = "vllm.lora.model_manager.LoRAModelManager"
_LRU_MANAGER = "vllm.lora.model_manager.LRUCacheLoRAModelManager"
_LINEAR = ("self", "y", "x", "lora_a_stacked", "lora_b_stacked", "scale", "output_slices", "buffer", "**kwargs")
_SPIN = "vllm.distributed.device_communicators.shm_broadcast.SpinCondition"

INTERFACES: tuple[Interface, ...] = (
    Interface(
        f"{_SPIN}.__init__",
        ("self", "is_reader", "context", "notify_address", "busy_loop_s"),
        "the class that patience.py derives from and the plugin replaces: how the core and the model's process wait for each other",
    ),
    Interface(f"{_SPIN}.wait", ("self", "timeout_ms"), "overridden: naps while it would spin, since a notification can be lost"),
    Interface(
        "vllm.platforms.cpu.CpuPlatform.get_punica_wrapper", ("cls",), "the plugin replaces it: the name of the class of LoRA operations"
    ),
    Interface(
        f"{_CPU}.__init__",
        ("self", "max_num_batched_tokens", "max_batches", "device", "**kwargs"),
        "the class that ours derives from; vLLM makes one for each model",
    ),
    Interface(
        f"{_PUNICA}.update_metadata",
        ("self", "mapping", "lora_index_to_id", "max_loras", "vocab_size", "**kwargs"),
        "overridden: the tokens of a step are grouped by slot, once",
    ),
    Interface(
        f"{_PUNICA}._update_base_metadata",
        ("self", "mapping", "lora_index_to_id", "max_loras", "vocab_size"),
        "called: fills the index tensors that embeddings and classifiers read",
    ),
    Interface(f"{_PUNICA}.token_lora_indices", None, "read: the slot of each token, -1 for none"),
    Interface(f"{_PUNICA}.sampler_indices", None, "read: the slot of each row of logits, -1 for none"),
    Interface(f"{_CPU}.add_lora_linear", _LINEAR, "overridden: the adapters' part of a linear layer"),
    Interface(
        f"{_CPU}.add_lora_logits",
        ("self", "y", "x", "lora_a_stacked", "lora_b_stacked", "scale", "buffer", "**kwargs"),
        "overridden: the adapters' part of the output layer",
    ),
    Interface(
        f"{_CPU}.add_lora_embedding",
        ("self", "y", "x", "lora_b_stacked", "add_inputs", "**kwargs"),
        "overridden: the adapters' part of the input embedding",
    ),
    Interface(f"{_CPU}.add_shrink", ("self", "y", "x", "lora_a_stacked", "scale", "**kwargs"), "overridden: the first product alone"),
    Interface(
        f"{_CPU}.add_expand",
        ("self", "y", "x", "lora_b_stacked", "output_slices", "offset_start", "add_inputs", "**kwargs"),
        "overridden: the second product alone",
    ),
    Interface(
        "vllm.lora.layers.base_linear.BaseLinearLayerWithLoRA._apply_lora_to_output",
        ("self", "x", "output"),
        "calls add_lora_linear with the layer's stacked weights: lora_a_stacked, lora_b_stacked [slots, 1, …], output_slices",
    ),
    Interface(
        "vllm.lora.layers.base.BaseLayerWithLoRA.__getattr__",
        ("self", "name"),
        "avoided: a layer finds its base_layer by it, slowly; it is put into the layer's __dict__",
    ),
    # The extension: moving adapters.
    Interface(f"{_RUNNER}.lora_manager", None, "read: the worker's manager, from the model runner that the worker has"),
    Interface(f"{_WORKER}._adapter_manager", None, "read: the manager of slots below it"),
    Interface(f"{_WORKER}.lora_config", None, "read: the limits and the data type that an adapter is parsed for"),
    Interface(f"{_WORKER}.max_position_embeddings", None, "read: what an adapter's configuration is read with"),
    Interface(f"{_WORKER}.vocab_size", None, "read: what an adapter is parsed for"),
    Interface(
        f"{_WORKER}._load_adapter",
        ("self", "lora_request"),
        "not called: its steps are done by the reading thread, without a map of the file",
    ),
    Interface(
        f"{_LRU_WORKER}.add_adapter",
        ("self", "lora_request"),
        "relied on: a step asks it for each of its adapters, and it touches no file when the adapter is registered",
    ),
    Interface(
        "vllm.lora.lora_model.LoRAModel.from_lora_tensors",
        ("cls", "lora_model_id", "tensors", "peft_helper", "device", "dtype", "model_vocab_size", "weights_mapper", "skip_prefixes"),
        "called: parses an adapter, in the reading thread",
    ),
    Interface("vllm.lora.lora_model.LoRAModel.loras", None, "read: the parsed layers by name, to count bytes and to refuse unknown ones"),
    Interface("vllm.lora.lora_weights.LoRALayerWeights.lora_a", None, "read: one matrix, or a list of them for merged layers"),
    Interface("vllm.lora.lora_weights.LoRALayerWeights.lora_b", None, "read: likewise"),
    Interface(
        "vllm.lora.peft_helper.PEFTHelper.from_local_dir",
        ("cls", "lora_path", "max_position_embeddings"),
        "called: reads the configuration",
    ),
    Interface("vllm.lora.peft_helper.PEFTHelper.validate_legal", ("self", "lora_config"), "called: refuses what vLLM cannot compute"),
    Interface(
        "vllm.model_executor.models.utils.WeightsMapper.get_rename_mapper", ("self",), "called: names of layers that vLLM has renamed"
    ),
    Interface(
        f"{_MANAGER}._create_merged_loras_inplace",
        ("self", "lora_model"),
        "called in the reading thread: puts q, k, v and gate, up together, scales and pins; done twice, the second time does nothing",
    ),
    Interface(f"{_MANAGER}.model", None, "read: how the model renames layers"),
    Interface(f"{_MANAGER}.modules", None, "read: the layers that have slots"),
    Interface(f"{_MANAGER}.packed_modules", None, "read: the layers that vLLM has merged"),
    Interface(f"{_MANAGER}.lora_slots", None, "read: how many slots there are"),
    Interface(f"{_MANAGER}.lora_index_to_id", None, "read: which adapter is in which slot; a slot is free where it is None"),
    Interface(f"{_MANAGER}.punica_wrapper_mapping", None, "read: our operations, to have a slot's weights packed at its commit"),
    Interface(f"{_MANAGER}.list_adapters", ("self",), "called: the registered adapters"),
    Interface(f"{_MANAGER}.deactivate_adapter", ("self", "adapter_id"), "called: frees a slot, and keeps the adapter registered"),
    Interface(f"{_MANAGER}.remove_adapter", ("self", "adapter_id"), "called: frees a slot and forgets the adapter"),
    Interface(f"{_LRU_MANAGER}.add_adapter", ("self", "lora"), "called: registers a parsed adapter"),
    Interface(f"{_LRU_MANAGER}.activate_adapter", ("self", "lora_id"), "called: copies it into the first free slot"),
    Interface(
        "vllm.v1.worker.gpu_model_runner.GPUModelRunner.execute_model",
        ("self", "scheduler_output", "intermediate_tensors"),
        "wrapped, on the worker's model runner: each step is computed with as many threads as step_threads.py chooses",
    ),
    Interface("vllm.v1.core.sched.output.SchedulerOutput.total_num_scheduled_tokens", None, "read: how many tokens a step computes"),
    # The engine.
    Interface("vllm.v1.engine.async_llm.AsyncLLM.errored", None, "read: whether vLLM counts its core as dead"),
    Interface("vllm.v1.engine.exceptions.EngineDeadError", None, "caught: the core ended under a call"),
)

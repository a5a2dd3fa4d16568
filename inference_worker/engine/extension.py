"""What the engine's worker process does for the tiers: parse an adapter while steps go on, commit it between two of them.

vLLM mixes `TierExtension` into its worker class, in the process that holds the model (one per rank), and the inference
worker reaches its methods by `collective_rpc`, which runs them in that process's main thread between two steps, in the
order in which they were sent. Arguments and answers are plain data. No exception leaves a method: it is answered as
`error`, since one that rises inside the engine can end it for everybody.

Parsing is the work of one thread of low priority. It reads the manager's description of the model, which does not change
once the engine is up, and never its caches, which are not thread-safe; it hands a parsed adapter over under a lock, and
reports by a ZeroMQ PUSH to the address that it was given. So nobody asks again and again whether a load is done, and no
step waits for a file.

    tier_read → (thread) → parsed → tier_commit → in a slot → tier_retire → registered → tier_drop
                                        ↑______________________________________|
"""

import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq
from msgspec import Struct

from inference_worker.engine.heap import settle
from inference_worker.engine.step_threads import ThreadsExtension

QUEUE = 256
"""Reads that may wait for the thread; past it a read is refused."""

_NICE = 10
_LINGER_MS = 1000


class ReadReport(Struct, frozen=True):
    """How the read of adapter `number` went. `size`: bytes it takes in RAM. `seconds`: from the file to the parsed form."""

    number: int
    size: int = 0
    seconds: float = 0.0
    error: str = ""


class TierExtension(ThreadsExtension):
    """The methods that vLLM's worker class gets; vLLM refuses names that the class has already."""

    model_runner: Any  # vLLM's worker class has it
    _tier_shelf: "HotAdapters | None" = None

    def tier_read(self, number: int, path: str, reply: str) -> dict[str, Any]:
        """Begin to parse the adapter in the directory `path`; a ReadReport goes to the address `reply` when it is done."""
        return self._tier_answer(lambda shelf: shelf.read(number, path, reply))

    def tier_commit(self, number: int) -> dict[str, Any]:
        """Copy a parsed adapter into a free slot. Answers `slot` and `seconds`, or `error`; evicts nothing that is wanted."""
        return self._tier_answer(lambda shelf: shelf.commit(number))

    def tier_retire(self, number: int) -> dict[str, Any]:
        """Free the adapter's slot; it stays parsed. Without effect when it is in none."""
        return self._tier_answer(lambda shelf: shelf.retire(number))

    def tier_drop(self, number: int) -> dict[str, Any]:
        """Forget the adapter, whether it is parsed, being parsed or in a slot."""
        return self._tier_answer(lambda shelf: shelf.drop(number))

    def tier_state(self) -> dict[str, Any]:
        """What is where: numbers of the adapters that are `hot` (with their slots), `registered`, `parsed`, `reading`; `free` slots.

        Also `operations`, how the adapters' part is computed (empty: by vLLM's own operations), `pid` of this process, and `threads`, with
        how many it computes (see step_threads).
        """
        threads = self._tier_threads.state() if self._tier_threads is not None else {}
        return self._tier_answer(lambda shelf: shelf.state() | {"threads": threads})

    def _tier_answer(self, operation: Callable[["HotAdapters"], dict[str, Any]]) -> dict[str, Any]:
        try:
            if self._tier_shelf is None:
                self._tier_shelf = HotAdapters(self.model_runner.lora_manager)
                settle()
            return operation(self._tier_shelf)
        except Exception as error:  # noqa: BLE001 - it is answered: raised, it could end the engine
            return {"error": f"{type(error).__name__}: {error}"}


class HotAdapters:
    """The adapters of one worker process. `worker_manager` is vLLM's LRUCacheWorkerLoRAManager; `parse` replaces it in tests."""

    def __init__(self, worker_manager: Any, parse: Callable[[int, str], Any] | None = None) -> None:
        self._manager = worker_manager._adapter_manager
        self._reader = Reader(parse or (lambda number, path: parsed(worker_manager, number, path)))
        # What the scheduler has committed and not retired; what else is active is a stray (see commit).
        self._hot: set[int] = set()

    def read(self, number: int, path: str, reply: str) -> dict[str, Any]:
        if number in self._manager.list_adapters():
            return {"error": f"adapter {number} is loaded already; drop it first"}
        return self._reader.begin(number, path, reply)

    def commit(self, number: int) -> dict[str, Any]:
        began = time.perf_counter()
        manager = self._manager
        if number in self._hot and number in manager.lora_index_to_id:
            return {"error": f"adapter {number} is in a slot already"}
        registered = number in manager.list_adapters()
        lora = None if registered else self._reader.parsed(number)
        if lora is None and not registered:
            return {"error": f"adapter {number} is not parsed; read it first"}
        self._clear_strays(keep=number)
        if number not in manager.lora_index_to_id and None not in manager.lora_index_to_id:
            return {"error": f"no slot is free for adapter {number}: {manager.lora_slots} hold {sorted(self._hot)}; retire one first"}
        try:
            if lora is not None:
                manager.add_adapter(lora)
            manager.activate_adapter(number)
            slot = manager.lora_index_to_id.index(number)
            self._prepare(slot)
        except BaseException:
            # Half of it may be in the slot: nothing stays, neither there nor in the manager.
            manager.remove_adapter(number)
            self._reader.forget(number)
            raise
        self._reader.forget(number)
        self._hot.add(number)
        return {"slot": slot, "seconds": time.perf_counter() - began}

    def retire(self, number: int) -> dict[str, Any]:
        self._hot.discard(number)
        return {"retired": bool(self._manager.deactivate_adapter(number))}

    def drop(self, number: int) -> dict[str, Any]:
        self._hot.discard(number)
        self._reader.forget(number)
        return {"dropped": bool(self._manager.remove_adapter(number))}

    def state(self) -> dict[str, Any]:
        slots = list(self._manager.lora_index_to_id)
        return {
            "hot": {str(number): slot for slot, number in enumerate(slots) if number is not None},
            "registered": sorted(self._manager.list_adapters()),
            "parsed": self._reader.numbers(),
            "reading": self._reader.waiting(),
            "free": slots.count(None),
            "operations": self._operations(),
            "pid": os.getpid(),
        }

    def _clear_strays(self, keep: int) -> None:
        """Free slots whose adapters the scheduler has retired: a request that was still in a step then brings its own back."""
        for number in list(self._manager.lora_index_to_id):
            if number is not None and number not in self._hot and number != keep:
                self._manager.deactivate_adapter(number)

    def _prepare(self, slot: int) -> None:
        """Let our CPU operations pack the slot's weights now, instead of at the first token that needs them."""
        for wrapper in self._ours():
            wrapper.prepare(slot, self._manager)

    def _operations(self) -> dict[str, Any]:
        """How our CPU operations compute, and what they keep; empty where vLLM's own ones do."""
        return next((dict(wrapper.statistics()) for wrapper in self._ours()), {})

    def _ours(self) -> list[Any]:
        return [wrapper for wrapper in set(self._manager.punica_wrapper_mapping.values()) if hasattr(wrapper, "prepare")]


class Reader:
    """The thread that parses, what it has parsed, and the socket it reports to. Begun with the first read, it ends with the process."""

    def __init__(self, parse: Callable[[int, str], Any]) -> None:
        self._parse = parse
        self._queue: queue.Queue[tuple[int, str, str]] = queue.Queue(QUEUE)
        self._lock = threading.Lock()
        self._requested: set[int] = set()
        self._parsed: dict[int, Any] = {}
        self._thread: threading.Thread | None = None

    def begin(self, number: int, path: str, reply: str) -> dict[str, Any]:
        with self._lock:
            if number in self._requested or number in self._parsed:
                return {"error": f"adapter {number} is parsed or being parsed already; drop it first"}
            self._requested.add(number)
        try:
            self._queue.put_nowait((number, path, reply))
        except queue.Full:
            self.forget(number)
            return {"error": f"{QUEUE} adapters wait to be read; ask again when one is done"}
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="adapter-reader", daemon=True)
            self._thread.start()
        return {"reading": True}

    def parsed(self, number: int) -> Any:
        """The parsed adapter, or None."""
        with self._lock:
            return self._parsed.get(number)

    def forget(self, number: int) -> None:
        """Let go of it; a read that is under way is thrown away when it ends."""
        with self._lock:
            self._requested.discard(number)
            self._parsed.pop(number, None)

    def numbers(self) -> list[int]:
        with self._lock:
            return sorted(self._parsed)

    def waiting(self) -> list[int]:
        with self._lock:
            return sorted(self._requested)

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        _lower_priority()
        context = zmq.Context()
        sockets: dict[str, zmq.Socket[bytes]] = {}
        while True:
            number, path, reply = self._queue.get()
            report = self._read(number, path)
            if reply not in sockets:
                sockets[reply] = context.socket(zmq.PUSH)
                sockets[reply].setsockopt(zmq.LINGER, _LINGER_MS)
                sockets[reply].connect(reply)
            # A full or absent listener must not hold up the next adapter; who asked has a deadline of his own.
            try:
                sockets[reply].send(msgspec.msgpack.encode(report), zmq.NOBLOCK)
            except zmq.Again:
                self.forget(number)

    def _read(self, number: int, path: str) -> ReadReport:
        began = time.perf_counter()
        try:
            lora = self._parse(number, path)
            size = adapter_bytes(lora)
        except Exception as error:  # noqa: BLE001 - it is reported: raised, it would end the thread
            self.forget(number)
            return ReadReport(number, error=f"{type(error).__name__}: {error}")
        with self._lock:
            if number not in self._requested:
                return ReadReport(number, error="it was dropped while it was being read")
            self._requested.discard(number)
            self._parsed[number] = lora
        return ReadReport(number, size, time.perf_counter() - began)


def parsed(worker_manager: Any, number: int, path: str) -> Any:
    """The adapter in `path` as vLLM's LoRAModel, ready to be committed: scaled, and its q, k, v and gate, up put together.

    Does what the manager's `_load_adapter` does, with one difference: the file is read, not mapped into memory. The weights
    would be the file's pages otherwise, and a file that shrinks under a map ends the process. Raises ValueError, OSError and
    whatever safetensors and vLLM raise.
    """
    from safetensors.torch import load
    from vllm.lora.lora_model import LoRAModel
    from vllm.lora.peft_helper import PEFTHelper

    manager = worker_manager._adapter_manager
    peft = PEFTHelper.from_local_dir(path, worker_manager.max_position_embeddings)
    peft.validate_legal(worker_manager.lora_config)
    mapper = getattr(manager.model, "hf_to_vllm_mapper", None)
    lora = LoRAModel.from_lora_tensors(
        number,
        load((Path(path) / "adapter_model.safetensors").read_bytes()),
        peft,
        device="cpu",
        dtype=worker_manager.lora_config.lora_dtype,
        model_vocab_size=worker_manager.vocab_size,
        weights_mapper=mapper.get_rename_mapper() if mapper is not None else None,
        skip_prefixes=getattr(manager.model, "lora_skip_prefixes", None),
    )
    places = set(manager.modules).union(*manager.packed_modules.values())
    unknown = sorted(set(lora.loras) - places)
    if unknown:
        raise ValueError(f"the model has no place for {', '.join(unknown[:5])} ({len(unknown)} modules)")
    if not lora.loras:
        raise ValueError("it has no weights")
    # Idempotent, so that the manager's own call at the commit finds nothing left to do.
    manager._create_merged_loras_inplace(lora)
    return lora


def adapter_bytes(lora: Any) -> int:
    """Bytes of a LoRAModel's weights."""
    return sum(
        tensor.nbytes
        for weights in lora.loras.values()
        for side in (weights.lora_a, weights.lora_b)
        for tensor in (side if isinstance(side, list) else [side])
        if tensor is not None
    )


def _lower_priority() -> None:
    """Decoding goes first. On Linux a thread has a priority of its own. One that is lower already stays: only root may raise it."""
    if sys.platform == "linux":
        this_thread = 0
        os.setpriority(os.PRIO_PROCESS, this_thread, max(_NICE, os.getpriority(os.PRIO_PROCESS, this_thread)))

"""`python -m tests.inference_worker.reference MODEL DIRECTORY`: what transformers and PEFT say, to compare the engine with.

Makes the adapters with PEFT itself in DIRECTORY and writes `reference.json`: for each adapter ("" is none) and prompt the
greedy tokens in float32, their log probabilities, and how far the two likeliest tokens were apart at each step (logits). A
process of its own, so that the tests' one has neither torch nor what it changes.
"""

import json
import sys
from pathlib import Path
from typing import Any

TOKENS = 16
PROMPTS = (
    "Once upon a time there was a",
    "def total(self, items):\n    # the sum of the prices of all items, each times its quantity\n    return",
)
SHIPPED = "covenant"
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAPTERS: dict[str, dict[str, Any]] = {
    "rank4-query-value": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
    "rank8-every-layer": {"r": 8, "lora_alpha": 20, "target_modules": EVERY},
    "rank16-stabilized": {"r": 16, "lora_alpha": 8, "use_rslora": True, "target_modules": ["o_proj", "up_proj", "down_proj"]},
    "rank16-key-gate": {"r": 16, "lora_alpha": 32, "target_modules": ["k_proj", "gate_proj"]},
    "ranks-by-module": {
        "r": 8,
        "lora_alpha": 16,
        "target_modules": EVERY,
        "rank_pattern": {"q_proj": 4, "down_proj": 16},
        "alpha_pattern": {"v_proj": 24},
    },
}
"""Different ranks, modules, alphas that are not the rank, and some layers of a merged group only."""


def main(model: Path, directory: Path) -> None:
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    shipped = Path(__file__).parents[2] / "inference_worker" / "shipped" / SHIPPED
    for seed, (name, config) in enumerate(ADAPTERS.items()):
        torch.manual_seed(seed)
        adapter = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **config))
        for parameter_name, parameter in adapter.named_parameters():
            if "lora_B" in parameter_name:
                torch.nn.init.normal_(parameter, std=0.06)
        adapter.save_pretrained(directory / name)
        base = adapter.unload()
    answers = {"": greedy(base, tokenizer)}
    for name in [*ADAPTERS, SHIPPED]:
        adapted = PeftModel.from_pretrained(base, shipped if name == SHIPPED else directory / name).eval()
        answers[name] = greedy(adapted, tokenizer)
        base = adapted.unload()
    (directory / "reference.json").write_text(json.dumps(answers))


def greedy(model: Any, tokenizer: Any) -> list[dict[str, Any]]:
    """One answer per prompt."""
    import torch

    answers = []
    for prompt in PROMPTS:
        prompt_tokens = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.inference_mode():
            out = model.generate(
                input_ids=prompt_tokens,
                attention_mask=torch.ones_like(prompt_tokens),
                max_new_tokens=TOKENS,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
        tokens = out.sequences[0, prompt_tokens.shape[1] :].tolist()
        two = [torch.topk(step[0], 2).values for step in out.logits]
        answers.append(
            {
                "text": tokenizer.decode(tokens, skip_special_tokens=True),
                # What the first n tokens say, for each n.
                "begins": [tokenizer.decode(tokens[:count], skip_special_tokens=True) for count in range(len(tokens))],
                "margins": [float(best - second) for best, second in two],
                "logprobs": [float(torch.log_softmax(step[0], -1)[token]) for step, token in zip(out.logits, tokens, strict=True)],
            }
        )
    return answers


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

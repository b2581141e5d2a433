"""Runs the public implementations on the recorded weights and inputs: T5 (transformers), LoRA (peft), adapters and
UniPELT-T5 (adapters). Float32, dropout off, CPU, one thread.
"""
import shutil
import tempfile
from pathlib import Path

import adapters
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from transformers import T5ForConditionalGeneration

SMOOTHING = 0.1
MAX_LENGTH = 24  # of greedy search, the start token included
INPUTS = ["input_ids", "attention_mask", "labels"]
TASK = "task"  # name of the adapter in the recorded files


def base(folder):
    return T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()


def forward(model, inputs):
    return model(**inputs, output_hidden_states=True, use_cache=False)


def summed_loss(logits, labels):
    """Label-smoothed cross entropy, summed over all labels that are not padding."""
    log_probabilities = torch.log_softmax(logits, dim=-1)
    real = labels != 0
    picked = -log_probabilities.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    uniform = -log_probabilities.mean(dim=-1)
    return ((1 - SMOOTHING) * picked + SMOOTHING * uniform)[real].sum()


def run(model, recorded, greedy=True):
    """All entries that `io.safetensors` and `long.safetensors` share."""
    inputs = {name: recorded[name] for name in INPUTS}
    # Hugging Face ignores -100 in the loss; the files pad with 0.
    labels = inputs["labels"]
    fed = {**inputs, "labels": labels.masked_fill(labels == 0, -100)}
    with torch.no_grad():
        out = forward(model, fed)
    made = {
        **inputs,
        "decoder_input_ids": torch.cat([torch.zeros_like(labels[:, :1]), labels[:, :-1]], dim=1),
        "encoder_last_hidden_state": out.encoder_last_hidden_state,
        "logits": out.logits,
        "loss": out.loss,
    }
    if greedy:
        made["loss_sum_ls"] = summed_loss(out.logits, labels)
        made.update({f"enc_hidden.{i}": h for i, h in enumerate(out.encoder_hidden_states)})
        made.update({f"dec_hidden.{i}": h for i, h in enumerate(out.decoder_hidden_states)})
        generated = model.generate(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_length=MAX_LENGTH,
            num_beams=1, do_sample=False, use_cache=False)
        made["greedy_ids"] = torch.nn.functional.pad(generated, (0, recorded["greedy_ids"].shape[1] - generated.shape[1]))
    return made


def gradients(model, recorded, trained):
    """d(summed loss)/d(parameter), for the parameters whose name passes `trained`."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trained(name))
    labels = recorded["labels"]
    logits = forward(model, {name: recorded[name] for name in INPUTS}).logits
    model.zero_grad()
    summed_loss(logits, labels).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def logits(model, recorded):
    with torch.no_grad():
        return forward(model, {name: recorded[name] for name in INPUTS}).logits


def t5(folder):
    """Sets of vectors of a plain T5, as file -> (kind, tensors)."""
    recorded = load_file(folder / "io.safetensors")
    model = base(folder / "model")
    return {
        "io.safetensors": ("values", run(model, recorded)),
        "long.safetensors": ("values", run(model, load_file(folder / "long.safetensors"), greedy=False)),
        "grads.safetensors": ("gradients", gradients(model, recorded, lambda _: True)),
    }


def lora(folder):
    recorded = load_file(folder / "io.safetensors")

    def wrapped(**changes):
        config = LoraConfig.from_pretrained(folder / "adapter")
        for name, value in changes.items():
            setattr(config, name, value)
        return PeftModel.from_pretrained(base(folder / "model"), folder / "adapter", config=config).eval()

    model = wrapped()
    made = run(model, recorded)
    made["logits_base"] = logits(base(folder / "model"), recorded)
    made["logits_alpha16"] = logits(wrapped(lora_alpha=16), recorded)
    merged = wrapped().merge_and_unload()
    made["logits_merged"] = logits(merged, recorded)
    state = merged.state_dict()
    grads = gradients(model, recorded, lambda name: ".lora_" in name)
    return {
        "io.safetensors": ("values", made),
        "merged.safetensors": ("values", {name: state[name] for name in load_file(folder / "merged.safetensors")}),
        "grads.safetensors": ("gradients", {name.replace(".default.", "."): g for name, g in grads.items()}),
    }


def adapterhub(folder):
    """Adapters, and UniPELT-T5: a configuration and weights of the `adapters` library."""
    recorded = load_file(folder / "io.safetensors")
    model = base(folder / "model")
    adapters.init(model)
    with tempfile.TemporaryDirectory() as saved:
        shutil.copy(folder / "adapterhub" / "adapter_config.json", saved)
        shutil.copy(folder / "adapter.safetensors", Path(saved) / "adapter.safetensors")
        model.load_adapter(saved, load_as=TASK, set_active=True, use_safetensors=True)
    weights = load_file(folder / "adapter.safetensors")
    loaded = {name: p for name, p in model.named_parameters() if name in weights}
    if loaded.keys() != weights.keys() or any(not torch.equal(p, weights[name]) for name, p in loaded.items()):
        raise SystemExit(f"{folder}: not every recorded tensor was loaded")
    made = run(model.eval(), recorded)
    made["logits_base"] = logits(base(folder / "model"), recorded)
    return {
        "io.safetensors": ("values", made),
        "grads.safetensors": ("gradients", gradients(model, recorded, lambda name: name in weights)),
    }


SETS = {
    "t5/relu": t5,
    "t5/gated": t5,
    "lora-t5": lora,
    "adapters-t5": adapterhub,
    "unipelt-t5": adapterhub,
}

"""HyperLoader in plain PyTorch eager: the peer that `hl-train` is measured against.

Written from the paper and the facts in its authors' code: hypernetworks are evaluated layer by layer in each forward pass,
the loss is a label-smoothed cross entropy over the full logits, the optimiser is torch.optim.AdamW.
"""
import argparse
import json
import math
import resource
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn


def bucket(relative, bidirectional, buckets, max_distance):
    """Relative-position buckets of T5 (Raffel et al. 2020)."""
    result = torch.zeros_like(relative)
    if bidirectional:
        buckets //= 2
        result += (relative > 0).long() * buckets
        relative = relative.abs()
    else:
        relative = (-relative).clamp(min=0)
    exact = buckets // 2
    large = exact + (torch.log(relative.clamp(min=1).float() / exact)
                     / math.log(max_distance / exact) * (buckets - exact)).long()
    return result + torch.where(relative < exact, relative, large.clamp(max=buckets - 1))


def rms_norm(x, weight, eps):
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


class Hypernetwork(nn.Module):
    """All generators of one stack."""

    def __init__(self, layers, d, inner, bottleneck, rank, dim=64, hidden=128):
        super().__init__()
        self.shape = (d, inner, bottleneck, rank)
        self.layer_embed, self.position_embed = nn.Embedding(layers, dim), nn.Embedding(6, dim)
        self.projector = nn.Sequential(nn.Linear(3 * dim, hidden), nn.ReLU(), nn.Linear(hidden, dim),
                                       nn.LayerNorm(dim, eps=1e-6))
        for name, out in [("down_w", bottleneck * d), ("down_b", bottleneck), ("up_w", d * bottleneck),
                          ("up_b", d), ("gamma", d), ("beta", d)]:
            head = nn.Linear(dim, out)
            nn.init.normal_(head.weight, std=0.01)
            nn.init.zeros_(head.bias)
            setattr(self, name, head)
        self.lora_a, self.lora_b = nn.Linear(dim, rank * d, bias=False), nn.Linear(dim, inner * rank, bias=False)
        nn.init.zeros_(self.lora_b.weight)
        for index in (0, 2):
            nn.init.normal_(self.projector[index].weight, std=0.01)
            nn.init.zeros_(self.projector[index].bias)

    def embed(self, task, layer, position):
        device = task.device
        parts = [task, self.layer_embed(torch.tensor(layer, device=device)),
                 self.position_embed(torch.tensor(position, device=device))]
        return self.projector(torch.cat(parts))

    def adapter(self, task, layer, position):
        d, _, b, _ = self.shape
        e = self.embed(task, layer, position)
        return (self.down_w(e).view(b, d), self.down_b(e), self.up_w(e).view(d, b), self.up_b(e), self.gamma(e),
                self.beta(e))

    def lora(self, task, layer, position):
        d, inner, _, r = self.shape
        e = self.embed(task, layer, position)
        return self.lora_a(e).view(r, d), self.lora_b(e).view(inner, r)


class HyperLoader(nn.Module):
    """A frozen T5 with generated adapters, LoRA and layer norms."""

    def __init__(self, folder, tasks, reduction_factor=8, rank=8):
        super().__init__()
        self.config = c = json.loads((Path(folder) / "config.json").read_text())
        tensors = {k: v.float() for k, v in load_file(Path(folder) / "model.safetensors").items()}
        self.frozen = {k: v for k, v in tensors.items() if "layer_norm" not in k}
        self.norms = nn.ParameterDict({k.replace(".", "/"): v for k, v in tensors.items() if "layer_norm" in k})
        self.layers = {"encoder": c["num_layers"], "decoder": c.get("num_decoder_layers") or c["num_layers"]}
        inner = c["num_heads"] * c["d_kv"]
        self.tasks = nn.ParameterDict({task: torch.randn(64) for task in tasks})
        self.hyper = nn.ModuleDict({
            s: Hypernetwork(n, c["d_model"], inner, c["d_model"] // reduction_factor, rank)
            for s, n in self.layers.items()})

    def drop(self, x):
        return F.dropout(x, self.config["dropout_rate"], self.training)

    def norm(self, x, name):
        return rms_norm(x, self.norms[name.replace(".", "/")], self.config["layer_norm_epsilon"])

    def bias(self, stack, queries, keys):
        c = self.config
        relative = torch.arange(keys)[None, :] - torch.arange(queries)[:, None]
        table = self.frozen[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
        indices = bucket(relative, stack == "encoder", c["relative_attention_num_buckets"],
                         c["relative_attention_max_distance"])
        return table[indices.to(table.device)].permute(2, 0, 1)[None]

    def attention(self, x, kv, name, bias, lora_q, lora_v):
        heads, width = self.config["num_heads"], self.config["d_kv"]
        w = {p: self.frozen[f"{name}.{p}.weight"] for p in "qkvo"}
        q = x @ w["q"].T + (x @ lora_q[0].T) @ lora_q[1].T
        k = kv @ w["k"].T
        v = kv @ w["v"].T + (kv @ lora_v[0].T) @ lora_v[1].T
        q, k, v = (t.view(t.shape[0], -1, heads, width).transpose(1, 2) for t in (q, k, v))
        weights = self.drop(F.softmax((q @ k.transpose(2, 3) + bias).float(), -1))
        return (weights @ v).transpose(1, 2).reshape(x.shape[0], -1, heads * width) @ w["o"].T

    def adapt(self, y, adapter):
        down_w, down_b, up_w, up_b, gamma, beta = adapter
        z = F.linear(F.gelu(F.linear(y, down_w, down_b), approximate="tanh"), up_w, up_b)
        return y + F.layer_norm(z, z.shape[-1:], gamma, beta, 1e-5)

    def run(self, stack, ids, task, mask, memory=None, memory_mask=None):
        hyper, z = self.hyper[stack], self.tasks[task]
        x = self.drop(self.frozen["shared.weight"][ids])
        bias = self.bias(stack, ids.shape[1], ids.shape[1]) + mask
        for i in range(self.layers[stack]):
            block = f"{stack}.block.{i}.layer"
            n = self.norm(x, f"{block}.0.layer_norm.weight")
            y = self.attention(n, n, f"{block}.0.SelfAttention", bias, hyper.lora(z, i, 2), hyper.lora(z, i, 3))
            x = x + self.drop(self.adapt(y, hyper.adapter(z, i, 1)))
            last = 1
            if memory is not None:
                n = self.norm(x, f"{block}.1.layer_norm.weight")
                x = x + self.drop(self.attention(n, memory, f"{block}.1.EncDecAttention", memory_mask,
                                                 hyper.lora(z, i, 4), hyper.lora(z, i, 5)))
                last = 2
            n = self.norm(x, f"{block}.{last}.layer_norm.weight")
            ff = f"{block}.{last}.DenseReluDense"
            y = self.drop(F.relu(n @ self.frozen[f"{ff}.wi.weight"].T)) @ self.frozen[f"{ff}.wo.weight"].T
            x = x + self.drop(self.adapt(y, hyper.adapter(z, i, 0)))
        return self.drop(self.norm(x, f"{stack}.final_layer_norm.weight"))

    def forward(self, task, ids, mask, labels):
        """Label-smoothed loss, summed over target tokens."""
        negative = (1.0 - mask[:, None, None, :].float()) * -1e9
        memory = self.run("encoder", ids, task, negative)
        inputs = F.pad(labels[:, :-1], (1, 0))
        length = inputs.shape[1]
        causal = torch.full((length, length), -1e9, device=ids.device).triu(1)[None, None]
        hidden = self.run("decoder", inputs, task, causal, memory, negative)
        logits = (hidden * self.config["d_model"] ** -0.5) @ self.frozen["shared.weight"].T
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=0, reduction="sum",
                               label_smoothing=0.1)


def made_up(options):
    """The batch of trainer/examples/step_speed.rs in each step: every row full, ids spread over the vocabulary."""
    def ids(length, factor):
        return (torch.arange(options.batch * length).view(options.batch, -1) * factor) % 31999 + 1
    source = ids(options.source, 37)
    return ["a", "b", "c"], [("a", source, torch.ones_like(source), ids(options.target, 41))] * options.steps


def of_corpora(options):
    """The batches that trainer/examples/corpora_speed.rs wrote, of sentences of any length, padded to the longest."""
    data = json.loads(Path(options.data).read_text())

    def padded(rows):
        tensors = [torch.tensor(row) for row in rows]
        return nn.utils.rnn.pad_sequence(tensors, batch_first=True)

    def batches():
        for task, rows in data["batches"][:options.steps]:
            task = data["tasks"][task]
            source, target = (padded([task["sentences"][row][part] for row in rows]) for part in (0, 1))
            yield task["name"], source, (source != 0).long(), target
    return [task["name"] for task in data["tasks"]], batches()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="fixtures/backbones/t5-nano")
    parser.add_argument("--data", help="a file of corpora_speed.rs; without it, each step has the same made-up batch")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--source", type=int, default=30)
    parser.add_argument("--target", type=int, default=24)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    names, batches = of_corpora(options) if options.data else made_up(options)
    model = HyperLoader(options.backbone, names).to(options.device)
    model.frozen = {name: tensor.to(options.device) for name, tensor in model.frozen.items()}
    model.config["dropout_rate"] = options.dropout
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.0)
    kind = options.device.split(":")[0]
    times, sentences, target_tokens = [], [], []
    began = time.perf_counter()
    for task, *tensors in batches:
        ids, mask, labels = (tensor.to(options.device) for tensor in tensors)
        optimizer.zero_grad()
        with torch.autocast(kind, torch.bfloat16, enabled=options.precision == "bf16"):
            loss = model(task, ids, mask, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if kind == "cuda":
            torch.cuda.synchronize()
        sentences.append(len(ids))
        target_tokens.append(int((labels != 0).sum()))
        times.append(time.perf_counter() - began)
        began = time.perf_counter()
    # As many steps as in the examples of the trainer warm up.
    warm_up = 4 if options.data else options.steps // 3
    times, sentences, target_tokens = times[warm_up:], sentences[warm_up:], target_tokens[warm_up:]
    print(json.dumps({"engine": "pytorch-eager", "device": options.device, "precision": options.precision,
                      "batch": options.batch, "median_s": statistics.median(times), "min_s": min(times),
                      "sentences_per_s": sum(sentences) / sum(times),
                      "target_tokens_per_s": sum(target_tokens) / sum(times),
                      "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


if __name__ == "__main__":
    main()

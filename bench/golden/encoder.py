"""Every method on a tiny BERT with a token classifier, written from the equations in docs/reference/encoders.md alone: one
layer, one site and one head at a time, in plain PyTorch. Float32, dropout off, CPU, one thread.

    VENV/bin/python bench/golden/encoder.py fixtures/golden/encoder   # draws weights and inputs, and writes all files

`remake.py` computes the outputs anew from the recorded weights and inputs and compares them.
"""
import json
import math
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

TASK = "task"
TAGS = 5
CONFIG = {
    "model_type": "bert", "vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 20, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
    "hidden_act": "gelu", "pad_token_id": 0, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
}
D, LAYERS, HEADS = CONFIG["hidden_size"], CONFIG["num_hidden_layers"], CONFIG["num_attention_heads"]
HYPER = {"task_embed_dim": 6, "projector_hidden": 8, "reduction_factor": 4}
LORA = {"rank": 2, "alpha": 4.0}
METHODS = {
    "hyperloader": {"method": "hyperloader", **HYPER, "lora": LORA},
    "hyperformer-plus-plus": {"method": "hyperformer++", **HYPER},
    "hyperformer": {"method": "hyperformer", **HYPER},
    "adapters": {"method": "adapters", "reduction_factor": 4, "activation": "swish"},
    "lora": {"method": "lora", "lora": LORA},
    "unipelt": {"method": "unipelt", "reduction_factor": 4, "activation": "swish", "lora": LORA},
    "full": {"method": "full"},
}
# The sites of a layer: name of the module, and row of the position embedding.
FEED_FORWARD, ATTENTION, QUERY, VALUE = range(4)
MODULES = {FEED_FORWARD: "output", ATTENTION: "attention.output", QUERY: "attention.self.query", VALUE: "attention.self.value"}


def layer_name(layer, part):
    return f"bert.encoder.layer.{layer}.{part}"


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def layer_norm(x, gamma, beta, eps):
    centered = x - x.mean(-1, keepdim=True)
    return centered / (centered.pow(2).mean(-1, keepdim=True) + eps).sqrt() * gamma + beta


def norm(x, weights, name):
    return layer_norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"], CONFIG["layer_norm_eps"])


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def gelu_new(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class Plain:
    """What a task adds to the encoder: nothing."""

    def lora(self, layer, site):
        return None

    def adapter(self, layer, site, y):
        return 0


class Modules(Plain):
    """Adapters, LoRA and UniPELT: modules that are trained directly."""

    def __init__(self, config, weights):
        self.config, self.weights = config, weights

    def lora(self, layer, site):
        if "lora" not in self.config:
            return None
        name = f"task.{TASK}.{layer_name(layer, MODULES[site])}"
        scale = self.config["lora"]["alpha"] / self.config["lora"]["rank"]
        return self.weights[f"{name}.lora_a.weight"], self.weights[f"{name}.lora_b.weight"], scale

    def adapter(self, layer, site, y):
        if "reduction_factor" not in self.config:
            return 0
        name = f"task.{TASK}.{layer_name(layer, MODULES[site])}.adapter"
        down = linear(y, self.weights, f"{name}.down")
        return linear(down * torch.sigmoid(down), self.weights, f"{name}.up")


class Hyper(Plain):
    """HyperLoader, HyperFormer++ and HyperFormer: everything is generated from the task's embedding."""

    def __init__(self, config, weights):
        self.config, self.weights = config, weights
        self.by_site = config["method"] == "hyperformer"

    def part(self, name):
        return self.weights[f"hyper.encoder.{name}"]

    def embedding(self, layer, site):
        pieces = [self.weights[f"hyper.task_embed.{TASK}"], self.part("layer_embed.weight")[layer]]
        if not self.by_site:
            pieces.append(self.part("position_embed.weight")[site])
        hidden = torch.relu(linear(torch.cat(pieces), self.weights, "hyper.encoder.projector.fc1"))
        projected = linear(hidden, self.weights, "hyper.encoder.projector.fc2")
        return layer_norm(projected, self.part("projector.norm.weight"), self.part("projector.norm.bias"), 1e-6)

    def head(self, layer, site, module, head, shape):
        place = {FEED_FORWARD: ".feed_forward", ATTENTION: ".self_attention"}[site] if self.by_site else ""
        made = linear(self.embedding(layer, site), self.weights, f"hyper.encoder.{module}{place}.{head}")
        return made.reshape(shape)

    def adapter(self, layer, site, y):
        b = D // self.config["reduction_factor"]

        def head(module, head, *shape):
            return self.head(layer, site, module, head, shape)

        down = y @ head("adapter_down", "weight_head", b, D).T + head("adapter_down", "bias_head", b)
        up = gelu_new(down) @ head("adapter_up", "weight_head", D, b).T + head("adapter_up", "bias_head", D)
        return layer_norm(up, head("adapter_norm", "gamma_head", D), head("adapter_norm", "beta_head", D), 1e-5)

    def lora(self, layer, site):
        if "lora" not in self.config:
            return None
        rank, embedding = self.config["lora"]["rank"], self.embedding(layer, site)
        a = (self.part("lora_a.weight_head.weight") @ embedding).reshape(rank, D)
        b = (self.part("lora_b.weight_head.weight") @ embedding).reshape(D, rank)
        return a, b, self.config["lora"]["alpha"] / rank


def modules(config, weights):
    if config["method"] == "full":
        return Plain()
    return (Hyper if config["method"].startswith("hyper") else Modules)(config, weights)


def projection(x, weights, added, layer, site):
    name = layer_name(layer, MODULES[site])
    y, lora = linear(x, weights, name), added.lora(layer, site)
    if lora is None:
        return y
    a, b, scale = lora
    return y + scale * (x @ a.T) @ b.T


def attention(x, mask, weights, added, layer):
    queries = projection(x, weights, added, layer, QUERY)
    keys = linear(x, weights, layer_name(layer, "attention.self.key"))
    values = projection(x, weights, added, layer, VALUE)
    width, mixed = D // HEADS, []
    for head in range(HEADS):
        columns = slice(head * width, (head + 1) * width)
        scores = queries[..., columns] @ keys[..., columns].transpose(-1, -2) / math.sqrt(width)
        scores = scores + (1 - mask).unsqueeze(1) * -10000.0
        mixed.append(torch.softmax(scores, -1) @ values[..., columns])
    return linear(torch.cat(mixed, -1), weights, layer_name(layer, "attention.output.dense"))


def forward(weights, added, ids, mask):
    """The hidden states after the embeddings and after each layer, and the logits."""
    words, positions = weights["bert.embeddings.word_embeddings.weight"], weights["bert.embeddings.position_embeddings.weight"]
    x = words[ids] + positions[: ids.shape[1]] + weights["bert.embeddings.token_type_embeddings.weight"][0]
    x = norm(x, weights, "bert.embeddings.LayerNorm")
    hidden, mask = [x], mask.to(x.dtype)
    for layer in range(LAYERS):
        y = attention(x, mask, weights, added, layer)
        x = norm(x + y + added.adapter(layer, ATTENTION, y), weights, layer_name(layer, "attention.output.LayerNorm"))
        inner = gelu(linear(x, weights, layer_name(layer, "intermediate.dense")))
        y = linear(inner, weights, layer_name(layer, "output.dense"))
        x = norm(x + y + added.adapter(layer, FEED_FORWARD, y), weights, layer_name(layer, "output.LayerNorm"))
        hidden.append(x)
    return hidden, linear(x, weights, f"task.{TASK}.classifier")


def compute(config, base, trained, inputs):
    """All outputs, and the gradient of the mean loss towards every trained tensor."""
    leaves = {name: tensor.clone().requires_grad_(True) for name, tensor in trained.items()}
    weights = {**base, **leaves}
    hidden, logits = forward(weights, modules(config, weights), inputs["input_ids"], inputs["attention_mask"])
    labels, log_probabilities = inputs["labels"], torch.log_softmax(logits, -1)
    counted = labels != -100
    picked = log_probabilities.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    loss = -picked[counted].mean()
    loss.backward()
    # No row of the embedding, the position table or the type table that is not read has a gradient.
    grads = {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()}
    outputs = {"logits": logits, "loss": loss, **{f"hidden.{i}": x for i, x in enumerate(hidden)}}
    return {name: tensor.detach() for name, tensor in outputs.items()}, grads


def check_base(base, inputs):
    """The encoder without modules is that of transformers."""
    model = BertModel(BertConfig(**CONFIG), add_pooling_layer=False).eval()
    model.load_state_dict({name.removeprefix("bert."): tensor for name, tensor in base.items()}, strict=True)
    with torch.no_grad():
        theirs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], output_hidden_states=True)
    head = {f"task.{TASK}.classifier.weight": torch.zeros(TAGS, D), f"task.{TASK}.classifier.bias": torch.zeros(TAGS)}
    ours, _ = forward({**base, **head}, Plain(), inputs["input_ids"], inputs["attention_mask"])
    real = inputs["attention_mask"] == 1
    for mine, other in zip(ours, theirs.hidden_states, strict=True):
        difference = (mine - other)[real].abs().max().item()
        if not difference < 1e-5:
            raise SystemExit(f"the encoder differs from that of transformers by {difference}")



def remade(folder):
    """The sets of vectors of one method, as file -> (kind, tensors)."""
    base, inputs = load_file(folder.parent / "base.safetensors"), load_file(folder.parent / "inputs.safetensors")
    check_base(base, inputs)
    config = json.loads((folder / "method.json").read_text())
    outputs, grads = compute(config, base, load_file(folder / "trained.safetensors"), inputs)
    return {"io.safetensors": ("values", outputs), "grads.safetensors": ("gradients", grads)}


SETS = {f"encoder/{name}": remade for name in METHODS}


def shapes_of_base():
    inner, shapes = CONFIG["intermediate_size"], {}
    for table, rows in (("word", CONFIG["vocab_size"]), ("position", CONFIG["max_position_embeddings"]), ("token_type", 2)):
        shapes[f"bert.embeddings.{table}_embeddings.weight"] = (rows, D)

    def pair(name, *shape):
        shapes.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})

    pair("bert.embeddings.LayerNorm", D)
    for layer in range(LAYERS):
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            pair(layer_name(layer, part), D, D)
        pair(layer_name(layer, "attention.output.LayerNorm"), D)
        pair(layer_name(layer, "intermediate.dense"), inner, D)
        pair(layer_name(layer, "output.dense"), D, inner)
        pair(layer_name(layer, "output.LayerNorm"), D)
    return shapes


def shapes_of_method(config):
    """Names and shapes of the trained tensors besides those of the encoder."""
    shapes = {f"task.{TASK}.classifier.weight": (TAGS, D), f"task.{TASK}.classifier.bias": (TAGS,)}

    def pair(name, out, width):
        shapes.update({f"{name}.weight": (out, width), f"{name}.bias": (out,)})

    b = D // config.get("reduction_factor", 1)
    if config["method"].startswith("hyper"):
        e, h, by_site = HYPER["task_embed_dim"], HYPER["projector_hidden"], config["method"] == "hyperformer"
        shapes[f"hyper.task_embed.{TASK}"] = (e,)
        shapes["hyper.encoder.layer_embed.weight"] = (LAYERS, e)
        if not by_site:
            shapes["hyper.encoder.position_embed.weight"] = (4 if "lora" in config else 2, e)
        pair("hyper.encoder.projector.fc1", h, (2 if by_site else 3) * e)
        pair("hyper.encoder.projector.fc2", e, h)
        shapes.update({f"hyper.encoder.projector.norm.{part}": (e,) for part in ("weight", "bias")})
        for place in (".feed_forward", ".self_attention") if by_site else ("",):
            for module, head, out in (
                ("adapter_down", "weight_head", b * D), ("adapter_down", "bias_head", b), ("adapter_up", "weight_head", D * b),
                ("adapter_up", "bias_head", D), ("adapter_norm", "gamma_head", D), ("adapter_norm", "beta_head", D),
            ):
                pair(f"hyper.encoder.{module}{place}.{head}", out, e)
        if "lora" in config:
            for matrix in ("lora_a", "lora_b"):
                shapes[f"hyper.encoder.{matrix}.weight_head.weight"] = (LORA["rank"] * D, e)
        return shapes
    for layer in range(LAYERS):
        for site, module in MODULES.items():
            name = f"task.{TASK}.{layer_name(layer, module)}"
            if site in (FEED_FORWARD, ATTENTION) and "reduction_factor" in config:
                pair(f"{name}.adapter.down", b, D)
                pair(f"{name}.adapter.up", D, b)
            if site in (QUERY, VALUE) and "lora" in config:
                shapes[f"{name}.lora_a.weight"] = (LORA["rank"], D)
                shapes[f"{name}.lora_b.weight"] = (D, LORA["rank"])
    return shapes


def draw(shapes, generator):
    """Norm scales away from 1, everything else away from 0."""
    def tensor(name, shape):
        is_scale = name.endswith("orm.weight")
        values = torch.randn(shape, generator=generator) * (0.2 if is_scale else 0.3)
        return values + 1 if is_scale else values
    return {name: tensor(name, shape) for name, shape in shapes.items()}


def draw_inputs(generator):
    lengths = [9, 4, 7]
    ids = torch.randint(1, CONFIG["vocab_size"], (len(lengths), max(lengths)), generator=generator)
    labels = torch.randint(0, TAGS, ids.shape, generator=generator)
    mask = torch.tensor([[1] * n + [0] * (max(lengths) - n) for n in lengths])
    # The first and the last token, and some later sub-words, have no tag.
    labels[:, 0] = -100
    for row, n in enumerate(lengths):
        labels[row, n - 1:] = -100
    labels[0, 3] = labels[2, 5] = -100
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": labels}


def write(folder):
    generator = torch.Generator().manual_seed(19)
    base, inputs = draw(shapes_of_base(), generator), draw_inputs(generator)
    check_base(base, inputs)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    save_file(base, folder / "base.safetensors")
    save_file(inputs, folder / "inputs.safetensors")
    for name, config in METHODS.items():
        of_method, encoder = shapes_of_method(config), {}
        if config["method"] == "full":
            encoder = base
        elif config["method"].startswith("hyper"):
            encoder = {name: tensor for name, tensor in base.items() if "LayerNorm" in name}
        # Trained tensors of the encoder differ from those that it was pretrained with.
        moved = {name: tensor + 0.1 * torch.randn(tensor.shape, generator=generator) for name, tensor in encoder.items()}
        trained = {**moved, **draw(of_method, generator)}
        outputs, grads = compute(config, base, trained, inputs)
        def wide(tensors):
            return {name: tensor.double() for name, tensor in tensors.items()}
        exact, exact_grads = compute(config, wide(base), wide(trained), inputs)
        largest = max((outputs[key] - exact[key]).abs().max().item() for key in outputs)
        of_grads = max((grads[key] - exact_grads[key]).abs().max().item() for key in grads)
        print(f"{name}: float32 and float64 differ by {largest:.1e}, gradients by {of_grads:.1e}")
        target = folder / name
        target.mkdir(exist_ok=True)
        (target / "method.json").write_text(json.dumps(config, indent=2) + "\n")
        save_file(trained, target / "trained.safetensors")
        save_file(outputs, target / "io.safetensors")
        save_file(grads, target / "grads.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(Path(sys.argv[1]))

"""Whether a fused attention would make a training step faster: plain and fused (`scaled_dot_product_attention`), forward
and backward, with T5's relative-position bias as the mask, at the shapes of a T5-base step of 32 sentences.

PYTHON bench/train/attention.py [--device cuda] [--dropout 0.1]
"""
import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F


def plain(q, k, v, bias, dropout):
    scores = q @ k.transpose(-1, -2) + bias
    return F.dropout(F.softmax(scores, -1), dropout) @ v


def fused(q, k, v, bias, dropout):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=1.0)


def seconds(attend, queries, keys, options):
    q, k, v = (torch.randn(options.batch, n, options.heads * options.width, device=options.device).view(
        options.batch, n, options.heads, options.width).transpose(1, 2).requires_grad_() for n in (queries, keys, keys))
    bias = torch.randn(1, options.heads, queries, keys, device=options.device)
    times = []
    for _ in range(options.rounds):
        began = time.perf_counter()
        attend(q, k, v, bias, options.dropout).sum().backward()
        if options.device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--source", type=int, default=30)
    parser.add_argument("--target", type=int, default=24)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lengths = [(options.source, options.source), (options.target, options.target), (options.target, options.source)]
    whole = {attend.__name__: options.layers * sum(seconds(attend, *pair, options) for pair in lengths)
             for attend in (plain, fused)}
    print(json.dumps({"device": options.device, "dropout": options.dropout, "plain_s_a_step": whole["plain"],
                      "fused_s_a_step": whole["fused"]}))


if __name__ == "__main__":
    main()

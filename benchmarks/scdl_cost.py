# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What SCDL costs: the published formulation, written from the paper's definitions, against ours.

    python -m benchmarks.scdl_cost [--repeats 7] [--threads 2] [--json FILE]

One step is the forward and backward pass of L_sep + 0.1 L_dist + 0.1 L_kl / L, with the encoder in training mode or on
given embeddings. The sides alternate in one process; time is the median over the repeats, with the fastest and slowest.
Memory is the peak of the resident set during the first step at full size, less the resident set before it, in a fresh
process that has done a step at a small size: gradients of the inputs are in it, the inputs are not. It is read from
Linux's /proc (VmHWM, reset through clear_refs: the peak of getrusage remembers the import of torch).

The published module materialises the cosines as [B, C, L, S] and averages them afterwards. Both ways to write that are
measured: "matmul" broadcasts tokens over classes and comes nearest to what the published module itself was measured at
(0.40 s and 418 MB on two cores for 4 x 1,728 tokens, encoder included); "einsum" is the leanest way to hold the tensor.
Without the encoder, no side can need less than the gradient of the embeddings: 7 MB for 4 x 1,728 tokens.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.machine import machine
from scdl_components.losses.cdba import cdba_terms
from scdl_components.proxies import ProxyBank, ProxyOutput, PublishedAssignment

BATCH, CHANNELS, CLASSES, SAMPLES, EMBED_DIM = 4, 16, 14, 50, 256
TOKENS = (1728, 13824)
SIDES = ("matmul", "einsum", "ours")


def similarity_matmul(embeddings: Tensor, samples: Tensor) -> Tensor:
    """Mean cosine [B, L, C] through [B, C, L, S], tokens broadcast over classes."""
    cosines = torch.matmul(embeddings[:, None], samples.transpose(1, 2)[None])
    return cosines.mean(-1).transpose(1, 2)


def similarity_einsum(embeddings: Tensor, samples: Tensor) -> Tensor:
    """Mean cosine [B, L, C] through [B, C, L, S], one product for all classes."""
    return torch.einsum("blz,csz->bcls", embeddings, samples).mean(-1).transpose(1, 2)


def published_encoder(channels: int = CHANNELS) -> nn.Module:
    hidden = 2 * EMBED_DIM
    return nn.Sequential(
        nn.Linear(channels, hidden),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(hidden, EMBED_DIM),
    )


def published_output(bank: ProxyBank, embeddings: Tensor, similarity: Callable) -> ProxyOutput:
    directions = F.normalize(embeddings, dim=-1)
    to_samples = similarity(directions, F.normalize(bank.sample_proxies(), dim=-1))
    return ProxyOutput(embeddings, to_samples, bank.assignment(directions @ F.normalize(bank.mu, dim=-1).T, None))


def our_output(bank: ProxyBank, embeddings: Tensor) -> ProxyOutput:
    to_samples, to_means = bank.similarity(embeddings)
    return ProxyOutput(embeddings, to_samples, bank.assignment(to_means, None))


def build_step(side: str, num_tokens: int, with_encoder: bool) -> Callable[[], None]:
    """A closure that does one forward and backward pass of one side; inputs are made here."""
    torch.manual_seed(0)
    assignment = None if side == "ours" else PublishedAssignment()
    bank = ProxyBank(CHANNELS, CLASSES, EMBED_DIM, SAMPLES, assignment=assignment)
    if side != "ours":
        bank.encoder = published_encoder()
    inputs = torch.randn(BATCH, num_tokens, CHANNELS if with_encoder else EMBED_DIM, requires_grad=True)
    weights = torch.rand(BATCH, num_tokens, CLASSES).softmax(-1)
    similarity = {"matmul": similarity_matmul, "einsum": similarity_einsum}.get(side)

    def step() -> None:
        inputs.grad = None
        bank.zero_grad()
        embeddings = bank.encode(inputs) if with_encoder else inputs
        if similarity is None:
            output = our_output(bank, embeddings)
        else:
            output = published_output(bank, embeddings, similarity)
        terms = cdba_terms(output, weights)
        (terms.separation + 0.1 * terms.distance + 0.1 * terms.agreement).backward()

    return step


def measure_memory(side: str, num_tokens: int, with_encoder: bool) -> float:
    """MB that one step adds to this process's peak; call it in a fresh process."""
    build_step(side, 64, with_encoder)()
    step = build_step(side, num_tokens, with_encoder)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_megabytes("VmRSS")
    step()
    return resident_megabytes("VmHWM") - before


def resident_megabytes(field: str) -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


def measure_memory_in_subprocess(side: str, num_tokens: int, with_encoder: bool, threads: int) -> float:
    case = [side, str(num_tokens), str(int(with_encoder))]
    command = [sys.executable, "-m", "benchmarks.scdl_cost", "--threads", str(threads), "--memory", *case]
    root = Path(__file__).parents[1]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout)


def measure_times(num_tokens: int, with_encoder: bool, repeats: int) -> dict[str, list[float]]:
    """Seconds per step of every side, the sides taking turns; the first, warming round is not counted."""
    steps = {side: build_step(side, num_tokens, with_encoder) for side in SIDES}
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(repeats + 1):
        for side, step in steps.items():
            start = time.perf_counter()
            step()
            times[side].append(time.perf_counter() - start)
    return {side: values[1:] for side, values in times.items()}


def measure(repeats: int, threads: int) -> list[dict]:
    rows = []
    for with_encoder, num_tokens in product((False, True), TOKENS):
        times = measure_times(num_tokens, with_encoder, repeats)
        for side in SIDES:
            memory = [measure_memory_in_subprocess(side, num_tokens, with_encoder, threads) for _ in range(3)]
            rows.append(
                {
                    "encoder": with_encoder,
                    "tokens": num_tokens,
                    "side": side,
                    "seconds": statistics.median(times[side]),
                    "seconds_range": [min(times[side]), max(times[side])],
                    "megabytes": statistics.median(memory),
                    "megabytes_range": [min(memory), max(memory)],
                }
            )
    return rows


def table(rows: list[dict]) -> str:
    lines = [
        "| encoder | tokens | side | time [ms] (min-max) | memory [MB] (min-max) | ours is faster by | ours needs |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    ours = {(row["encoder"], row["tokens"]): row for row in rows if row["side"] == "ours"}
    for row in rows:
        best = ours[row["encoder"], row["tokens"]]
        low, high = (1e3 * seconds for seconds in row["seconds_range"])
        lean, fat = row["megabytes_range"]
        lines.append(
            f"| {'with' if row['encoder'] else 'without'} | {BATCH} x {row['tokens']:,} | {row['side']} "
            f"| {1e3 * row['seconds']:.0f} ({low:.0f}-{high:.0f}) | {row['megabytes']:.0f} ({lean:.0f}-{fat:.0f}) "
            f"| {row['seconds'] / best['seconds']:.1f} x | {100 * best['megabytes'] / row['megabytes']:.0f} % |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--memory", nargs=3, metavar=("SIDE", "TOKENS", "ENCODER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory:
        side, num_tokens, with_encoder = args.memory
        print(measure_memory(side, int(num_tokens), bool(int(with_encoder))))
        return
    rows = measure(args.repeats, args.threads)
    command = f"`python -m benchmarks.scdl_cost --threads {args.threads} --repeats {args.repeats}`"
    print(f"{command}, {machine(gpu=False)}\n\n{table(rows)}")
    if args.json:
        args.json.write_text(json.dumps({"torch": torch.__version__, "threads": args.threads, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

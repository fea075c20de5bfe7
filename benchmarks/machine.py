# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The machine, in the words of a report: ratios differ between processors, too."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import torch


def machine(gpu: bool | None = None) -> str:
    """GPU or processor, number of cores, PyTorch and THP_MEM_ALLOC_ENABLE (benchmarks/README.md).

    Args:
        gpu: whether one was used; None: where there is one, as the bundles do.
    """
    gpu = torch.cuda.is_available() if gpu is None else gpu
    name = f"{torch.cuda.get_device_name() if gpu else processor()}, {os.cpu_count()} cores"
    return f"{name}, PyTorch {torch.__version__}, THP_MEM_ALLOC_ENABLE={os.environ.get('THP_MEM_ALLOC_ENABLE', 0)}"


def processor() -> str:
    """The processor's name and family, as far as the system tells: "AMD EPYC (family 25, model 17)", or "arm64"."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    facts = dict(re.findall(r"^([^\t:]+)\s*: *(.+)$", text, flags=re.MULTILINE))
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    return f"{facts['model name']} (family {facts.get('cpu family')}, model {facts.get('model')})"

# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

# the benchmarks are no installed package: `pytest`, unlike `python -m pytest`, does not look in the current folder
sys.path.append(str(Path(__file__).parents[2]))

# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m scdl_components.data.phantom --output_dir phantom --num_labeled 4 --num_unlabeled 16 ...``"""

from __future__ import annotations

from scdl_components.command import run_command
from scdl_components.data.phantom.write import write_phantoms

if __name__ == "__main__":
    run_command(write_phantoms)

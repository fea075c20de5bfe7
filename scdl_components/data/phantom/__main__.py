# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m scdl_components.data.phantom --output_dir phantom --num_labeled 4 --num_unlabeled 16 ...``"""

from __future__ import annotations

import logging

import fire

from scdl_components.data.phantom.write import write_phantoms

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fire.Fire(write_phantoms)

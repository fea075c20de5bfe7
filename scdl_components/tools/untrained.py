# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A file in place of weights, so that MONAI Label offers a first training.

monai-scdl untrained --bundle label_app/monaibundle/model/scdl_synapse
"""

from pathlib import Path

import torch

from ..atomic import save_atomically
from ..errors import InputError
from ..networks.weights import UNTRAINED


def untrained(bundle: str = ".") -> None:
    """Write a ``models/model.pt`` that stands for weights until a training replaces it; it holds none.

    Args:
        bundle: folder of the bundle.

    Raises:
        InputError: it is no bundle, or has a ``model.pt``.
    """
    path = Path(bundle, "models", "model.pt")
    if not Path(bundle, "configs", "metadata.json").is_file():
        raise InputError(f"'{bundle}' is no bundle: it has no configs/metadata.json")
    if path.exists():
        raise InputError(f"'{path}' is there already: to train anew, move it to another folder first")
    save_atomically({UNTRAINED: torch.tensor(True)}, path, way_out="Make room, or make the folder writable")
    print(f"{path} stands for weights until the first training")

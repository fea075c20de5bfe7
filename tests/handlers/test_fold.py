# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import torch
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator
from torch import nn

from scdl_components.handlers import FoldedBatchNorm


def test_every_case_is_segmented_by_one_folded_network():
    network = nn.Sequential(nn.Conv1d(1, 2, 1), nn.BatchNorm1d(2)).eval()
    loader = DataLoader([{"image": torch.rand(1, 4)}], batch_size=1)
    evaluator = SupervisedEvaluator("cpu", loader, network, val_handlers=[FoldedBatchNorm(network)], decollate=False)
    used, outputs = [], []
    for _ in range(2):  # as CaseByCase does it
        evaluator.run()
        used.append(evaluator.network)
        outputs.append(evaluator.state.output["pred"])
    assert used[0] is used[1] is not network
    assert isinstance(used[0][1], nn.Identity) and isinstance(network[1], nn.BatchNorm1d)
    expected = network(evaluator.state.output["image"])
    torch.testing.assert_close(outputs, [expected, expected])

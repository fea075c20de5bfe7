# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Cases: lists, checks, images and two-stream loading."""

from .case_list import load_cases
from .dataset import CaseDataset, label_counts
from .input_check import InputCheck
from .inputs import list_images
from .reader import VolumeReader
from .two_stream import TwoStreamLoader
from .unlabeled import unlabeled_stream

__all__ = [
    "CaseDataset",
    "InputCheck",
    "TwoStreamLoader",
    "VolumeReader",
    "label_counts",
    "list_images",
    "load_cases",
    "unlabeled_stream",
]

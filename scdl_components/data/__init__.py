# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Cases: lists, checks, images and two-stream loading."""

from .cache import PersistentCacheDataset
from .case_list import load_cases
from .faults import FaultTolerantCacheDataset
from .input_check import InputCheck
from .inputs import list_images
from .reader import VolumeReader
from .two_stream import TwoStreamLoader
from .unlabeled import unlabeled_stream

__all__ = [
    "FaultTolerantCacheDataset",
    "InputCheck",
    "PersistentCacheDataset",
    "TwoStreamLoader",
    "VolumeReader",
    "list_images",
    "load_cases",
    "unlabeled_stream",
]

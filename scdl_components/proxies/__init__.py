# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Class distributions in embedding space, and the assignments between them and the tokens."""

from .assignments import Assigned, BidirectionalAssignment, PublishedAssignment
from .bank import PRIORS, ProxyBank, ProxyOutput

__all__ = ["Assigned", "BidirectionalAssignment", "PRIORS", "ProxyBank", "ProxyOutput", "PublishedAssignment"]

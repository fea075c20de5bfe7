# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Class distributions in embedding space, the tokens they are compared with, and the assignments between both."""

from .assignments import Assigned, BidirectionalAssignment, PublishedAssignment
from .bank import ProxyBank, ProxyOutput
from .tokens import Tokens, pool_labels, pool_tokens, token_grid, token_mask, tokenize

__all__ = [
    "Assigned",
    "BidirectionalAssignment",
    "ProxyBank",
    "ProxyOutput",
    "PublishedAssignment",
    "Tokens",
    "pool_labels",
    "pool_tokens",
    "token_grid",
    "token_mask",
    "tokenize",
]

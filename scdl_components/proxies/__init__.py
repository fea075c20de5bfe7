# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Class distributions in an embedding space."""

from .bank import PRIORS, ProxyBank, ProxyOutput

__all__ = ["PRIORS", "ProxyBank", "ProxyOutput"]

# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Parts that the SCDL bundles' configs refer to: networks, proxies, losses, engines, handlers and data."""

__version__ = "0.1.0"

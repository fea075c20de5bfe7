# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Parts that the SCDL bundles' configs refer to: networks, proxies, losses, engines, handlers and data."""

from importlib import import_module

__version__ = "0.2.0"

# imported when they are asked for, so that a config loads no more than it names
_MODULES = {
    "CDBALoss": "losses",
    "GACELoss": "losses",
    "GADiceLoss": "losses",
    "SACLoss": "losses",
    "SCDLLoss": "losses",
    "ProxyBank": "proxies",
    "DualStudent": "networks",
    "VNet": "networks",
}
__all__ = [*_MODULES]


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)

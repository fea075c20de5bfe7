# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The functions behind ``monai-scdl <verb>``; no other part of the package imports them."""

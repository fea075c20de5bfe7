# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What is measured and proved on a GPU within ten minutes (docs/gpus.md)."""

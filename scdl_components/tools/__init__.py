# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What people run by hand: ``monai-scdl <verb>``. Nothing imports it."""

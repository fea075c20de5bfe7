# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Does SCDL help the small organs? Methods × seeds × labeled fractions, through the bundle's configs."""

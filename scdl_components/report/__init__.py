# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What a person looks at: evaluation reports, comparisons, pictures."""

# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from scdl_components.errors import InputError, causes


def test_causes_that_come_back_to_themselves_end():
    found, wrapper = InputError("damaged"), RuntimeError("applying transform")
    found.__context__, wrapper.__cause__ = wrapper, found  # raised again while the wrapper is handled
    assert list(causes(wrapper)) == [wrapper, found]

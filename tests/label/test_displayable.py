# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Options in the panels of MONAI Label's clients: displayable_configs, read and replaced as MONAI Label does it."""

import pytest
from monai.bundle import ConfigParser
from support.runner import BUNDLES

BUNDLE = BUNDLES / "scdl_synapse"


@pytest.mark.parametrize(
    ("config", "chosen", "user"),
    [
        ("train", {"learning_rate": 0.5}, {"optimizer#lr": 0.5}),
        ("inference", {"overlap": 0.1, "sw_batch_size": 7}, {"inferer#overlap": 0.1, "inferer#sw_batch_size": 7}),
    ],
)
def test_what_is_chosen_is_used(config, chosen, user):
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / f"{config}.yaml")
    for key in chosen:  # the panel shows the config's own value, that of the command line or of an overlay
        parser[key] = 0.25
    assert parser.get_parsed_content("displayable_configs") == dict.fromkeys(chosen, 0.25)
    parser["displayable_configs"].update(chosen)
    parser.parse()
    assert {key: parser.get_parsed_content(key) for key in user} == user

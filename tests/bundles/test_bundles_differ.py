# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The bundles are one: what differs is named here, and nothing else does."""

import json
from pathlib import Path

import pytest
from support.runner import BUNDLES

SYNAPSE, AMOS = BUNDLES / "scdl_synapse", BUNDLES / "scdl_amos"
MADE_BY_RUNS = {"models", "eval", "data"}
PRED = "network_data_format", "outputs", "pred"


def files(bundle: Path) -> set[str]:
    """Files of a bundle as it is shared, case lists aside, which are the dataset's."""
    parts = [path.relative_to(bundle).parts for path in bundle.rglob("*") if path.is_file()]
    return {"/".join(names) for names in parts if names[0] not in MADE_BY_RUNS and "case_lists" not in names}


SHARED = sorted(files(SYNAPSE) - {"configs/metadata.json", "docs/README.md", "docs/data_license.txt"})


def test_both_hold_the_same_files():
    assert files(SYNAPSE) == files(AMOS)
    assert {"LICENSE", "configs/train.yaml", "configs/published.yaml", "configs/logging.conf"} <= set(SHARED)


@pytest.mark.parametrize("name", SHARED)
def test_all_but_the_datasets_own_is_the_same_to_the_byte(name):
    assert (SYNAPSE / name).read_bytes() == (AMOS / name).read_bytes(), f"{name}: run `make sync` after a change"


def test_metadata_differ_in_the_datasets_facts_alone():
    ours, theirs = (json.loads((bundle / "configs" / "metadata.json").read_text()) for bundle in (SYNAPSE, AMOS))
    facts = {"name", "task", "data_source", "label_classes", "pred_classes", "references", "dataset"}
    for content in (ours, theirs):
        pred = content
        for key in PRED:
            pred = pred[key]
        assert len(pred.pop("channel_def")) == pred.pop("num_channels")
    assert list(ours) == list(theirs) and ours["dataset"].keys() == theirs["dataset"].keys()
    assert {key for key in ours if ours[key] != theirs[key]} == facts

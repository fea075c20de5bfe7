# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The bundles are one: what differs is named here, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from support.runner import BUNDLES

SYNAPSE, AMOS = BUNDLES / "scdl_synapse", BUNDLES / "scdl_amos"
MADE_BY_RUNS = {"models", "eval", "data"}
OUTPUT = "network_data_format#outputs#pred#"
# all in which a config may differ, and does; keys of nested objects joined by #
DATASET_FACTS = {
    "train.yaml": {"case_list", "labeled_percent", "layouts", "other_modalities", "where_to_get"},
    "metadata.json": {
        *("name", "task", "data_source", "label_classes", "pred_classes", "references"),
        *(f"{OUTPUT}num_channels", f"{OUTPUT}channel_def"),
    },
}
# the part of train.yaml that holds its facts
BLOCK = "# --- data set\n", "# --- cases\n"
CONFIGS = sorted(path.name for path in (SYNAPSE / "configs").iterdir() if path.suffix in (".yaml", ".json"))
TEXTS = sorted(path.name for path in (SYNAPSE / "configs").iterdir() if path.suffix in (".yaml", ".conf"))


def files(bundle: Path) -> set[str]:
    """Files of a bundle as it is shared, case lists aside, which are the data set's."""
    parts = [path.relative_to(bundle).parts for path in bundle.rglob("*") if path.is_file()]
    return {"/".join(names) for names in parts if names[0] not in MADE_BY_RUNS and "case_lists" not in names}


def leaves(content: object, facts: set[str], prefix: str = "") -> dict[str, object]:
    """Values by their path of keys; facts are not taken apart."""
    if isinstance(content, dict) and content and prefix not in facts:
        found = {}
        for key, value in content.items():
            found |= leaves(value, facts, f"{prefix}#{key}" if prefix else str(key))
        return found
    return {prefix: content}


def load(path: Path) -> object:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)


def outside_block(text: str) -> str:
    if BLOCK[0] not in text:
        return text
    start, end = (text.index(line) for line in BLOCK)
    return text[:start] + text[end:]


def test_both_hold_the_same_files():
    assert files(SYNAPSE) == files(AMOS)
    assert {"LICENSE", "configs/train.yaml", "docs/README.md", "docs/data_license.txt"} <= files(AMOS)


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_differ_in_the_named_facts_only(name):
    facts = DATASET_FACTS.get(name, set())
    ours, theirs = (leaves(load(bundle / "configs" / name), facts) for bundle in (SYNAPSE, AMOS))
    assert list(ours) == list(theirs)
    assert {key for key in ours if ours[key] != theirs[key]} == facts


@pytest.mark.parametrize("name", TEXTS)
def test_text_and_comments_differ_in_the_bundles_name_only(name):
    """A change of one bundle's config belongs into the other's, too."""
    ours, theirs = ((bundle / "configs" / name).read_text(encoding="utf-8") for bundle in (SYNAPSE, AMOS))
    assert outside_block(theirs).replace("scdl_amos", "scdl_synapse") == outside_block(ours), (
        f"configs/{name}: bring what was changed in one bundle into the other; only the part of train.yaml between "
        f"{BLOCK[0]!r} and {BLOCK[1]!r} is a bundle's own"
    )


@pytest.mark.parametrize("name", ["LICENSE", "configs/logging.conf"])
def test_licence_and_logging_are_the_same_to_the_byte(name):
    assert (SYNAPSE / name).read_bytes() == (AMOS / name).read_bytes()

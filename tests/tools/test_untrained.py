# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader

from scdl_components.errors import InputError
from scdl_components.networks import DualStudent, VNet
from scdl_components.networks.weights import WeightsError, load_weights
from scdl_components.tools.untrained import untrained


@pytest.fixture
def model(tmp_path) -> Path:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").touch()
    untrained(str(tmp_path))
    return tmp_path / "models" / "model.pt"


def load_as_monai_label(path: Path, network: DualStudent) -> None:
    """What MONAI Label 0.8.5 puts before a training's handlers, and does itself before inference."""
    engine = Engine(lambda engine, batch: None)
    CheckpointLoader(str(path), {"model": network}, strict=False).attach(engine)
    engine.run([0])


def test_a_training_by_monai_label_starts_as_without_weights(model):
    network = DualStudent(VNet(1, 3, 2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_as_monai_label(model, network)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)


def test_nothing_else_takes_them_for_weights(model):
    with pytest.raises(WeightsError, match="the file holds no weights yet: train first"):
        load_as_monai_label(model, DualStudent(VNet(1, 3, 2), trained=True))
    # inference, the key weights of a training, the build of zips
    with pytest.raises(WeightsError, match="model.pt holds no weights yet: train first"):
        load_weights(str(model), DualStudent(VNet(1, 3, 2)))


def test_weights_of_another_network_are_refused_whatever_monai_label_allows(tmp_path):
    torch.save(DualStudent(VNet(1, 3, 4)).state_dict(), tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"another network: students.0.*--num_filters"):
        load_as_monai_label(tmp_path / "model.pt", DualStudent(VNet(1, 3, 2)))


def test_weights_there_are_kept(model, tmp_path):
    content = model.read_bytes()
    with pytest.raises(InputError, match="is there already"):
        untrained(str(tmp_path))
    assert model.read_bytes() == content
    with pytest.raises(InputError, match="is no bundle"):
        untrained(str(tmp_path / "configs"))

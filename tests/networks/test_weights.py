# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from scdl_components.networks import DualStudent
from scdl_components.networks.weights import WeightsError, load_weights


def network(num_students: int = 2, **kwargs) -> DualStudent:
    student = torch.nn.Sequential(torch.nn.Conv3d(1, 3, 3), torch.nn.BatchNorm3d(3))
    return DualStudent(student, [torch.nn.init.kaiming_normal_] * num_students, **kwargs)


@pytest.mark.parametrize("wrap", [dict, lambda s: {"model": s, "epoch": 2}, lambda s: {**s, "epoch": 2}])
@pytest.mark.parametrize("active", [None, [1]])
def test_loads_what_trainings_save_whichever_students_run(tmp_path, wrap, active):
    saved, loaded = network(), network(active=active)
    torch.save(wrap(saved.state_dict()), tmp_path / "model.pt")
    load_weights(str(tmp_path / "model.pt"), loaded)
    for name, value in saved.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)


@pytest.mark.parametrize(
    "content, match",
    [
        (network(1).state_dict(), "students.1.0.* is missing.*--network_def#initializers"),
        (network(3).state_dict(), "students.2.0.* is not expected"),
        (network().students[0].state_dict(), "monai-scdl convert"),
        (torch.zeros(2), "holds weights of another network: students.0.* is missing"),
        ({"model": torch.zeros(2)}, "model is not expected|students.0.* is missing"),
    ],
)
def test_other_weights_are_refused(tmp_path, content, match):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=match):
        load_weights(str(tmp_path / "model.pt"), network())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_damaged_wherever_it_ends(tmp_path, zipped):
    whole, path = tmp_path / "whole.pt", tmp_path / "model.pt"
    torch.save(network().state_dict(), whole, _use_new_zipfile_serialization=zipped)
    content = whole.read_bytes()
    for length in [0, 1, *range(2, len(content), len(content) // 50), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match="damaged.*name another file with --weights"):
            load_weights(str(path), network())

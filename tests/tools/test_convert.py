# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The published V-Net's weights of tests/reference, as the authors' checkpoint pair may hold them."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.runner import BUNDLES

from scdl_components.errors import InputError, MissingFileError
from scdl_components.networks import DualStudent, VNet
from scdl_components.networks.weights import WeightsError, load_weights
from scdl_components.tools.convert import convert

REFERENCE = np.load(Path(__file__).parents[1] / "reference" / "vnet.npz")
METADATA = str(BUNDLES / "scdl_synapse" / "configs" / "metadata.json")


def published(case: str = "batchnorm") -> dict[str, torch.Tensor]:
    prefix = f"{case}/state/"
    return {k.removeprefix(prefix): torch.from_numpy(REFERENCE[k]) for k in REFERENCE.files if k.startswith(prefix)}


def other_student() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return VNet(1, 14, num_filters=1).state_dict()


@pytest.fixture
def pair(tmp_path) -> dict[str, str]:
    """Arguments of a conversion that works."""
    torch.save(published(), tmp_path / "best_A.pth")
    torch.save(other_student(), tmp_path / "best_B.pth")
    return {
        "student_a": str(tmp_path / "best_A.pth"),
        "student_b": str(tmp_path / "best_B.pth"),
        "output": str(tmp_path / "models" / "model.pt"),
        "metadata": METADATA,
    }


def bare(state):
    return state


def parallel(state):
    return {f"module.{name}": value for name, value in state.items()}


def wrapped(state):
    return {"state_dict": state, "epoch": 3}


def wrapped_parallel(state):
    return wrapped(parallel(state))


def without_counters(state):
    return {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}


def more_counters(state):
    return {**state, "block_one.norm.num_batches_tracked": torch.tensor(7)}


@pytest.mark.parametrize("form", [bare, parallel, wrapped, wrapped_parallel, without_counters, more_counters])
def test_the_converted_pair_gives_the_mean_of_the_published_logits(pair, form):
    torch.save(form(published()), pair["student_a"])
    assert "two students, num_filters 1, 14 classes" in convert(**pair)
    network = DualStudent(VNet(1, 14, num_filters=1))
    load_weights(pair["output"], network)
    network.double().eval()
    x, logits = (torch.from_numpy(REFERENCE[f"batchnorm/{name}"]).double() for name in ("x", "logits"))
    second = VNet(1, 14, num_filters=1)
    second.load_state_dict(other_student())
    with torch.no_grad():
        torch.testing.assert_close(network.students[0](x), logits, rtol=0, atol=1e-6)
        torch.testing.assert_close(network(x), (logits + second.double().eval()(x)) / 2, rtol=0, atol=1e-6)


def command(pair: dict[str, str], *keys: str, **kwargs) -> subprocess.CompletedProcess:
    """The command with these of the pair's arguments."""
    words = [f"--{key}={pair[key]}" for key in keys]
    module = [sys.executable, "-m", "scdl_components", "convert"]
    return subprocess.run([*module, *words], capture_output=True, text=True, **kwargs)


def test_the_command_finds_the_bundles_metadata(pair, tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text(Path(METADATA).read_text())
    pair["output"] = "models/model.pt"
    result = command(pair, "student_a", "student_b", "output", cwd=tmp_path, check=True)
    assert result.stdout.startswith(
        "models/model.pt: two students, num_filters 1, 14 classes\nsegment with: python -m "
    )
    config = tmp_path / "configs" / "inference.yaml"
    assert f"--config_file '[\"{config}\"]' --weights models/model.pt --num_filters 1 --overlap" in result.stdout
    assert os.listdir(tmp_path / "models") == ["model.pt"]


def refuse(pair: dict[str, str], error: type[Exception], match: str, **changed: str) -> None:
    """The conversion ends with this error, and what was there before is untouched and alone."""
    output = Path(pair["output"])
    output.parent.mkdir(exist_ok=True)
    output.write_bytes(b"earlier weights")
    with pytest.raises(error, match=match):
        convert(**{**pair, **changed})
    assert output.read_bytes() == b"earlier weights" and os.listdir(output.parent) == [output.name]


@pytest.mark.parametrize(
    "content, match",
    [
        ({"epoch": 3}, "no state dict of the published V-Net.*found no tensors"),
        (torch.zeros(3), "no state dict.*found no tensors"),
        ({"model": torch.zeros(2, 2)}, r"no state dict.*found model \(2, 2\)"),
        ({k: v for k, v in published().items() if "block_six" not in k}, "block_six.conv.0.weight is missing.*more"),
        ({**published(), "scdl.proxies": torch.zeros(2)}, "scdl.proxies is not expected"),
        ({**published(), "block_two.conv.0.bias": torch.zeros(3)}, r"block_two.conv.0.bias is \(3,\), not \(2,\)"),
        (published("none"), r"V-Net with batch norm.*block_three.conv.4.weight is \(4, 4, 3, 3, 3\), not \(4,\)"),
        (VNet(1, 14, num_filters=1, spatial_dims=2).state_dict(), "expected .* of five dimensions"),
        (VNet(1, 16, num_filters=1).state_dict(), "best_B.pth has 16 classes; .* has 14 .background, spleen"),
        (VNet(1, 14, num_filters=2).state_dict(), "are no pair: 1 and 2 filters"),
    ],
)
def test_another_network_is_refused(pair, content, match):
    torch.save(content, pair["student_b"])
    refuse(pair, WeightsError, match)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(pair, zipped, part):
    path = Path(pair["student_b"])
    torch.save(other_student(), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    refuse(pair, WeightsError, "best_B.pth is no file of weights.*damaged.*download it again")


def test_a_pickle_that_runs_code_is_refused(pair, tmp_path):
    class Malicious:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    torch.save({"state_dict": Malicious()}, pair["student_b"])
    refuse(pair, WeightsError, "holds more than tensors")
    assert not (tmp_path / "owned").exists()


def test_arguments_that_cannot_be_meant_are_refused(pair, tmp_path):
    refuse(pair, InputError, "hold the same weights", student_b=pair["student_a"])
    refuse(pair, InputError, "name a file in it", output=str(tmp_path))
    refuse(pair, MissingFileError, "no metadata at .*--metadata", metadata=str(tmp_path / "none.json"))


def test_a_write_that_fails_leaves_the_earlier_file_and_tells(pair):
    """A process that may write 20 kB to a file: less than is to be written."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

    output = Path(pair["output"])
    output.parent.mkdir()
    output.write_bytes(b"earlier weights")
    result = command(pair, *pair, preexec_fn=limit)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert result.stderr.strip().startswith(f"StorageError: cannot write {output}"), result.stderr
    assert output.read_bytes() == b"earlier weights" and os.listdir(output.parent) == [output.name]

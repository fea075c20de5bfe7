# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Training by two processes on a CPU (gloo), started by torchrun and MONAI's runner, as multi_gpu_train.yaml says."""

import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from support.runner import copy_bundle
from support.training import Training, curves

from scdl_components.phantom import write_phantoms

pytestmark = pytest.mark.slow
# float64, for a difference of rounding grows a hundredfold in each iteration of a network so small
PRECISE = """
+initialize:
- $torch.set_default_dtype(torch.float64)
train#trainer#to_kwargs: {dtype: $torch.float64}
validate#evaluator#to_kwargs: {dtype: $torch.float64}
student#norm: [group, {num_groups: 1}]  # not over the batch: torch synchronises batch norm on a GPU alone
proxy_bank#dropout: 0
"""
SCALE = {"max_iterations": 10, "val_interval": 5}


class TrainingByMany(Training):
    """A training by so many processes.

    Args:
        folder: where its bundle is, or is copied to.
        data: phantoms; None leaves them to an overlay.
        num_processes: 1 runs without torchrun and without the overlay.
        overlays: further configs of the bundle.
        overrides: keys of the config.
    """

    def __init__(
        self, folder: Path, data: Path | None, num_processes: int = 2, overlays: Sequence[str] = (), **overrides: object
    ) -> None:
        bundle = folder / "scdl_synapse" if (folder / "scdl_synapse").exists() else copy_bundle(folder)
        (folder / "precise.yaml").write_text(PRECISE)
        names = [*["train", "multi_gpu_train"][: 1 + (num_processes > 1)], *overlays]
        configs = [bundle / "configs" / f"{name}.yaml" for name in names] + [folder / "precise.yaml"]
        launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(num_processes)]
        launcher += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]  # a free port
        super().__init__(bundle, data, configs, launcher if num_processes > 1 else (), **SCALE | overrides)

    def hangs(self) -> str:
        for pid in self.ranks().values():
            os.kill(pid, signal.SIGKILL)
        return super().hangs()

    def ranks(self) -> dict[int, int]:
        """Process id of each rank."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        environments = {int(pid): Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in children}
        found = {pid: [int(v[5:]) for v in values if v.startswith(b"RANK=")] for pid, values in environments.items()}
        return {rank: pid for pid, numbers in found.items() for rank in numbers}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """2 labeled, 4 unlabeled and 3 validation phantoms: two for one process, one for the other."""
    return Path(write_phantoms(tmp_path_factory.mktemp("data") / "phantom", 2, 4, 3, 0, seed=7, spacing=(8.0,) * 3))


@pytest.fixture(scope="module")
def by_two(tmp_path_factory, data) -> TrainingByMany:
    training = TrainingByMany(tmp_path_factory.mktemp("two"), data)
    assert training.status() == 0, training.log[-6000:]
    return training


@pytest.fixture(scope="module")
def by_one(tmp_path_factory, data) -> TrainingByMany:
    training = TrainingByMany(tmp_path_factory.mktemp("one"), data, num_processes=1)
    assert training.status() == 0, training.log[-6000:]
    return training


def assert_the_same(by_one: TrainingByMany, by_two: TrainingByMany) -> str:
    """Weights and what is counted after ten iterations, all losses, and what is validated; the largest difference."""
    one, two = (training.saved("checkpoint_10.pt") for training in (by_one, by_two))
    start = by_one.saved("checkpoint_5.pt")
    for part in ("model", "loss"):
        assert list(one[part]) == list(two[part])
        for name, weights in one[part].items():
            torch.testing.assert_close(two[part][name], weights, rtol=0, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
        # what a tolerance would miss that is larger than what training does
        moved = {name: (weights - start[part][name]).abs().max() for name, weights in one[part].items()}
        assert all(moved[name] > 1e-6 for name in moved if not name.endswith(("embedding_sigma", "bias")))
    apart = [(two[part][name] - one[part][name]).abs().max() for part in ("model", "loss") for name in one[part]]
    ours, theirs = curves(by_one.bundle), curves(by_two.bundle)
    assert ours.keys() == theirs.keys() and {"val_mean_dice", "val_dice/liver", "scdl/sac", "loss"} <= ours.keys()
    for tag in ours:
        assert theirs[tag] == pytest.approx(ours[tag], rel=1e-4, abs=1e-6), tag
    return f"{max(apart):.1e}"


def test_two_processes_train_what_one_does(by_one, by_two, record_property):
    record_property("largest difference of a weight", assert_the_same(by_one, by_two))


IN_GROUPS = {"host#_target_": "support.magicnet.InTwoGroups"}  # of volumes, as cubes are exchanged in two processes
ONE_STUDENT = {"network_def#initializers": "['$torch.nn.init.kaiming_normal_']", "roi_size": "[64,32,32]"}
BLENDING = {"host#blend_after": 3, "host#history": 2, "host#location_channels": 16, "voxels_per_token": 8}


@pytest.mark.parametrize(("host", "keys", "of_one"), [("dhc", {}, {}), ("magicnet", ONE_STUDENT | BLENDING, IN_GROUPS)])
def test_two_processes_with_another_host_are_killed_go_on_and_are_one(
    tmp_path, data, monkeypatch, host, keys, of_one, record_property
):
    """Class weights, teacher, location head and counters, too."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]) + os.pathsep + os.environ.get("PYTHONPATH", ""))
    one = TrainingByMany(tmp_path / "one", data, 1, [host], **keys, **of_one)
    assert one.status() == 0, one.log[-6000:]
    killed = TrainingByMany(tmp_path / "two", data, overlays=[host], **keys)
    assert killed.wait_for((killed.models / "checkpoint_5.pt").exists) and killed.shows(" 6/10 ")
    os.kill(killed.ranks()[1], signal.SIGKILL)
    assert killed.status(timeout=60) != 0
    two = TrainingByMany(tmp_path / "two", data, overlays=[host], **keys)
    assert two.status() == 0, two.log[-6000:]
    assert "goes on at iteration 5" in two.log
    record_property(f"largest difference of a weight, {host}", assert_the_same(one, two))


def test_one_process_writes_and_keys_of_weights_are_the_same(by_one, by_two):
    names = [sorted(p.name for p in (t.bundle / "models").iterdir()) for t in (by_one, by_two)]
    assert names[0] == names[1] == ["checkpoint_10.pt", "checkpoint_5.pt", "model.pt", "model_final.pt"]
    assert len(list((by_two.bundle / "eval").iterdir())) == 1
    assert list(by_one.saved("model.pt")) == list(by_two.saved("model.pt"))
    assert by_two.log.count("checking input: 100%") == by_one.log.count("checking input: 100%") >= 1


def test_a_killed_process_ends_the_other_and_training_goes_on_exactly(tmp_path, data, by_two, record_property):
    training = TrainingByMany(tmp_path, data)
    assert training.wait_for((training.models / "checkpoint_5.pt").exists)
    assert training.shows(" 6/10 ")
    os.kill(training.ranks()[1], signal.SIGKILL)
    killed = time.monotonic()
    assert training.status(timeout=60) != 0
    record_property("seconds from the kill to the end of all", round(time.monotonic() - killed, 1))
    assert "UserError: process 0 ends because another one" in training.log
    assert "run the same command again" in training.log
    resumed = TrainingByMany(tmp_path, data)
    assert resumed.status() == 0, resumed.log[-6000:]
    assert "goes on at iteration 5" in resumed.log
    for name in ("model_final.pt", "model.pt"):
        ours, theirs = resumed.saved(name), by_two.saved(name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name
    assert curves(resumed.bundle) == curves(by_two.bundle)


def test_a_signal_is_agreed_on_saved_and_another_number_of_processes_goes_on(tmp_path, data, by_one):
    """SIGTERM to torchrun, which passes it on; the checkpoint of two processes is gone on from by one."""
    training = TrainingByMany(tmp_path, data, val_interval=100)
    assert training.shows(" 4/10 ")
    training.process.terminate()
    assert training.status(timeout=60) != 0
    assert "SIGTERM: saved in" in training.log
    (saved,) = (training.bundle / "models").iterdir()
    assert saved.name in {f"checkpoint_{i}.pt" for i in range(4, 10)}
    resumed = TrainingByMany(tmp_path, data, num_processes=1)
    assert resumed.status() == 0, resumed.log[-6000:]
    ours, theirs = resumed.saved("model_final.pt"), by_one.saved("model_final.pt")
    assert max((ours[key] - theirs[key]).abs().max() for key in theirs) < 1e-5


def test_what_is_wrong_is_told_once(tmp_path, data):
    """A file that the first process finds damaged; sizes that cannot be shared."""
    training = TrainingByMany(tmp_path, data, labeled_batch_size=3)
    assert training.status(timeout=120) != 0
    assert "labeled_batch_size=3 cannot be shared by 2 processes" in training.log
    training = TrainingByMany(tmp_path, data, case_list="nowhere.json")
    assert training.status(timeout=120) != 0
    assert training.log.count("CaseListError:") == 1 and "nowhere.json" in training.log
    assert "UserError" not in training.log and "monai/bundle" not in training.log[training.log.index("CaseListError") :]


def test_a_labeled_file_that_vanishes_ends_all(tmp_path, data):
    """Whichever process meets it names it, and the other one does not wait for it."""
    copied = shutil.copytree(data, tmp_path / "data")
    training = TrainingByMany(tmp_path, copied, max_iterations=60, val_interval=100, cache_rate=0.0, cache_dir=False)
    assert training.shows(" 2/60 ")
    (copied / "img" / "img0001.nii.gz").unlink()
    assert training.status(timeout=60) != 0
    assert f"InputError: the labeled case {copied}/img/img0001.nii.gz" in training.log
    assert " 60/60 " not in training.log


def test_phantoms_are_written_once_and_supervised_training_alone_works(tmp_path):
    training = TrainingByMany(
        tmp_path,
        data=None,
        overlays=["supervised", "phantom"],
        max_iterations=2,
        **{"dataset_dir#num_labeled": 2, "dataset_dir#num_unlabeled": 0, "dataset_dir#num_test": 0},
        **{"dataset_dir#num_validation": 1, "dataset_dir#spacing": [9, 9, 9]},
    )
    assert training.status() == 0, training.log[-6000:]
    assert training.log.count("phantom: wrote 3 cases") == 1
    assert (training.bundle / "models" / "model.pt").is_file()


def test_batch_norm_is_synchronised_by_key(tmp_path):
    """The conversion alone: torch runs it on a GPU."""
    from monai.bundle import ConfigParser

    configs = copy_bundle(tmp_path) / "configs"
    for sync, kind in ((True, torch.nn.SyncBatchNorm), (False, torch.nn.BatchNorm3d)):
        parser = ConfigParser()
        parser.read_config([configs / "train.yaml", configs / "multi_gpu_train.yaml"])
        parser.update({"bundle_root": str(configs.parent), "sync_batch_norm": sync, "num_filters": 2, "device": "cpu"})
        network = parser.get_parsed_content("network")
        norms = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
        assert norms and all(type(norm) is kind for norm in norms)

# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Trainings that are killed, stopped, run out of disk or lose their data: real processes, real signals, real files."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from support.runner import copy_bundle
from support.training import Training, curves

NUM_KILLS = 20


def parts(training: Training, since: float = 0.0) -> list[Path]:
    """Files in the making, or left there by a kill since then."""
    found = []
    for path in training.models.glob("*.pt.part"):
        with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
            found += [path] if path.stat().st_mtime > since else []
    return found


def tensors(content: object, prefix: str = "") -> dict[str, object]:
    """Leaves of a nested state by path."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else None
    if items is None:
        return {prefix: content}
    return {name: leaf for key, value in items for name, leaf in tensors(value, f"{prefix}/{key}").items()}


def assert_same_result(one: Path, other: Path) -> None:
    """Every weight file, the last checkpoint and all curves are the same, to the bit."""
    names = ["model.pt", "model_final.pt", max((one / "models").glob("checkpoint_*.pt"), key=os.path.getmtime).name]
    for name in names:
        ours, theirs = (tensors(torch.load(b / "models" / name, weights_only=True)) for b in (one, other))
        assert list(ours) == list(theirs)
        for key, value in ours.items():
            same = torch.equal(value, theirs[key]) if isinstance(value, torch.Tensor) else value == theirs[key]
            assert same, (name, key)
    assert curves(one) == curves(other)


@pytest.fixture
def bundle(tmp_path) -> Path:
    return copy_bundle(tmp_path / "bundle")


@pytest.mark.slow
def test_twenty_kills_change_nothing(tmp_path, phantoms, record_property):
    """SIGKILL while starting, while training and while a file is being written; then the run is left to its end."""
    scale = {"max_iterations": 80, "val_interval": 2, "num_workers": 2, "num_filters": 4, "cache_rate": 0.5}
    undisturbed, bundle = copy_bundle(tmp_path / "undisturbed"), copy_bundle(tmp_path / "killed")
    Training(undisturbed, phantoms, **scale).status(0)
    chance = random.Random(0)
    while_writing = 0
    for number in range(NUM_KILLS):
        started = time.time()
        training = Training(bundle, phantoms, **scale)
        moment = ("starting", "training", "writing", "writing")[number % 4]
        if moment == "starting":
            time.sleep(chance.uniform(0, 6))
        elif moment == "training":
            done = max((int(path.stem[11:]) for path in (bundle / "models").glob("checkpoint_*.pt")), default=0)
            training.shows(f" {done + chance.randint(0, 3)}/80 ")
            time.sleep(chance.uniform(0, 0.5))
        else:
            for _ in range(chance.randint(0, 3)):  # that many files of checkpoints and best weights are let pass
                training.wait_for(lambda: parts(training, started), pause=0)
                training.wait_for(lambda: not parts(training, started), pause=0)
            training.wait_for(lambda: parts(training, started), pause=0)
        training.process.kill()
        status = training.status()
        assert status == -signal.SIGKILL, f"ended by itself before kill {number}:\n{training.log[-2000:]}"
        while_writing += bool(parts(training, started))
    training = Training(bundle, phantoms, **scale)
    training.status(0)
    assert while_writing >= 3
    record_property("kills survived", NUM_KILLS)
    record_property("of them while a file was being written", while_writing)
    assert_same_result(undisturbed, bundle)
    assert not parts(training)


@pytest.mark.parametrize(
    "number, expected", [pytest.param(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_saves_first_and_training_goes_on_from_there(bundle, phantoms, number, expected):
    """Sent to the whole group, as a terminal and a cluster's scheduler do; the interval would not have saved."""
    scale = {"max_iterations": 30, "val_interval": 100, "num_workers": 1}
    training = Training(bundle, phantoms, **scale)
    assert training.shows(" 4/30 "), training.log[-4000:]
    os.killpg(training.process.pid, number)
    training.status(expected)
    assert f"{number.name}: saved in" in training.log and "Traceback" not in training.log
    (saved,) = training.models.iterdir()
    done = int(saved.stem.removeprefix("checkpoint_"))
    assert 4 <= done < 30
    resumed = Training(bundle, phantoms, **scale)
    assert resumed.shows(f"goes on at iteration {done}"), resumed.log[-4000:]
    assert resumed.shows(f" {done + 1}/30 "), resumed.log[-4000:]
    resumed.process.kill()
    resumed.status()
    assert set(range(1, done + 1)) <= curves(bundle)["loss"].keys()


@pytest.mark.slow
def test_a_validation_that_was_cut_short_is_made_up_for(bundle, phantoms, tmp_path):
    # an iteration of some tenths of a second on any machine
    scale = {"max_iterations": 6, "val_interval": 3, "num_workers": 0, "num_filters": 8}
    undisturbed = copy_bundle(tmp_path / "undisturbed")
    Training(undisturbed, phantoms, **scale).status(0)
    training = Training(bundle, phantoms, **scale)
    assert training.shows(" 2/6 ")
    time.sleep(0.1)  # the second one ends
    training.process.terminate()  # in the third iteration, before the validation's only case
    training.status(143)
    assert training.saved("checkpoint_3.pt")["validate_first"]
    Training(bundle, phantoms, **scale).status(0)
    assert_same_result(undisturbed, bundle)


@pytest.mark.slow
def test_a_full_disk_leaves_what_was_saved(bundle, phantoms):
    models = bundle / "models"
    models.mkdir()
    scale = {"max_iterations": 9, "val_interval": 3, "unlabeled_batch_size": 2}
    training = Training(bundle, phantoms, **scale)
    assert training.wait_for(lambda: (models / "checkpoint_3.pt").is_file())
    # the kernel's own error of a full disk, for one file; nothing else of this machine's disks is filled
    (models / "checkpoint_6.pt.part").symlink_to("/dev/full")
    assert training.status() != 0
    message = training.log[training.log.rindex("StorageError") :]
    assert "checkpoint_6.pt" in message and "No space left on device" in message and "Traceback" not in message
    assert {p.name for p in models.iterdir()} == {"checkpoint_3.pt", "model.pt"}
    resumed = Training(bundle, phantoms, **scale)
    resumed.status(0)
    assert "goes on at iteration 3" in resumed.log


def test_a_folder_that_cannot_be_written_to_is_told_before_training(bundle, phantoms):
    (bundle / "models").write_text("a file")
    training = Training(bundle, phantoms)
    assert training.status() != 0
    message = training.log[training.log.rindex("StorageError") :]
    assert str(bundle / "models") in message and "--ckpt_dir" in message
    assert " 1/6 " not in training.log


@pytest.mark.slow
def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(bundle, phantoms, trained):
    models = shutil.copytree(trained / "models", bundle / "models")
    newest = models / "checkpoint_6.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    newest.write_bytes(content)
    scale = {"log_interval": 2, "allow_changed": "['max_iterations']", "max_iterations": 8}
    training = Training(bundle, phantoms, **scale)
    training.status(0)
    assert "checkpoint_6.pt is damaged" in training.log and "goes on at iteration 3" in training.log
    assert (models / "earlier_1" / "checkpoint_6.pt").is_file() and (models / "checkpoint_8.pt").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["img0003", "img0001"])
def test_a_file_that_vanishes_while_training(bundle, phantoms, tmp_path, name):
    """An unlabeled one is skipped, a labeled one ends the training; both are named."""
    data = shutil.copytree(phantoms, tmp_path / "data")
    training = Training(bundle, data, max_iterations=40, val_interval=10, cache_rate=0.0, num_workers=1)
    assert training.shows(" 2/40 "), training.log[-4000:]
    (data / "img" / f"{name}.nii.gz").unlink()
    if name == "img0003":
        training.status(0)
        assert f"skipped {data}/img/{name}.nii.gz" in training.log
    else:
        assert training.status() not in (0, -signal.SIGKILL)
        message = training.log[training.log.rindex("InputError") :]
        assert "labeled case" in message and f"{name}.nii.gz" in message and "Traceback" not in message


def workers(training: Training) -> list[int]:
    """Process ids of a training's loader workers."""
    children = Path(f"/proc/{training.process.pid}/task/{training.process.pid}/children").read_text()
    names = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.split()}
    return [pid for pid, name in names.items() if b"resource_tracker" not in name]


@pytest.mark.slow
def test_a_worker_that_is_killed(bundle, phantoms):
    """Training ends with a message and no hang, and the same command goes on."""
    scale = {"max_iterations": 30, "val_interval": 2, "cache_rate": 0.0, "num_workers": 2}
    training = Training(bundle, phantoms, **scale)
    assert training.shows(" 3/30 "), training.log[-4000:]
    os.kill(workers(training)[0], signal.SIGKILL)
    assert training.status() not in (0, -signal.SIGKILL)
    message = training.log[training.log.rindex("InputError") :]
    assert "a loader worker died" in message and "--num_workers 0" in message and "Traceback" not in message
    resumed = Training(bundle, phantoms, **scale)
    resumed.status(0)
    assert "goes on at iteration" in resumed.log


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 25 MB, two checkpoints' worth, and a function that mounts it anew with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str, kind: tuple[str, ...] = ()) -> int:
        return subprocess.run(["mount", *kind, "-o", options, "tmpfs", str(folder)], capture_output=True).returncode

    if shutil.which("mount") is None or mount("size=25m", ("-t", "tmpfs")):
        pytest.skip("mounting a small file system is not permitted here")
    yield folder, lambda options: mount(f"remount,{options}")
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_then_is_read_only_then_has_room(bundle, phantoms, small_disk):
    """Checkpoints and logs on it: whichever meets the end of it first, the message is clear."""
    disk, remount = small_disk
    scale = {"max_iterations": 16, "val_interval": 2, "train#checkpoint#n_saved": 100, "num_filters": 4}
    scale |= {"ckpt_dir": disk / "models", "output_dir": disk / "eval"}
    training = Training(bundle, phantoms, **scale)
    assert training.status() not in (0, -signal.SIGKILL)
    message = training.log[training.log.rindex("StorageError") :]
    assert "No space left on device" in message and "Traceback" not in message
    saved = sorted((disk / "models").glob("checkpoint_*.pt"))
    assert len(saved) >= 1 and all("trainer" in torch.load(path, weights_only=True) for path in saved)

    remount("ro")
    training = Training(bundle, phantoms, **scale)
    assert training.status() not in (0, -signal.SIGKILL)
    message = training.log[training.log.rindex("StorageError") :]
    assert "Read-only file system" in message and "Traceback" not in message

    remount("rw,size=256m")
    training = Training(bundle, phantoms, **scale)
    training.status(0)
    assert "goes on at iteration" in training.log and (disk / "models" / "model_final.pt").is_file()


@pytest.mark.slow
def test_a_training_that_blows_up_is_ended_with_a_report(bundle, phantoms):
    limit = {"train#nonfinite_check#max_in_row": 3}
    training = Training(bundle, phantoms, max_iterations=40, val_interval=1, learning_rate=1e30, **limit)
    assert training.status() not in (0, -signal.SIGKILL)
    assert "step undone (1 in a row" in training.log and "step undone (3 in a row" in training.log
    message = training.log[training.log.rindex("UserError") :]
    assert "3 times in a row" in message and "Traceback" not in message
    assert f"- {phantoms}/img/img0001.nii.gz, {phantoms}/label/label0001.nii.gz\n" in message
    newest = max(training.models.glob("checkpoint_*.pt"), key=os.path.getmtime)
    model = torch.load(newest, weights_only=True)["model"]
    assert all(value.isfinite().all() for value in model.values())

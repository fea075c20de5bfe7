# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import Dataset
from monai.transforms import Compose, Lambdad

from scdl_components.data.dataset import CaseDataset
from scdl_components.data.two_stream import TwoStreamLoader
from scdl_components.errors import InputError


def load(path: str) -> np.ndarray:
    """Size of a file as an image; one that is called deadly kills the process that loads it."""
    if "deadly" in path:
        os.kill(os.getpid(), signal.SIGBUS)  # as the kernel does when shared memory is full
    return np.full((1, 2), os.path.getsize(path), dtype=np.float32)


@pytest.fixture
def make(tmp_path):
    """Two labeled and four unlabeled files of these names, and a loader of them, one and two a batch."""

    def loader(labeled=("l0", "l1"), unlabeled=("u0", "u1", "u2", "u3"), num_workers=0, dataset=Dataset, gone=()):
        for name in (*labeled, *unlabeled):
            (tmp_path / name).touch()
        for name in gone:
            (tmp_path / name).unlink()
        items = [{"image": str(tmp_path / n), "label": str(tmp_path / n)} for n in labeled]
        both = Compose([Lambdad(("image", "label"), load, allow_missing_keys=True)])
        others = dataset([{"image": str(tmp_path / n)} for n in unlabeled], both)
        return TwoStreamLoader(dataset(items, both), others, 1, 2, num_workers=num_workers)

    return loader


def batches(loader, count: int) -> list[dict]:
    return list(itertools.islice(loader, count))


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("name, stream", [("u1", "unlabeled"), ("l1", "labeled")])
def test_a_file_that_vanished_ends_training_by_name(make, tmp_path, name, stream, num_workers):
    loader = make(num_workers=num_workers)
    (tmp_path / name).unlink()
    with pytest.raises(
        InputError, match=rf"iteration [12]: the {stream} case .*/{name} cannot be loaded: FileNotFound"
    ):
        batches(loader, 2)


@pytest.mark.parametrize("name", ["u2", "l0"])
def test_one_that_vanished_before_it_was_cached_ends_it_at_once(make, name):
    with pytest.raises(InputError, match=rf"the case .*/{name}'}} cannot be loaded: FileNotFound"):
        make(dataset=CaseDataset, gone=[name])


def test_one_that_vanished_when_it_was_cached_is_not_missed(make, tmp_path):
    loader = make(dataset=CaseDataset)
    for name in ("l0", "l1", "u0", "u1", "u2", "u3"):
        (tmp_path / name).unlink()
    assert len(batches(loader, 4)) == 4


def test_a_worker_that_dies_ends_training_with_a_way_out(make):
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"a loader worker died .*--shm-size.*--num_workers 0"):
        batches(make(unlabeled=("u0", "deadly", "u2", "u3"), num_workers=2), 4)
    assert time.monotonic() - begun < 60


class Large(Dataset):
    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image": torch.zeros(1, 2**20), "label": torch.zeros(1)}


@pytest.fixture
def small_shm():
    """In a child process alone, a /dev/shm of 1 MB."""
    command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("mounting a small /dev/shm is not permitted here")
    return command


def test_too_little_shared_memory_names_the_ways_out(small_shm):
    code = (
        "from monai.transforms import Compose; from test_faults import Large\n"
        "from scdl_components.data import TwoStreamLoader\n"
        "loader = TwoStreamLoader(Large([0, 1], Compose([])), unlabeled_batch_size=0, num_workers=1)\n"
        "next(iter(loader))"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    command = [*small_shm, sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}).stderr
    message = output[output.rindex("InputError") :]
    assert "shm" in message and "--num_workers 0" in message and "--shm-size" in message, output


def test_files_of_an_iteration(make, tmp_path):
    loader = make()
    a_pass = [path for iteration in (0, 1) for path in loader.files(iteration)]
    labeled = [f"{tmp_path}/{name}, {tmp_path}/{name}" for name in ("l0", "l1")]
    assert sorted(a_pass) == sorted(labeled + [f"{tmp_path}/u{i}" for i in range(4)])

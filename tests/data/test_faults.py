# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
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


def sizes(loader, count: int) -> list[int]:
    """Unlabeled samples of the first batches."""
    return [len(batch.get("unlabeled", {"image": ()})["image"]) for batch in itertools.islice(loader, count)]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_unlabeled_file_that_vanished_is_named_counted_and_left_out(make, tmp_path, caplog, num_workers):
    loader = make(num_workers=num_workers)
    (tmp_path / "u1").unlink()
    assert sorted(sizes(loader, 4)) == [1, 1, 2, 2]  # once in each pass
    assert loader.skipped == {str(tmp_path / "u1"): 2}
    assert f"skipped {tmp_path}/u1, FileNotFoundError" in caplog.text and "2 skipped samples of 1 files" in caplog.text


def test_a_labeled_one_is_an_error(make, tmp_path):
    loader = make()
    (tmp_path / "l1").unlink()
    with pytest.raises(InputError, match=r"labeled case .*/l1, .*/l1 cannot be loaded in iteration [12]: FileNotFound"):
        sizes(loader, 2)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_one_that_vanished_before_it_was_cached_is_left_out_too(make, tmp_path, caplog, num_workers):
    loader = make(num_workers=num_workers, dataset=CaseDataset, gone=["u2"])
    assert f"{tmp_path}/u2'}} cannot be loaded: FileNotFoundError" in caplog.text
    for name in ("l0", "l1", "u0", "u1", "u3"):
        (tmp_path / name).unlink()  # those are in the cache
    assert sorted(sizes(loader, 4)) == [1, 1, 2, 2]
    assert loader.skipped == {str(tmp_path / "u2"): 2}


def test_a_labeled_one_that_vanished_before_it_was_cached_is_an_error_at_once(make):
    with pytest.raises(InputError, match=r"the labeled case .*/l0'} cannot be loaded: FileNotFound"):
        make(dataset=CaseDataset, gone=["l0"])


def test_all_unlabeled_ones_gone_is_an_error_and_not_supervised_training(make, tmp_path):
    loader = make()
    assert sizes(loader, 1) == [2]
    for number in range(4):
        (tmp_path / f"u{number}").unlink()
    with pytest.raises(InputError, match="none of the 4 unlabeled cases can be loaded any more"):
        sizes(loader, 3)


def test_a_disk_that_fails_each_case_once_in_a_while_does_not_end_training(make, tmp_path):
    loader = make()
    batches = iter(loader)
    for number in [*range(4), *range(4)]:  # of each pass, one case
        (tmp_path / f"u{number}").rename(tmp_path / "away")
        assert sorted(len(next(batches)["unlabeled"]["image"]) for _ in range(2)) == [1, 2]
        (tmp_path / "away").rename(tmp_path / f"u{number}")
    assert loader.skipped == {str(tmp_path / f"u{number}"): 2 for number in range(4)}


def test_a_worker_that_dies_ends_training_with_a_way_out(make):
    begun = time.monotonic()
    with pytest.raises(InputError, match=r"a loader worker died .*--shm-size.*--num_workers 0"):
        sizes(make(unlabeled=("u0", "deadly", "u2", "u3"), num_workers=2), 4)
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

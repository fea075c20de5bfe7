# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest
import torch
from monai.data import Dataset
from monai.transforms import Compose, Lambdad, RandSpatialCropd

from scdl_components.data.two_stream import TwoStreamLoader, prepare_two_stream_batch


def dataset(size: int, first: int, label: bool) -> Dataset:
    """Cases whose every voxel holds the case's number, plus a ramp along the last axis that tells where a crop lies."""
    keys = ["image", "label"] if label else ["image"]
    data = [{key: torch.full((1, 4, 4, 64), first + i) + torch.arange(64) / 64 for key in keys} for i in range(size)]
    return Dataset(
        data, Compose([RandSpatialCropd(keys, (4, 4, 4), random_size=False), Lambdad(keys, lambda x: x.clone())])
    )


def loader(num_labeled=3, num_unlabeled=5, **kwargs) -> TwoStreamLoader:
    return TwoStreamLoader(dataset(num_labeled, 0, True), dataset(num_unlabeled, 100, False), **kwargs)


def images(batches) -> torch.Tensor:
    return torch.stack([prepare_two_stream_batch(batch, "cpu")[0] for batch in batches])


def test_labeled_come_first_and_belong_to_their_labels():
    batch = next(iter(loader(labeled_batch_size=2, unlabeled_batch_size=3)))
    image, label = prepare_two_stream_batch(batch, "cpu")
    assert image.shape == (5, 1, 4, 4, 4) and label.shape == (2, 1, 4, 4, 4)
    torch.testing.assert_close(image[:2], label, rtol=0, atol=0)
    assert (image[:2] < 100).all() and (image[2:] >= 100).all()


def test_an_epoch_visits_every_unlabeled_case_once():
    two_stream = loader(num_unlabeled=6, unlabeled_batch_size=2)
    assert len(two_stream) == 3
    for epoch in range(3):
        batches = itertools.islice(two_stream.batch_sampler, 3 * epoch, 3 * epoch + 3)
        visited = [d.index for batch in batches for d in batch if d.stream == "unlabeled"]
        assert sorted(visited) == list(range(6))


def test_orders_and_crops_differ_between_epochs_and_seeds():
    first, second = (images(itertools.islice(loader(seed=seed), 6)) for seed in (0, 1))
    assert not torch.equal(first, second)
    assert not torch.equal(first[:3], first[3:])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_starts_anywhere_with_what_an_undisturbed_run_sees(num_workers):
    undisturbed = images(itertools.islice(loader(), 8))
    resumed = loader(num_workers=num_workers)
    resumed.batch_sampler.start = 5
    torch.testing.assert_close(images(itertools.islice(resumed, 3)), undisturbed[5:], rtol=0, atol=0)


def test_supervised_only():
    supervised = TwoStreamLoader(dataset(5, 0, True), labeled_batch_size=2, unlabeled_batch_size=0)
    assert len(supervised) == 3
    assert set(next(iter(supervised))) == {"labeled"}


def test_no_unlabeled_case_offers_supervised_training():
    with pytest.raises(ValueError, match="supervised.yaml behind train.yaml"):
        loader(num_unlabeled=0)


def test_no_labeled_case_is_refused():
    with pytest.raises(ValueError, match="labeled"):
        loader(num_labeled=0)

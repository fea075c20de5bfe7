# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Two processes: their losses are one process's, and what befalls one is known to the other."""

import pytest
import torch
from support.loss_parts import NAMES, values_and_gradients
from support.rank_tasks import dhc, everything, training, training_with_priors
from support.ranks import run_ranks

from scdl_components.data.two_stream import TwoStreamSampler


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict[str, dict]]:
    return run_ranks(everything, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def whole() -> dict[str, torch.Tensor]:
    return values_and_gradients()


@pytest.mark.parametrize("unlabeled", ["whole", "lost"])
@pytest.mark.parametrize("name", NAMES)
def test_mean_over_ranks_is_the_loss_of_the_whole_batch(ranks, whole, name, unlabeled):
    """Also where one rank's unlabeled samples could not be loaded."""
    prefix = f"{unlabeled}/{name}/"
    keys = [key for key in whole if key.startswith(prefix)]
    assert len(keys) > 8 and torch.cat([whole[key].flatten() for key in keys[1:]]).abs().max() > 1e-6
    for key in keys:
        first, second = (part["values_and_gradients"][key] for part in ranks)
        if key.removeprefix(prefix) in ("logits", "features"):
            # as DistributedDataParallel averages; a rank's inputs are its own, in the order of the whole batch
            labeled = torch.cat([first[:, :2], second[:, :2]], 1)
            mean = torch.cat([labeled, first[:, 2:], second[:, 2:]], 1) / 2
        else:
            mean = (first + second) / 2
        torch.testing.assert_close(mean, whole[key], rtol=1e-9, atol=1e-12, msg=lambda text, key=key: f"{key}: {text}")


def test_the_hardest_of_all_ranks_are_kept_and_no_more(ranks):
    """The ranks have unequal numbers of values, most of them equal."""
    first, second = (part["hardest"] for part in ranks)
    values = torch.cat([first["values"], second["values"]])
    kept = torch.cat([part["values"][part["kept"]] for part in (first, second)])
    assert len(kept) == int(0.3 * len(values))
    assert torch.equal(kept.sort().values, values.sort(descending=True).values[: len(kept)].flip(0))
    assert all(len(part["kept"].unique()) == len(part["kept"]) for part in (first, second))


def test_all_ranks_validate_what_the_first_one_saves(ranks):
    first, second = (part["validated"] for part in ranks)
    assert first["before"] != second["before"]
    assert first["in validation"] == second["in validation"] == first["before"]


def test_ranks_share_out_the_draws_of_one_process(ranks):
    first, second = (part["draws"] for part in ranks)
    one = TwoStreamSampler({"labeled": 3, "unlabeled": 5}, {"labeled": 2, "unlabeled": 4}, seed=1)
    for iteration in range(6):
        batch = [list(map(str, item)) for item in one.batch(iteration)]
        assert first["batches"][iteration] == batch[:1] + batch[2:4]
        assert second["batches"][iteration] == batch[1:2] + batch[4:]
    assert first["all"] == second["all"] == [list(map(str, item)) for item in one.batch(3)]


def test_one_rank_does_it_and_all_have_the_result_or_the_error(ranks):
    first, second = (part["errors"] for part in ranks)
    assert first["result"] == second["result"] == [0, "done"]
    assert first["user_error"] == ["InputError", "no such file", False]
    # of a kind that the second one can catch as the first does, and marked as shown
    assert second["user_error"] == ["UserError", "no such file", True]
    assert second["nested"] == first["nested"] == 5
    assert "labeled_batch_size=3" in first["uneven"] and "--labeled_batch_size 4" in second["uneven"]


@pytest.mark.parametrize("task", [training, dhc, training_with_priors])
def test_bad_data_of_one_rank_is_met_by_both_alike(ranks, task):
    """A NaN and a file that vanished: the training is one process's, and the same on both ranks."""
    one, (first, second) = task(), (part[task.__name__] for part in ranks)
    assert first["finite"] == second["finite"] == one["finite"]
    assert first["scale"] == second["scale"] == one["scale"]
    assert 0 < one["finite"].count(False) < 6
    assert sum(first["skipped"].values()) + sum(second["skipped"].values()) == sum(one["skipped"].values()) > 0
    assert first["losses"] == pytest.approx(one["losses"], rel=1e-5, nan_ok=True)
    for part in ("network", "proxies"):
        for name, weights in one[part].items():
            assert torch.equal(first[part][name], second[part][name]), name
            torch.testing.assert_close(first[part][name], weights, rtol=0, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


def test_both_ranks_train_the_same_where_tokens_are_drawn(ranks):
    first, second = (part["training_with_token_samples"] for part in ranks)
    assert first["losses"] == pytest.approx(second["losses"], nan_ok=True)
    assert all(torch.equal(value, second["network"][name]) for name, value in first["network"].items())
    assert any("embedding_sigma" in name and (value != 0.05).any() for name, value in first["network"].items())


def test_the_end_of_one_rank_is_told_by_the_other(ranks):
    assert "another one of this training's 2 has ended" in ranks[0]["end"]["lost"]

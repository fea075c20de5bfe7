# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Federated learning by MONAI's own client, several sites in one process."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, ModelType
from monai.fl.utils.exchange_object import ExchangeObject
from support.runner import copy_bundle
from support.training import curves

from scdl_components.errors import InputError, causes
from scdl_components.losses import gaussian_ramp
from scdl_components.phantom import write_phantoms

PAGE = (Path(__file__).parents[2] / "docs" / "federated.md").read_text(encoding="utf-8")
FILES = ["configs/train.yaml", "configs/federated.yaml"]
SCALE = {"pixdim": [8, 8, 8], "roi_size": [32, 32, 32], "num_filters": 2, "num_workers": 0, "log_interval": 1}
ORGANS = ["liver", "spleen", "left kidney", "right kidney"]
ROUNDS, EPOCHS = 5, 10  # as on the page


def site(bundle: Path, data: Path, epochs: int = 1, files: list[str] = FILES, **keys: object) -> MonaiAlgo:
    """A client that evaluates with the files that it trains with."""
    keys = {"dataset_dir": str(data), "case_list": "case_list.json", **SCALE, **keys}
    names = {"config_train_filename": files, "config_evaluate_filename": files}
    found = MonaiAlgo(str(bundle), epochs, False, train_kwargs=dict(keys), eval_kwargs=dict(keys), **names)
    found.initialize()
    return found


def copied(weights: dict) -> dict:
    return {name: value.clone() for name, value in weights.items()}


def mean(sites: list[dict]) -> dict:
    first, *_ = sites
    return {name: torch.stack([w[name].float() for w in sites]).mean(0).to(first[name].dtype) for name in first}


def change(before: dict, after: dict) -> float:
    return max(float((after[name] - before[name]).abs().max()) for name in before if name.endswith("weight"))


def test_rounds_are_one_training(tmp_path, phantoms):
    """With its own weights handed back a site trains as in one go: the plan is not that of a round."""
    whole = site(copy_bundle(tmp_path / "whole"), phantoms, epochs=3, num_rounds=1)
    start = copied(whole.get_weights().weights)
    whole.train(ExchangeObject(weights=start))
    parts = site(copy_bundle(tmp_path / "parts"), phantoms, epochs=1, num_rounds=3)
    weights = start
    for _ in range(3):
        before = copied(weights)
        parts.train(ExchangeObject(weights=weights))
        weights = copied(parts.get_weights().weights)
        assert change(before, weights) > 1e-5
    assert change(whole.get_weights().weights, weights) == 0
    with pytest.raises(InputError, match="all 6 planned iterations are done.*num_rounds"):
        parts.train(ExchangeObject(weights=weights))
    parts.finalize()


def test_what_does_not_fit_is_told(tmp_path, phantoms):
    algo = site(copy_bundle(tmp_path), phantoms)
    with pytest.raises(ValueError, match=r"No best model checkpoint exists at .*models.model\.pt"):
        algo.get_weights({ExtraItems.MODEL_TYPE: ModelType.BEST_MODEL})
    other = site(copy_bundle(tmp_path / "other"), phantoms, num_filters=4)
    for use in (algo.train, algo.evaluate):
        with pytest.raises(ValueError, match=r"Convert weight from students\.0\..* failed"):
            use(other.get_weights())
    for keys, told in (
        ({"num_round": 3}, "there is no key 'num_round'; did you mean num_rounds"),
        ({"case_list": str(tmp_path / "none.json")}, "none.json"),
    ):
        with pytest.raises(Exception) as error:
            site(tmp_path / "scdl_synapse", phantoms, **keys)
        assert any(isinstance(cause, InputError) and told in str(cause) for cause in causes(error.value))


def test_a_bank_in_the_network_is_averaged_and_earlier_weights_are_kept(tmp_path, phantoms):
    bundle = copy_bundle(tmp_path)
    (bundle / "models").mkdir()
    (bundle / "models" / "model.pt").write_bytes(b"earlier")
    algo = site(bundle, phantoms, files=[FILES[0], "configs/priors.yaml", FILES[1]])
    weights = algo.get_weights().weights
    assert any(".bank." in name for name in weights)
    algo.evaluate(ExchangeObject(weights=weights))
    kept = {path.relative_to(bundle / "models").as_posix() for path in (bundle / "models").rglob("*.pt")}
    assert kept == {"model.pt", "earlier_1/model.pt"}
    assert (bundle / "models" / "earlier_1" / "model.pt").read_bytes() == b"earlier"


def documented(bundle: Path, data: Path, case_list: Path) -> dict:
    """The page's client, at a scale of minutes."""
    scale = {"num_filters": 4, "student#norm": "instance", "learning_rate": 0.03, "log_interval": 5}
    scale = {**SCALE, "voxels_per_token": 4, "embed_dim": 16, "class_names": ["background", *ORGANS], **scale}
    code = re.search(r"```python\n(.*?take_part.*?)```", PAGE, re.DOTALL).group(1)
    for shown, own in (("/data/cts/case_list.json", case_list), ("/data/cts", data), ("bundles/scdl_synapse", bundle)):
        assert f'"{shown}"' in code
        code = code.replace(f'"{shown}"', repr(str(own)))
    assert (rounds := f'"num_rounds": {ROUNDS}}}') in code and f"local_epochs={EPOCHS}," in code
    names = {"scale": scale}
    exec(code.replace(rounds, f"{rounds[:-1]}, **scale}}"), names)
    return names


def files_of(bundle: Path) -> dict[str, int]:
    """Sizes of what was written."""
    paths = [path for name in ("models", "eval") for path in (bundle / name).rglob("*") if path.is_file()]
    return {path.parent.name if path.parent.name == "eval" else path.name: path.stat().st_size for path in paths}


def train_together(sites: list[dict], start: dict) -> tuple[list[float], list[dict], list[dict]]:
    """Dice of each round's mean weights at the first site, these weights, and the files there."""
    weights, dice, means, files = start, [], [], []
    for number in range(ROUNDS):
        returned = []
        for names in sites:
            _, own = names["take_part"](weights)
            returned.append(copied(own))
            assert change(weights, own) > 1e-4
            group, *_ = names["site"].trainer.optimizer.param_groups
            assert group["lr"] == pytest.approx(0.03 * (1 - (number + 1) / ROUNDS) ** 0.9, abs=1e-9)
        weights = mean(returned)
        means.append(weights)
        site_ = sites[0]["site"]
        dice.append(float(site_.evaluate(ExchangeObject(weights=weights)).metrics["val_mean_dice"]))
        files.append(files_of(Path(site_.bundle_root)))
    return dice, means, files


@pytest.mark.slow
def test_two_sites_learn_together(tmp_path):
    data = Path(write_phantoms(tmp_path / "phantoms", 2, 8, 4, 0, seed=7, spacing=(8.0, 8.0, 8.0), organs=ORGANS))
    lists = json.loads((data / "case_list.json").read_text())

    def client(name: str, part: int) -> dict:
        own = {**lists, "labeled": lists["labeled"][part::2], "unlabeled": lists["unlabeled"][part::2]}
        bundle = copy_bundle(tmp_path / name)
        (tmp_path / name / "cases.json").write_text(json.dumps(own))
        return documented(bundle, data, tmp_path / name / "cases.json")

    both = [client("a", 0), client("b", 1)]
    first, second = (names["site"] for names in both)
    start = copied(first.get_weights().weights)
    together, means, files = train_together(both, start)
    alone = [train_together([client(f"alone_{part}", part)], start)[0] for part in (0, 1)]
    print("Dice after each round, together and alone:", together, *alone)
    # which of them ends highest depends on the draws (docs/federated.md)
    assert together[-1] > 1.3 * together[0] and together[-1] > min(run[-1] for run in alone)

    best = first.get_weights({ExtraItems.MODEL_TYPE: ModelType.BEST_MODEL}).weights
    assert change(means[together.index(max(together))], best) == 0
    # students are averaged, proxies are each site's own
    assert set(start) == set(first.trainer.network.state_dict()) and not [name for name in start if "bank" in name]
    proxies, others = (algo.trainer.loss_function.state_dict() for algo in (first, second))
    assert any("bank" in name and not torch.equal(proxies[name], others[name]) for name in proxies)

    # one file of weights and one of curves, which grows by as much in each round
    assert all(set(sizes) == {"model.pt", "eval"} for sizes in files)
    assert len({sizes["model.pt"] for sizes in files}) == 1
    growth = [after["eval"] - before["eval"] for before, after in zip(files, files[1:])]
    print("bytes of curves a round:", growth)
    assert max(growth) < 1.1 * min(growth) < 20_000
    shown, total = curves(Path(first.bundle_root)), first.trainer.num_iterations
    assert total == ROUNDS * EPOCHS * 2 and list(shown["learning_rate"]) == list(range(5, total + 1, 5))
    assert shown["weight/cps"] == pytest.approx(
        {i: 0.1 * gaussian_ramp((i - 1) / total) for i in shown["weight/cps"]}, rel=1e-5
    )

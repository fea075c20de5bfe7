# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Federated learning by MONAI's own client, several sites in one process."""

import json
import os
import re
import subprocess
import sys
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
from scdl_components.networks import DualStudent, VNet
from scdl_components.networks.weights import load_weights
from scdl_components.phantom import write_phantoms

PAGE = (Path(__file__).parents[2] / "docs" / "federated.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FILES = ["configs/train.yaml", "configs/federated.yaml"]
SCALE = {"pixdim": [8, 8, 8], "roi_size": [32, 32, 32], "num_filters": 2, "num_workers": 0, "log_interval": 1}
ORGANS = ["liver", "spleen", "left kidney", "right kidney"]
ROUNDS, EPOCHS = 5, 10  # as on the page
LONGER = 40  # epochs of a round after which two sites know more than one


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


def replaced(code: str, words: dict[str, str]) -> str:
    """Code of the page with other words in it."""
    for shown, own in words.items():
        assert shown in code
        code = code.replace(shown, own)
    return code


def client_code(bundle: str, data: Path, case_list: str, rounds: int = ROUNDS, epochs: int = EPOCHS) -> str:
    """The page's client, at a scale of minutes; bundle and case list are expressions."""
    scale = {"num_filters": 4, "student#norm": "instance", "learning_rate": 0.03, "log_interval": 5}
    scale["scdl"] = True
    scale["augmentation"] = []  # too few iterations to gain from it
    scale = {**SCALE, "voxels_per_token": 4, "embed_dim": 16, "class_names": ["background", *ORGANS], **scale}
    words = {'"/data/cts/case_list.json"': case_list, '"/data/cts"': repr(str(data)), '"bundles/scdl_synapse"': bundle}
    words |= {
        f'"num_rounds": {ROUNDS}}}': f'"num_rounds": {rounds}, **{scale}}}',
        f"local_epochs={EPOCHS},": f"local_epochs={epochs},",
    }
    return replaced(BLOCKS[0], words)


def documented(bundle: Path, data: Path, case_list: Path) -> dict:
    """What the page's client defines."""
    names: dict = {}
    exec(client_code(repr(str(bundle)), data, repr(str(case_list)), epochs=LONGER), names)
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


def phantoms_of_two_sites(folder: Path) -> Path:
    return Path(write_phantoms(folder / "phantoms", 2, 8, 4, 0, seed=7, spacing=(8.0, 8.0, 8.0), organs=ORGANS))


def own_bundle(folder: Path, data: Path, part: int) -> None:
    """A site's bundle, and its half of the labeled and the unlabeled cases."""
    lists = json.loads((data / "case_list.json").read_text())
    own = {**lists, "labeled": lists["labeled"][part::2], "unlabeled": lists["unlabeled"][part::2]}
    copy_bundle(folder)
    (folder / "cases.json").write_text(json.dumps(own))


@pytest.mark.slow
def test_nvflares_simulator_runs_the_page(tmp_path):
    pytest.importorskip("nvflare", reason="no NVFlare: pip install nvflare==2.9.0")
    data, (_, loop, network, job) = phantoms_of_two_sites(tmp_path), BLOCKS
    for part in (0, 1):
        own_bundle(tmp_path / f"site-{part + 1}", data, part)
    site_folder = (
        f"import nvflare.client as flare\nflare.init()\nhere = {str(tmp_path)!r} + '/' + flare.get_site_name()\n"
    )
    client = client_code("here + '/scdl_synapse'", data, "here + '/cases.json'", rounds=2)
    (tmp_path / "client.py").write_text(site_folder + client + replaced(loop, {"flare.init()": ""}))
    small = {"out_channels=14": "out_channels=5, num_filters=4, norm='instance'"}
    (tmp_path / "network.py").write_text(replaced(network, small))
    (tmp_path / "job.py").write_text(replaced(job, {f'"num_rounds": {ROUNDS}': '"num_rounds": 2'}))
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    log = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([sys.executable, "job.py"], cwd=tmp_path, env=environment, timeout=500, **log)
    assert done.returncode == 0, done.stdout[-6000:]
    assert done.stdout.count("Aggregated 2/2 results") >= 2
    (best,) = tmp_path.rglob("best_FL_global_model.pt")
    load_weights(str(best), DualStudent(VNet(1, 5, num_filters=4, norm="instance")))
    for part in (1, 2):
        curve = curves(tmp_path / f"site-{part}" / "scdl_synapse")["learning_rate"]
        assert list(curve) == list(range(5, 2 * EPOCHS * 2 + 1, 5))


@pytest.mark.slow
def test_two_sites_learn_together(tmp_path):
    data = phantoms_of_two_sites(tmp_path)

    def client(name: str, part: int) -> dict:
        own_bundle(tmp_path / name, data, part)
        return documented(tmp_path / name / "scdl_synapse", data, tmp_path / name / "cases.json")

    both = [client("a", 0), client("b", 1)]
    first, second = (names["site"] for names in both)
    start = copied(first.get_weights().weights)
    together, means, files = train_together(both, start)
    alone = [train_together([client(f"alone_{part}", part)], start)[0] for part in (0, 1)]
    print("Dice after each round, together and alone:", together, *alone)
    assert together[-1] > max(run[-1] for run in alone)  # reached: 0.79, and 0.50 and 0.74

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
    assert max(growth) < 1.1 * min(growth) < 80_000
    shown, total = curves(Path(first.bundle_root)), first.trainer.num_iterations
    assert total == ROUNDS * LONGER * 2 and list(shown["learning_rate"]) == list(range(5, total + 1, 5))
    assert shown["weight/cps"] == pytest.approx(
        {i: 0.1 * gaussian_ramp((i - 1) / total) for i in shown["weight/cps"]}, rel=1e-5
    )

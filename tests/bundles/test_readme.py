# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The commands of README, docs/method.md and docs/gpus.md, as they stand there, at a scale of seconds."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.runner import REAL_CT, copy_bundle, options, run_monai

from scdl_components.phantom import write_phantoms

README, METHOD, GPUS = (
    (Path(__file__).parents[2] / name).read_text() for name in ("README.md", "docs/method.md", "docs/gpus.md")
)
TRAIN = "python -m monai.bundle run training --config_file bundles/scdl_synapse/configs/train.yaml"


def bash_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README + METHOD, flags=re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def options_of_training() -> list[str]:
    """Things to add to the training command, those of MLflow (tests/bundles/test_mlflow.py) apart."""
    text = README.split("Every key there is an option of the command line:")[1].split("\n\n")[0]
    return [option for option in re.findall(r"`(--[^`]*)`", text) if "--tracking" not in option]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A repository's root with the bundle, its data as BTCV's owners hand them out, and a trained model."""
    root = tmp_path_factory.mktemp("checkout")
    bundle = copy_bundle(root / "bundles")
    data = Path(write_phantoms(bundle / "data", 20, 0, 4, 6, seed=3, spacing=(10.0, 10.0, 10.0)))
    for number in range(30, 10, -1):  # BTCV has no 11 to 20
        for kind in ("img", "label"):
            (data / kind / f"{kind}{number:04d}.nii.gz").rename(data / kind / f"{kind}{number + 10:04d}.nii.gz")
    run_monai(*shlex.split(TRAIN)[3:], *options(max_iterations=1, val_interval=1), cwd=root)
    return root


def run_tool(command: str, cwd: Path) -> str:
    """Output of a `monai-scdl` command."""
    words = [sys.executable, "-m", "scdl_components", *shlex.split(command)[1:]]
    result = subprocess.run(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert result.returncode == 0, result.stdout
    return result.stdout


def run_at_scale(command: str, checkout: Path, **overrides: object) -> str:
    """The command with the paths of this machine, and the tiny scale where it says nothing else."""
    words = shlex.split(command)[3:]
    places = {"/data/btcv": checkout / "bundles" / "scdl_synapse" / "data", "/path/of/ct.nii.gz": REAL_CT / "ct.nii.gz"}
    words = [str(places.get(word, word)) for word in words]
    scale = options(max_iterations=1, **overrides)
    if "inference.yaml" in command:  # which has no training to shorten
        training_only = ("--max_iterations", "--val_interval", "--log_interval")
        scale = [w for pair in zip(scale[::2], scale[1::2]) if pair[0] not in training_only for w in pair]
    added = [w for key, value in zip(scale[::2], scale[1::2]) if key not in words for w in (key, value)]
    inside = " configs/" in command  # meant for the bundle's folder
    return run_monai(*words, *added, cwd=checkout / "bundles" / "scdl_synapse" if inside else checkout)


@pytest.mark.parametrize("command", [c for c in bash_commands() if c.startswith("python -m monai.bundle")])
def test_commands(checkout, tmp_path, command):
    # weights of another network must not take the place of those that later tests start from
    elsewhere = {"ckpt_dir": tmp_path} if "--student" in command or "supervised" in command else {}
    output = run_at_scale(command, checkout, **elsewhere)
    results = checkout / "bundles" / "scdl_synapse" / "eval"
    if "ckpt_export" in command:
        assert (checkout / "bundles" / "scdl_synapse" / "models" / "model.ts").is_file()
    elif "evaluate.yaml" in command:
        assert (results / "report_clinical" / "report.html").is_file()
    elif "inference.yaml" in command:
        assert "1 segmented" in output and (results / "ct_seg.nii.gz").is_file()


def test_several_processes(checkout, tmp_path):
    command = next(block for block in re.findall(r"```bash\n(.*?)```", GPUS, flags=re.DOTALL) if "torchrun" in block)
    words = [
        *shlex.split(command.replace("\\\n", " "))[1:],
        *options(max_iterations=1, ckpt_dir=tmp_path, output_dir=tmp_path),
    ]
    torchrun = [sys.executable, "-m", "torch.distributed.run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*torchrun, *map(str, words)], cwd=checkout, env=environment, check=True, timeout=300)
    assert (tmp_path / "model.pt").is_file()


def test_new_list(checkout, tmp_path):
    command = next(c for c in bash_commands() if "make-list" in c).replace(
        "my_list.json", str(tmp_path / "my_list.json")
    )
    command = command.replace("/data/btcv", str(checkout / "bundles" / "scdl_synapse" / "data"))
    run_tool(command, checkout)
    lists = json.loads((tmp_path / "my_list.json").read_text())
    assert {name: len(lists[name]) for name in ("labeled", "validation", "test")} == {
        "labeled": 4,
        "validation": 4,
        "test": 6,
    }


def test_data_check(checkout):
    command = next(c for c in bash_commands() if "monai-scdl check" in c)
    command = command.replace("/data/btcv", str(checkout / "bundles" / "scdl_synapse" / "data"))
    assert "spleen" in run_tool(command, checkout)


def test_comparison(checkout, tmp_path):
    """Of two evaluations of the same test list, the second with fewer overlapping windows."""
    evaluate = next(c for c in bash_commands() if "evaluate.yaml" in c)
    for name, overlap in (("a", 0.5), ("b", 0.25)):
        run_at_scale(evaluate, checkout, output_dir=tmp_path / name, overlap=overlap)
    command = re.search(r"`(monai-scdl compare .*?)`", README.replace("\n", " ")).group(1)
    run_tool(command, tmp_path)
    assert any((tmp_path / "comparison").iterdir())


@pytest.mark.parametrize("added", options_of_training())
def test_options_of_training(checkout, tmp_path, added):
    saved = next((checkout / "bundles" / "scdl_synapse" / "models").glob("checkpoint_*.pt"))
    added = added.replace("checkpoint_17000.pt", saved.name)
    phantoms = {"dataset_dir#spacing": "[10,10,10]"} if "phantom.yaml" in added else {}
    command = TRAIN if "--config_file" not in added else TRAIN.split(" --config_file")[0]
    run_at_scale(f"{command} {added}", checkout, ckpt_dir=tmp_path, **phantoms)
    assert (tmp_path / "model_final.pt").is_file()


def test_all_commands_are_known():
    """A command that no test runs must not slip into the README."""
    run_here = [c for c in bash_commands() if any(w in c for w in ("monai.bundle", "monai-scdl"))]
    run_by_ci = ["make demo"]
    assert sorted(bash_commands()) == sorted(run_here + run_by_ci)
    assert len(run_here) >= 3 and len(options_of_training()) >= 4


def test_packages_are_built_as_tested():
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert "package: install\n\tpython scripts/package.py build\n" in makefile  # tests/package runs it

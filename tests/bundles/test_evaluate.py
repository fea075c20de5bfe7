# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation of a list through MONAI's runner, in both protocols; which cases it takes."""

import csv
import json

import pytest
from monai.bundle import ConfigWorkflow
from support.runner import SCALE, copy_bundle, run_monai

from scdl_components.errors import InputError
from scdl_components.report.cases import listed_cases


@pytest.mark.parametrize("run_id, protocol, unit", [("run", "clinical", "mm"), ("evaluating", "paper", "voxels")])
def test_report_of_the_test_cases(trained, phantoms, tmp_path, run_id, protocol, unit):
    configs = trained / "configs"
    run_monai(
        *("run", run_id, "--config_file", f"['{configs / 'inference.yaml'}','{configs / 'evaluate.yaml'}']"),
        *("--cases", "test", "--protocol", protocol, "--output_dir", tmp_path / "seg"),
        *("--report_dir", tmp_path / "report", "--dataset_dir", phantoms, "--case_list", "case_list.json", *SCALE),
        cwd=tmp_path,
    )
    report = {path.name for path in (tmp_path / "report").iterdir()}
    assert report == {"metrics.csv", "summary.json", "report.html"}
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["protocol"]["name"] == protocol and summary["protocol"]["unit"] == unit
    rows = list(csv.DictReader((tmp_path / "report" / "metrics.csv").open()))
    assert len(rows) == 13  # a test case, 13 organs, none dropped
    page = (tmp_path / "report" / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def test_behind_train_it_says_what_to_write(tmp_path):
    configs = copy_bundle(tmp_path) / "configs"
    files = f"['{configs / 'train.yaml'}','{configs / 'evaluate.yaml'}']"
    output = run_monai("run", "evaluating", "--config_file", files, cwd=tmp_path, check=False)
    told = output.rstrip().splitlines()[-1]
    assert told.startswith(f"InputError: these configs have no 'segmentation': give {configs / 'inference.yaml'} in ")
    assert "Traceback" not in output


def test_phantom_overlay_gives_its_test_cases(tmp_path):
    configs = copy_bundle(tmp_path) / "configs"
    workflow = ConfigWorkflow(
        [str(configs / f"{name}.yaml") for name in ("inference", "evaluate", "phantom")],
        workflow_type="infer",
        logging_file=False,
        bundle_root=str(configs.parent),
        **{"dataset_dir#spacing": [12, 12, 12], "dataset_dir#num_unlabeled": 0},
    )
    workflow.initialize()
    items = workflow.parser.get_parsed_content("listed_cases")
    assert [path.name for path in sorted((configs.parent / "data/phantom/img").iterdir())][-2:] == [
        item["image"].rpartition("/")[2] for item in items
    ]
    assert workflow.parser.get_parsed_content("dataset#data") == [{"image": item["image"]} for item in items]
    assert all(item["label"].endswith(".nii.gz") for item in items)


@pytest.mark.parametrize(
    "cases, message",
    [
        ("tests", "expected the name of a list: labeled,"),
        ("unlabeled", "4 case.s. of the list 'unlabeled' have no label"),
    ],
)
def test_lists_that_cannot_be_evaluated(phantoms, tmp_path, cases, message):
    bundle = copy_bundle(tmp_path)
    keys = {"bundle_root": str(bundle), "dataset_dir": str(phantoms), "case_list": "case_list.json"}
    with pytest.raises(InputError, match=message):
        listed_cases(str(bundle / "configs" / "train.yaml"), cases, **keys)

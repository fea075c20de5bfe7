# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Unit tests of the bundle in the model zoo's CI (ci/unit_tests), on phantoms of 8 mm; see scripts/package.py."""

import os
import sys
import tempfile
import unittest

from monai.bundle import ConfigWorkflow
from utils import check_workflow

BUNDLE_ROOT = "models/scdl_synapse"
sys.path.insert(0, BUNDLE_ROOT)  # the bundle brings scdl_components
SCALE = {"bundle_root": BUNDLE_ROOT, "pixdim": [8, 8, 8], "roi_size": [32, 32, 32], "num_filters": 2}
TRAINING = {"max_iterations": 2, "val_interval": 1, "num_workers": 0, "case_list": "case_list.json"}


def config(*names: str) -> list[str]:
    return [os.path.join(BUNDLE_ROOT, "configs", f"{name}.yaml") for name in names]


def write_data(folder: str) -> str:
    from scdl_components.phantom import write_phantoms

    workflow = ConfigWorkflow(workflow_type="infer", config_file=config("inference"), **SCALE)
    workflow.initialize()
    organs = workflow.parser.get_parsed_content("class_names")[1:]
    return write_phantoms(os.path.join(folder, "phantoms"), 2, 2, 1, 1, seed=7, spacing=(8.0, 8.0, 8.0), organs=organs)


class TestBundle(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        cls.data = write_data(cls.folder.name)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.folder.cleanup()

    def run_workflow(self, kind: str, configs: list[str], **overrides: object) -> None:
        workflow = ConfigWorkflow(
            workflow_type=kind,
            config_file=configs,
            logging_file=os.path.join(BUNDLE_ROOT, "configs", "logging.conf"),
            meta_file=os.path.join(BUNDLE_ROOT, "configs", "metadata.json"),
            **{**SCALE, "output_dir": self.folder.name, **overrides},
        )
        check_workflow(workflow, check_properties=True)

    def test_1_train(self) -> None:
        self.run_workflow("train", config("train"), dataset_dir=self.data, ckpt_dir=self.folder.name, **TRAINING)
        self.assertTrue(os.path.isfile(os.path.join(self.folder.name, "model.pt")))

    def test_2_evaluate(self) -> None:
        self.run_workflow(
            "infer",
            config("inference", "evaluate"),
            dataset_dir=self.data,
            case_list="case_list.json",
            weights=os.path.join(self.folder.name, "model.pt"),
        )
        self.assertTrue(os.path.isfile(os.path.join(self.folder.name, "report_clinical", "report.html")))

    def test_3_infer(self) -> None:
        weights = os.path.join(self.folder.name, "model.pt")
        self.run_workflow("infer", config("inference"), dataset_dir=os.path.join(self.data, "img"), weights=weights)
        files = [name for name in os.listdir(self.folder.name) if name.endswith("_seg.nii.gz")]
        self.assertEqual(len(files), 6)


if __name__ == "__main__":
    unittest.main()

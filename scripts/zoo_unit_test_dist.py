# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Test of training by several processes in the model zoo's CI (runner.py --dist True); see scripts/package.py."""

import os
import tempfile
import unittest

import torch
from test_scdl_synapse import BUNDLE_ROOT, SCALE, TRAINING, config, write_data
from utils import export_config_and_run_mgpu_cmd


class TestBundleDist(unittest.TestCase):
    def test_train(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            places = {"dataset_dir": write_data(folder), "ckpt_dir": folder, "output_dir": folder}
            export_config_and_run_mgpu_cmd(
                config_file=config("train", "multi_gpu_train"),
                logging_file=os.path.join(BUNDLE_ROOT, "configs", "logging.conf"),
                meta_file=os.path.join(BUNDLE_ROOT, "configs", "metadata.json"),
                override_dict={**SCALE, **TRAINING, **places},
                output_path=os.path.join(BUNDLE_ROOT, "configs", "train_override.json"),
                ngpu=torch.cuda.device_count() or 2,  # on a CPU two processes
            )
            self.assertTrue(os.path.isfile(os.path.join(folder, "model.pt")))


if __name__ == "__main__":
    unittest.main()

# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Too little memory, met by a user in training and in inference."""

import os
import subprocess
import sys

import pytest
from support.runner import SCALE, copy_bundle, options, run_monai

# as the runner has it, with so little address space that an iteration cannot have what it needs
SHORT = """
import resource, sys
from monai.bundle import ConfigWorkflow
config, *pairs = sys.argv[1:]
overrides = {key.lstrip("-"): value for key, value in zip(pairs[::2], pairs[1::2])}
overrides = {k: eval(v) if v[0] in "[0123456789" else v for k, v in overrides.items()}
workflow = ConfigWorkflow(config, logging_file=False, workflow_type="train", **overrides)
workflow.initialize()
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (used * 1024 + 700 * 10**6,) * 2)
workflow.run()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.parametrize(
    "layout, reason", [("contiguous_format", "can't allocate memory"), ("channels_last_3d", "memory ran out")]
)
def test_memory_that_runs_out_in_training_is_told_with_the_way_out(tmp_path, phantoms, layout, reason):
    """Channels last, oneDNN or PyTorch's allocator may be the one that finds none."""
    bundle = copy_bundle(tmp_path)
    data = {"dataset_dir": phantoms, "case_list": "case_list.json"}
    words = options(
        **data, roi_size="[96,96,96]", num_filters=4, device="cpu", **{"train#memory_format": f"$torch.{layout}"}
    )
    command = [sys.executable, "-c", SHORT, str(bundle / "configs" / "train.yaml"), *words]
    # stacks of many threads would take the memory themselves
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    output = subprocess.run(command, cwd=tmp_path, env=environment, **pipes).stdout
    message = output[output.rindex("MemoryShortageError") :].split("\n\n")[0]
    assert reason in message
    assert "--labeled_batch_size" in message and "--roi_size" in message and "--allow_changed" in message


def test_inference_names_what_needs_less(trained, tmp_path, phantoms):
    output = run_monai(
        *("run", "--config_file", trained / "configs" / "inference.yaml", "--output_dir", tmp_path),
        *(*SCALE, "--roi_size", "[65536,65536,65536]", "--dataset_dir", phantoms / "img" / "img0001.nii.gz"),
        cwd=tmp_path,
        check=False,
    )
    message = output[output.rindex("UserError") :]
    assert "MemoryShortageError: memory ran out" in message and "--sw_batch_size 1" in message

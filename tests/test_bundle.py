# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from monai.bundle import ConfigWorkflow
from support.runner import run_monai

from scdl_components.errors import InputError, causes

BUILT_BADLY = {"_target_": "scdl_components.networks.DualStudent", "student": "$torch.nn.Identity()", "active": [7]}


@pytest.fixture
def config(tmp_path):
    content = {
        "imports": ["$import torch"],
        "counts": "$[]",
        "bad": BUILT_BADLY,
        "good_steps": ["$@counts.append(1)", "$print('steps:', @counts)"],
        "bad_steps": ["$@counts.append(1)", "$@bad.eval()"],
        "run": [{"_target_": "scdl_components.bundle.run_section", "section": "good_steps"}],
    }
    path = tmp_path / "configs" / "a.json"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return path


def test_steps_run_each_time(config, capsys):
    workflow = ConfigWorkflow(str(config), logging_file=False)
    workflow.initialize()
    for _ in range(2):
        workflow.run()
    assert "steps: [1]\nsteps: [1, 1]\n" in capsys.readouterr().out


def test_a_user_error_of_what_is_built_is_one_sentence_in_monais_command_alone(config, tmp_path):
    output = run_monai(*("run", "--config_file", config, "--run#0#section", "bad_steps"), cwd=tmp_path, check=False)
    assert output.rstrip().splitlines()[-1].startswith("InputError: students is [7]; expected indices out of [0, 1]")
    assert "Traceback" not in output
    # a server that runs a config lives on
    workflow = ConfigWorkflow(str(config), logging_file=False, **{"run#0#section": "bad_steps"})
    workflow.initialize()
    with pytest.raises(Exception) as error:
        workflow.run()
    assert any(isinstance(cause, InputError) for cause in causes(error.value))


def test_other_errors_keep_their_traceback(config, tmp_path):
    output = run_monai(*("run", "--config_file", config, "--good_steps#0", "$1/0"), cwd=tmp_path, check=False)
    assert "Traceback" in output and "ZeroDivisionError" in output


def test_a_config_that_is_missing_is_named(config, tmp_path):
    needs = {"_target_": "scdl_components.bundle.run_section", "section": "bad_steps", "needs": {"other": "b.yaml"}}
    output = run_monai(*("run", "--config_file", config, "--run", [needs]), cwd=tmp_path, check=False)
    assert output.rstrip().splitlines()[-1] == (
        f"InputError: these configs have no 'other': give {config.with_name('b.yaml')} in place of the first one"
    )

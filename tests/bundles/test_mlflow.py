# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""MLflow beside a training that is interrupted and gone on with, and beside an evaluation."""

import signal

import pytest
from support.runner import SCALE, copy_bundle, run_monai
from support.training import Training

pytest.importorskip("mlflow", reason="pip install mlflow")
pytestmark = pytest.mark.slow


def runs(bundle) -> list:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{bundle / 'eval' / 'mlruns.db'}")
    (experiment,) = (found for found in client.search_experiments() if found.name != "Default")
    found = client.search_runs([experiment.experiment_id])
    return [(run, {file.path for file in client.list_artifacts(run.info.run_id)}) for run in reversed(found)]


@pytest.mark.parametrize("tracking", ["mlflow", "mlflow.yaml"])
def test_a_training_is_one_run_and_an_evaluation_another(tmp_path, phantoms, tracking):
    bundle = copy_bundle(tmp_path)
    configs = bundle / "configs"
    tracking = str(configs / tracking) if tracking.endswith(".yaml") else tracking
    first = Training(bundle, phantoms, tracking=tracking, max_iterations=12)
    assert first.wait_for(lambda: list(first.models.glob("checkpoint_3.pt")))
    first.process.send_signal(signal.SIGINT)
    first.process.wait()
    for _ in range(2):  # the second time there is nothing left to do
        Training(bundle, phantoms, tracking=tracking, max_iterations=12).status(0)
    (run, files), *more = runs(bundle)
    assert run.info.status == "FINISHED" and any(name.startswith("config_") for name in files)
    assert {"val_mean_dice", "val_dice/liver"} <= set(run.data.metrics)
    if tracking == "mlflow":
        return
    assert not more
    assert {"loss", "learning_rate", "supervised/ga_ce", "scdl/p2e"} <= set(run.data.metrics)
    assert run.data.params["scdl_weight"] == "1" and run.data.params["seed"] == "0"
    files = str([str(configs / name) for name in ("inference.yaml", "evaluate.yaml")])
    run_monai(
        *("run", "--config_file", files, "--cases", "test", *SCALE, "--tracking", tracking),
        *("--dataset_dir", phantoms, "--case_list", "case_list.json"),
        cwd=tmp_path,
    )
    _, (evaluation, files) = runs(bundle)
    assert evaluation.info.status == "FINISHED" and "dice/liver" in evaluation.data.metrics
    assert "report" in files

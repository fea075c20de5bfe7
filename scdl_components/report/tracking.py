# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A report in MLflow (configs/mlflow.yaml of the bundles)."""

import json
from pathlib import Path
from types import SimpleNamespace

from monai.handlers import MLFlowHandler


def log_report(handler: MLFlowHandler, report_dir: str | None) -> None:
    """Log a report's files and each organ's mean Dice to MLflow; end the run.

    Args:
        handler: of the evaluator; where all cases were done before, it has no run yet.
        report_dir: folder with report.html, metrics.csv and summary.json; None: there is no report.
    """
    if report_dir and Path(report_dir, "summary.json").is_file():
        if handler.cur_run is None:
            handler.start(SimpleNamespace(state=SimpleNamespace()))
        summary = json.loads(Path(report_dir, "summary.json").read_text(encoding="utf-8"))
        means = {name: facts["metrics"]["dice"]["mean"] for name, facts in summary["organs"].items()}
        run = handler.cur_run.info.run_id
        for name, mean in means.items():
            if mean is not None:
                handler.client.log_metric(run, f"dice/{name}", mean)
        handler.client.log_artifacts(run, report_dir, "report")
    handler.close()

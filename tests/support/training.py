# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""A training in a process of its own, to be watched, killed and gone on with."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from .runner import options

SECONDS = 300


class Training:
    """A training by MONAI's runner; output goes to a file.

    Args:
        bundle: whose training it is.
        data: phantoms; None leaves them to a config.
        configs: what is run.
        launcher: words in front of ``-m monai.bundle``.
        overrides: keys of the config.
    """

    def __init__(
        self,
        bundle: Path,
        data: Path | None,
        configs: Sequence[Path] = (),
        launcher: Sequence[str] = (),
        **overrides: object,
    ) -> None:
        self.bundle = bundle
        self.models = bundle / "models"
        self.log_file = bundle.parent / f"{time.monotonic_ns()}.log"
        overrides = {"log_interval": 1, **overrides}
        if data is not None:
            overrides = {"dataset_dir": data, "case_list": "case_list.json", **overrides}
        files = str([str(path) for path in configs or [bundle / "configs" / "train.yaml"]])
        command = ["-m", "monai.bundle", "run", "training", "--config_file", files, *options(**overrides)]
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *launcher, *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=bundle.parent,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, happened: Callable[[], object], pause: float = 0.02) -> bool:
        """Whether something happened before the process came to its end."""
        end = time.monotonic() + SECONDS
        while self.process.poll() is None:
            if happened():
                return True
            assert time.monotonic() < end, self.hangs()
            time.sleep(pause)
        return False

    def shows(self, text: str) -> bool:
        """Whether the log had a text before the process came to its end."""
        return self.wait_for(lambda: text in self.log)

    def status(self, expected: int | None = None, timeout: float = SECONDS) -> int:
        """Exit status, waited for."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.hangs()) from None
        assert expected is None or status == expected, self.log[-6000:]
        return status

    def hangs(self) -> str:
        os.killpg(self.process.pid, signal.SIGKILL)
        return f"hangs:\n{self.log[-6000:]}"

    def saved(self, name: str) -> dict:
        """Content of a file of weights or a checkpoint."""
        return torch.load(self.models / name, weights_only=True)


def curves(bundle: Path) -> dict[str, dict[int, float]]:
    """Every curve of the TensorBoard log: tag -> step -> value."""
    events = EventAccumulator(str(bundle / "eval"), size_guidance={"scalars": 0}).Reload()
    return {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}

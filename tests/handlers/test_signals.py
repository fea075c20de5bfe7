# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from scdl_components.handlers import RunEvents, StopOnSignal, TrainingCheckpoint, TrainingProgressBar


def stopped(folder: Path, at: int, number: int, *handlers: TrainingProgressBar) -> None:
    """A run of six iterations that sends itself a signal in one."""

    def step(engine: Engine, batch: int) -> list[dict]:
        time.sleep(0.2 if handlers else 0)  # the bar shows no more than ten times a second
        if engine.state.iteration == at:
            os.kill(os.getpid(), number)
        return [{"loss": 0.0}]

    engine = Engine(step)
    engine.register_events(*RunEvents)
    checkpoint = TrainingCheckpoint(str(folder), {"model": torch.nn.Linear(1, 1)}, interval=100)
    for handler in (checkpoint, StopOnSignal(checkpoint), *handlers):
        handler.attach(engine)
    try:
        engine.run(range(6))
    finally:
        engine.fire_event(RunEvents.ENDED)


def saved(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_iteration_is_finished_and_saved_and_the_status_tells(tmp_path, number, status):
    before = signal.getsignal(number)
    signal.signal(number, signal.default_int_handler)  # a shell may have had it ignored
    try:
        with pytest.raises(SystemExit) as end:
            stopped(tmp_path, 3, number)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert end.value.code == status and saved(tmp_path) == ["checkpoint_3.pt"]


def test_a_pipe_that_ends_with_the_same_ctrl_c_loses_nothing(tmp_path, monkeypatch):
    """As that of ``2>&1 | tee train.log``."""
    reading, writing = os.pipe()
    kept, before = os.dup(2), signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(writing, 2)
    os.close(reading)
    monkeypatch.setattr(sys, "stderr", os.fdopen(writing, "w", buffering=1))
    try:
        with pytest.raises(SystemExit):
            stopped(tmp_path, 3, signal.SIGINT, TrainingProgressBar())
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        signal.signal(signal.SIGINT, before)
    assert saved(tmp_path) == ["checkpoint_3.pt"]


def test_an_ignored_signal_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stopped(tmp_path, 3, signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert saved(tmp_path) == ["checkpoint_6.pt"]


def test_another_thread_leaves_signals_alone(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=stopped, args=(tmp_path, 0, signal.SIGTERM))
    thread.start()
    thread.join()
    assert saved(tmp_path) == ["checkpoint_6.pt"] and signal.getsignal(signal.SIGTERM) is before

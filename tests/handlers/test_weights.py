# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import math

import pytest
import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator

from scdl_components.atomic import read_saved, save_atomically
from scdl_components.handlers import WeightsSaver


class Given:
    """A metric whose value is given."""

    def __init__(self) -> None:
        self.value = math.nan

    def attach(self, engine, name):
        engine.add_event_handler("EPOCH_COMPLETED", lambda: engine.state.metrics.update({name: self.value}))


@pytest.fixture
def validation(tmp_path):
    """Called with a metric's value, validates; returns the value that the saved weights stand for."""
    network, metric = torch.nn.Linear(1, 1), Given()

    def make():
        best = WeightsSaver(str(tmp_path), network)
        batch = [{"image": torch.zeros(1, 1), "label": torch.zeros(1, 1)}]
        evaluator = SupervisedEvaluator("cpu", batch, network, key_val_metric={"dice": metric}, val_handlers=[best])
        epochs = iter(range(1, 100))

        def validate(value: float, weight: float | None = None) -> float:
            metric.value = value
            torch.nn.init.constant_(network.bias, value if weight is None else weight)
            evaluator.run(next(epochs))
            return float(read_saved(tmp_path / "model.pt")["bias"])

        return best, evaluator, validate

    return make


def test_weights_are_those_of_the_best_metric(validation):
    _, _, validate = validation()
    assert [validate(value) for value in (0.5, 0.25, 0.75, 0.75)] == [0.5, 0.5, 0.75, 0.75]


def test_a_resumed_training_does_not_overwrite_better_weights(validation):
    best, evaluator, validate = validation()
    validate(0.5)
    state, first = best.state_dict(), evaluator.state
    best, evaluator, validate = validation()
    best.load_state_dict(state)
    assert (evaluator.state.best_metric, evaluator.state.best_metric_epoch) == (0.5, first.best_metric_epoch)
    assert [validate(0.25), validate(0.75)] == [0.5, 0.75]


def test_the_record_is_of_the_file_that_is_there(validation, tmp_path):
    """Not where another training has written its own since."""
    best, _, validate = validation()
    validate(0.5)
    state = best.state_dict()
    save_atomically(torch.nn.Linear(1, 1).state_dict(), tmp_path / "model.pt")
    best, _, validate = validation()
    best.load_state_dict(state)
    assert [validate(0.25), validate(0.125), validate(0.5)] == [0.25, 0.25, 0.5]


def test_the_last_weights_count_where_no_validation_could_choose(validation, tmp_path, caplog):
    best, evaluator, validate = validation()
    trainer = Engine(lambda engine, batch: None)
    best.attach(trainer)

    def at_the_end() -> list[float]:
        torch.nn.init.constant_(best.network.bias, 9.0)
        trainer.run([0])
        return [float(read_saved(tmp_path / f"{name}.pt")["bias"]) for name in ("model", "model_final")]

    assert at_the_end() == [9.0, 9.0]  # no validation yet
    assert validate(math.nan, 1.0) == 9.0 and "dice is nan" in caplog.text
    assert at_the_end() == [9.0, 9.0]
    assert validate(0.0) == 0.0
    assert validate(math.nan, 3.0) == 0.0 and at_the_end() == [0.0, 9.0]

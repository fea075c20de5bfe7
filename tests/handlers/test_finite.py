# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import logging

import pytest
import torch
from ignite.engine import Engine, Events

from scdl_components.errors import UserError
from scdl_components.handlers import NonFiniteCheck


def trainer(max_in_row: int, interval: int = 1) -> Engine:
    """Run on flags that tell whether an iteration is finite."""
    scalars = {"loss": float("nan"), "learning_rate": 0.1, "weight/cps": 1.0}
    engine = Engine(lambda engine, item: [{"finite": torch.tensor(item), "scalars": scalars}])
    NonFiniteCheck(max_in_row, lambda iteration: [f"img{iteration}"], interval).attach(engine)
    return engine


@pytest.mark.parametrize("interval, seen_after_each", [(1, [0, 1, 2, 2, 3]), (4, [0, 0, 0, 2, 2])])
def test_files_of_skipped_steps_are_named_now_and_then_and_at_the_end(caplog, interval, seen_after_each):
    engine, seen = trainer(3, interval), []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(len(caplog.records)))
    with caplog.at_level(logging.WARNING):
        engine.run([True, False, False, True, False])
    assert seen == seen_after_each
    messages = [record.getMessage() for record in caplog.records]
    assert [message.split(":")[0] for message in messages] == ["iteration 2", "iteration 3", "iteration 5"]
    assert [message.split("batch: ")[1].split(";")[0] for message in messages] == ["img1", "img2", "img4"]
    assert "(2 in a row" in messages[1] and "(1 in a row" in messages[2]
    assert "loss=nan" in caplog.text and "weight" not in caplog.text


def test_too_many_in_a_row_end_with_a_report():
    with pytest.raises(UserError, match="2 times in a row .*iteration 3;(.|\n)*- img1\n- img2$"):
        trainer(2).run([True, False, False])

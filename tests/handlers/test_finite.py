# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging

import pytest
import torch
from ignite.engine import Engine, Events

from scdl_components.handlers import NonFiniteCheck
from scdl_components.handlers.finite import NonFiniteError


def trainer(finite: list[bool], max_in_row: int) -> tuple[Engine, NonFiniteCheck]:
    scalars = {"loss": float("nan"), "learning_rate": 0.1, "weight/cps": 1.0}
    engine = Engine(lambda engine, item: [{"finite": torch.tensor(item), "scalars": scalars}])
    check = NonFiniteCheck(max_in_row, lambda iteration: [f"img{iteration}"])
    check.attach(engine)
    return engine, check


def test_skipped_steps_are_counted_and_their_files_named(caplog):
    finite = [True, False, False, True, False, True]
    engine, check = trainer(finite, 3)
    with caplog.at_level(logging.WARNING):
        engine.run(finite)
    assert check.state_dict() == {"skipped": 3, "in_row": 0}
    assert [r.getMessage().split(";")[1].split(": ")[1] for r in caplog.records] == ["img1", "img2", "img4"]
    assert "loss=nan" in caplog.text and "weight" not in caplog.text


def test_too_many_in_a_row_end_with_a_report():
    engine, _ = trainer([True, False, False], 2)
    with pytest.raises(NonFiniteError, match="2 times in a row .*iteration 3;(.|\n)*- img1\n- img2$"):
        engine.run([True, False, False])


def test_the_row_goes_on_after_a_resume():
    engine, check = trainer([False], 3)
    check.load_state_dict({"skipped": 7, "in_row": 2})
    with pytest.raises(NonFiniteError, match="3 times in a row"):
        engine.run([False])


def test_looks_now_and_then_and_at_the_end(caplog):
    finite = [True, False, False, True, False]
    scalars = {"loss": float("nan"), "learning_rate": 0.1}
    engine = Engine(lambda engine, item: [{"finite": torch.tensor(item), "scalars": scalars}])
    check, seen = NonFiniteCheck(3, lambda iteration: [f"img{iteration}"], interval=4), []
    check.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(len(caplog.records)))
    with caplog.at_level(logging.WARNING):
        engine.run(finite)
    assert seen == [0, 0, 0, 2, 2]
    assert [r.getMessage().split(":")[0] for r in caplog.records] == ["iteration 2", "iteration 3", "iteration 5"]
    assert check.state_dict() == {"skipped": 3, "in_row": 1}


def test_what_is_saved_counts_every_iteration_so_far():
    scalars = {"loss": 0.0, "learning_rate": 0.1}
    engine = Engine(lambda engine, item: [{"finite": torch.tensor(item), "scalars": scalars}])
    check, saved = NonFiniteCheck(9, lambda iteration: [], interval=100), []
    check.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: saved.append(check.state_dict()["skipped"]))
    engine.run([False, True, False])
    assert saved == [1, 1, 2]

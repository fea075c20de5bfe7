# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from ignite.engine import Engine, Events

from scdl_components.handlers.progress import TrainingProgressBar, weighted_by_group


def test_what_fails_before_there_is_a_bar_is_what_is_reported():
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.STARTED, lambda: 1 / 0)
    TrainingProgressBar().attach(engine)
    with pytest.raises(ZeroDivisionError):
        engine.run([0])


def test_groups_add_up_to_the_total():
    scalars = {"loss": 3.4, "learning_rate": 0.1, "cps": 4.0, "scdl/sac": 2.0, "scdl/distance": 10.0}
    scalars |= {"weight/cps": 0.1, "weight/scdl/sac": 1.0, "weight/scdl/distance": 0.1}
    groups = weighted_by_group(scalars)
    assert groups == pytest.approx({"cps": 0.4, "scdl": 3.0})
    assert sum(groups.values()) == pytest.approx(scalars["loss"])

# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path

import matplotlib.image
import pytest

from benchmarks.growth import around, main, measure, phantom_folder
from benchmarks.growth_report import Cost, Setting, exponents, table
from benchmarks.growth_step import channel_def, organs_of
from benchmarks.step_time import phantoms
from scdl_components.data.phantom import SYNAPSE_ORGANS
from scdl_components.errors import InputError

BASE = Setting(edge=16)
TOY = {"num_filters": 2, "spacing": 8.0, "iterations": 2, "warm_up": 2}


def test_one_thing_is_changed_at_a_time_and_every_axis_has_the_base():
    values = {"edge": (32, 16), "classes": 2, "voxels_per_token": (8, 2), "ranks": (1, 2)}
    axes = around(BASE, values)
    assert [setting.edge for setting in axes["edge"]] == [16, 32]
    assert [setting.classes for setting in axes["classes"]] == [2, 14]
    assert [setting.tokens for setting in axes["voxels_per_token"]] == [2**3, 4**3, 8**3]
    for name, settings in axes.items():
        assert BASE in settings
        assert {setting._replace(**{name: getattr(BASE, name)}) for setting in settings} == {BASE}


def test_classes_beyond_the_organs_have_names_and_classes_below_have_fewer_organs():
    assert channel_def(2) == {"0": "background", "1": "spleen"}
    assert organs_of(2) == ("spleen",) and organs_of(14) == organs_of(117) == SYNAPSE_ORGANS
    names = channel_def(117)
    assert list(names) == [str(c) for c in range(117)] and len(set(names.values())) == 117


def test_table_of_known_costs():
    settings = [Setting(edge=edge) for edge in (32, 48, 96)]
    # time grows as voxels, in the second round as their root; memory as voxels
    costs = {
        setting: [Cost(n**3 / 1e5, n**3 / 4e5, n**3 / 1e3), Cost(n**1.5, 0, n**3)]
        for setting, n in ((setting, setting.edge) for setting in settings)
    }
    for power in (1, 0.5):
        assert exponents([8, 64, 512], [[8**power, 64**power, 512**power]]) == pytest.approx([power])
    text = table("edge", settings, costs, Setting())
    assert "| 110,592 (48³) | 166.830 (1.106 to 332.554) | 1 |" in text
    assert "| 884,736 (96³) |" in text and "| 5.414 (2.828 to 8.000) |" in text
    assert "time 0.75 (0.50 to 1.00), memory 1.00 (1.00 to 1.00)." in text


def test_device_that_is_not_there():
    with pytest.raises(InputError, match="--device tpu: expected cpu, or cuda"):
        main(device="tpu")


def test_report_of_real_runs(tmp_path: Path, capsys: pytest.CaptureFixture):
    report = tmp_path / "growth.md"
    main(edge=16, classes=117, voxels_per_token=4, ranks=1, base={"edge": 16}, rounds=1, report=str(report), **TOY)
    text = report.read_text(encoding="utf-8")
    assert text.strip() in capsys.readouterr().out
    rows = re.findall(r"^\| (14|117) \| ([\d.]+) \(.*?\) \| .*? \| (\d+) % \| (\d+) \(", text, re.MULTILINE)
    few, many = (dict(zip(("classes", "seconds", "losses", "megabytes"), map(float, row))) for row in rows)
    assert (few["classes"], many["classes"]) == (14, 117)
    # 8 MB for each tensor of 117 classes, of which several are kept for the way back
    assert many["megabytes"] > few["megabytes"] + 20
    assert many["seconds"] > 0 and 0 < many["losses"] < 100
    assert matplotlib.image.imread(report.with_suffix(".png")).std() > 0


@pytest.mark.slow
def test_two_processes(tmp_path: Path):
    setting = Setting(edge=16, ranks=2)
    phantoms(phantom_folder(tmp_path, setting), TOY["spacing"], organs_of(setting.classes))
    cost = measure(setting, tmp_path, "cpu", 1, **TOY)
    assert 0 < cost.losses < cost.seconds and cost.megabytes > 0
    with pytest.raises(RuntimeError, match="cannot be shared by 3 processes"):  # a batch of 2 + 2
        measure(setting._replace(ranks=3), tmp_path, "cpu", 1, **TOY)

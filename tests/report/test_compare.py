# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import itertools
import re

import numpy as np
import pytest

from scdl_components.errors import InputError
from scdl_components.report.compare import compare, compare_runs, load_run, mean_of_seeds
from scdl_components.report.evaluate import evaluate
from scdl_components.report.paired import bootstrap_interval, holm, signed_rank_p


@pytest.fixture
def run(data, predict, tmp_path):
    """Report folder of segmentations made as ``predict`` says."""

    def make(name, shift, lost=None, **options):
        predictions = predict(f"{name}_seg", shift, lost)
        case_list = str(data / "cases.json")
        evaluate(str(predictions), case_list, str(tmp_path / name), **{"num_tail": 1, **options})
        return tmp_path / name

    return make


def test_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = bootstrap_interval(rng.normal(1.0, 1.0, 40), 0.95, 1000, rng)
        covered += low <= 1.0 <= high
    assert 0.9 <= covered / 200 <= 0.98


def test_interval_needs_two_cases_and_is_the_same_for_the_same_seed():
    assert np.isnan(bootstrap_interval(np.array([0.1]), 0.95, 100, np.random.default_rng(0))).all()
    sample = np.array([0.1, 0.3, -0.2, 0.4])
    a, b = (bootstrap_interval(sample, 0.95, 500, np.random.default_rng(3)) for _ in range(2))
    assert a == b and a[0] < sample.mean() < a[1]


def test_signed_rank_p_is_that_of_all_sign_flips():
    differences = np.array([0.3, 0.1, -0.05, 0.4, 0.2, 0.25])
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    observed = abs((ranks * np.sign(differences)).sum())
    flips = [abs((ranks * signs).sum()) for signs in itertools.product((-1, 1), repeat=6)]
    assert signed_rank_p(differences) == pytest.approx(np.mean([flip >= observed for flip in flips]))
    assert signed_rank_p(np.zeros(5)) == 1 and np.isnan(signed_rank_p(np.zeros(0)))


def test_holm_by_hand():
    assert holm([0.01, float("nan"), 0.04, 0.03])[::2] == pytest.approx([0.03, 0.06])
    assert holm([0.01, float("nan"), 0.04, 0.03])[3] == pytest.approx(0.06)
    assert holm([0.6, 0.7]) == [1, 1]


def test_differences_are_of_the_cases_that_both_define(run):
    """B is one voxel off and loses the gallbladder of case 1; case 2 has none."""
    a, b = load_run(run("a", 0), "A"), load_run(run("b", 1, {1: (3,)}), "B")
    found = {(row.metric, row.name): row for row in compare_runs([a, b], num_resamples=200)["A", "B"]}
    assert len(found) == 5 * (3 + 3)
    liver = found["dice", "liver"]
    assert (liver.n, liver.mean_a, liver.difference) == (4, 1, pytest.approx(-1 / 8))
    assert liver.low == liver.high == pytest.approx(-1 / 8) and liver.p_value == pytest.approx(0.125)
    dice, distance = found["dice", "gallbladder"], found["hd95", "gallbladder"]
    assert (dice.n, dice.only_a, dice.difference) == (3, 0, pytest.approx(-(0.5 + 1 + 0.5) / 3))
    assert (distance.n, distance.only_a, distance.only_b, distance.difference) == (2, 1, 0, 2)
    # in case 1 the tail has nothing to compare, among all it is liver and spleen alone
    assert (found["hd95", "tail"].n, found["hd95", "all"].n) == (2, 4)
    assert found["hd95", "all"].difference == pytest.approx(2)


def test_seeds_are_averaged_by_case_before_they_are_compared(run):
    a, seeds = load_run(run("a", 0), "A"), [load_run(run(f"b{shift}", shift), f"b{shift}") for shift in (1, 2)]
    rows = compare_runs([a, mean_of_seeds(seeds, "B")], metrics=["dice"])["A", "B"]
    assert {row.name: row.difference for row in rows}["liver"] == pytest.approx(-(1 / 8 + 2 / 8) / 2)


def test_command_writes_tables_and_a_page_that_stands_alone(run, tmp_path):
    runs = [str(run(name, shift)) for name, shift in (("a", 0), ("b", 1), ("c", 2))]
    compare(f"[{runs[0]},[{runs[1]},{runs[2]}]]", str(tmp_path / "two"), "[exact,moved]", num_resamples=100)
    compare(runs, str(tmp_path / "three"), num_resamples=100)
    names = {path.name for path in (tmp_path / "three").iterdir()}
    assert names == {f"comparison.{kind}" for kind in ("csv", "md", "html")} | {f"difference_{i}.png" for i in (1, 2, 3)}
    with open(tmp_path / "two" / "comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30 and {(row["first"], row["second"]) for row in rows} == {("exact", "moved")}
    assert "-0.188 [-0.188, -0.188]" in (tmp_path / "two" / "comparison.md").read_text()
    page = (tmp_path / "three" / "comparison.html").read_text()
    assert not re.search(r"url\(|@import|https?://|<script|<link", page) and page.count("data:image/png") == 3


def test_runs_that_are_not_of_the_same_thing_are_refused(run, data, tmp_path):
    a = load_run(run("a", 0), "A")
    with pytest.raises(InputError, match="protocols differ .name: clinical and paper"):
        compare_runs([a, load_run(run("paper", 0, protocol="paper"), "B")])
    with pytest.raises(InputError, match="nsd_tolerance: 2.0 and 3"):
        compare_runs([a, load_run(run("tolerance", 0, nsd_tolerance=3), "B")])
    cases = (data / "cases.json").read_text()
    (data / "cases.json").write_text(re.sub(r', \{"image": "img/case3[^}]*\}', "", cases))
    with pytest.raises(InputError, match="cases differ: only in 'A': case3; only in 'B': none"):
        compare_runs([a, load_run(run("fewer", 0), "B")])
    (data / "cases.json").write_text(cases)
    (data / "label" / "case1.nii.gz").write_bytes((data / "label" / "case2.nii.gz").read_bytes())
    with pytest.raises(InputError, match="references differ in case1"):
        compare_runs([a, load_run(run("labels", 0), "B")])
    with pytest.raises(InputError, match="expected at least two"):
        compare_runs([a, a])
    (tmp_path / "a" / "metrics.csv").write_text("case,organ\n")
    with pytest.raises(InputError, match="no table of an evaluation"):
        load_run(tmp_path / "a", "A")
    with pytest.raises(InputError, match="holds no report"):
        load_run(tmp_path / "nowhere", "A")

# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import csv
import itertools
import json
import re

import numpy as np
import pytest

from scdl_components.errors import InputError
from scdl_components.report.compare import Run, compare_runs, load_run, run_of_seeds
from scdl_components.report.paired import bootstrap_interval, holm, signed_rank_p
from scdl_components.report.table import ScoreTable
from scdl_components.tools.compare import compare

CASES = [f"case{number}" for number in range(4)]
ORGANS = ["liver", "spleen", "gallbladder"]
PROTOCOL = {"name": "clinical", "description": "in mm", "unit": "mm", "nsd_tolerance": 2.0}


def run(run_name, shift=0.0, lost=(), cases=CASES, volumes=(500.0, 100.0, 8.0), **protocol):
    """A run whose Dice is an eighth worse and whose distances are 2 mm longer by step of ``shift``, a half and 2 mm for
    the gallbladder, which case 2 does not have and which cases in ``lost`` miss."""
    present = np.ones((len(cases), 3), dtype=bool)
    present[cases.index("case2"), 2] = False
    found = present.copy()
    found[list(lost), 2] = False
    dice = np.where(found, 1 - shift * np.array([1 / 8, 1 / 8, 1 / 2]), np.where(present, 0, np.nan))
    distance = np.where(found, 2.0 * shift, np.nan)
    table = ScoreTable(
        cases=list(cases),
        organs=ORGANS,
        unit="mm",
        status=np.where(found, "in both", np.where(present, "missing in prediction", "absent in both")),
        values={
            **{"dice": dice, "nsd_area": dice, "nsd_count": dice, "hd95": distance, "asd": distance, "assd": distance},
            **{"volume_prediction_ml": found * np.array(volumes), "volume_reference_ml": present * np.array(volumes)},
        },
    )
    return Run(run_name, [table], {**PROTOCOL, **protocol}, num_tail=1)


def save(run, folder):
    """Of a report folder what a comparison reads."""
    folder.mkdir()
    (folder / "metrics.csv").write_text(run.tables[0].to_csv())
    (folder / "summary.json").write_text(json.dumps({"protocol": run.protocol, "num_tail": run.num_tail}))
    return str(folder)


def differences(a, b):
    return {(row.metric, row.name): row for row in compare_runs(a, b)}


def test_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.normal(1.0, 1.0, (1, 40))) for _ in range(200)]
    assert 0.9 <= np.mean([low <= 1.0 <= high for low, high in intervals]) <= 0.98
    assert np.isnan(bootstrap_interval(np.array([[0.1]]))).all()


def test_interval_of_several_seeds_covers_what_other_seeds_would_give():
    """Seeds differ more than cases do: an interval over cases alone would hold the true mean in few of the studies."""
    rng = np.random.default_rng(0)
    studies = [rng.normal(1.0, 0.5, (6, 1)) + rng.normal(0.0, 0.2, (6, 20)) for _ in range(100)]
    together, cases_alone = (
        np.mean([low <= 1.0 <= high for low, high in map(bootstrap_interval, found)])
        for found in (studies, [study.mean(axis=0, keepdims=True) for study in studies])
    )
    assert together >= 0.8 and cases_alone <= 0.5


def test_signed_rank_p_is_that_of_all_sign_flips():
    differences = np.array([0.3, 0.1, -0.05, 0.4, 0.2, 0.25])
    assert signed_rank_p(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0])) == 2 / 2**5  # a case without a difference says nothing
    ranks = np.argsort(np.argsort(np.abs(differences))) + 1
    observed = abs((ranks * np.sign(differences)).sum())
    flips = [abs((ranks * signs).sum()) for signs in itertools.product((-1, 1), repeat=6)]
    assert signed_rank_p(differences) == pytest.approx(np.mean([flip >= observed for flip in flips]))
    assert signed_rank_p(np.zeros(5)) == 1 and np.isnan(signed_rank_p(np.zeros(0)))


def test_holm_by_hand():
    assert holm([0.01, float("nan"), 0.04, 0.03]) == pytest.approx([0.03, float("nan"), 0.06, 0.06], nan_ok=True)
    assert holm([0.6, 0.7]) == [1, 1]


def test_differences_are_of_the_cases_that_both_define():
    """B is one step off and loses the gallbladder of case 1; case 2 has none."""
    found = differences(run("A"), run("B", 1, lost=[1]))
    assert [name for _, name in found][:6] == [*ORGANS, "head", "tail", "all"] and len(found) == 6 * (3 + 3)
    liver = found["dice", "liver"]
    assert (liver.n, liver.mean_a, liver.difference) == (4, 1, pytest.approx(-1 / 8))
    assert liver.low == liver.high == pytest.approx(-1 / 8) and liver.p_value == pytest.approx(0.125)
    dice, distance = found["dice", "gallbladder"], found["hd95", "gallbladder"]
    assert (dice.n, dice.only_a, dice.difference) == (3, 0, pytest.approx(-(0.5 + 1 + 0.5) / 3))
    assert (distance.n, distance.only_a, distance.only_b, distance.difference) == (2, 1, 0, 2)
    # in case 1 the tail has nothing to compare, among all it is liver and spleen alone
    assert (found["hd95", "tail"].n, found["hd95", "all"].n) == (2, 4)
    assert found["hd95", "all"].difference == pytest.approx(2)


def test_an_organ_drawn_where_there_is_none_counts_in_groups_as_in_the_run_s_own_report():
    """B draws the gallbladder that case 2 does not have, with one seed of two."""
    exact, other = run("seed 0"), run("seed 1")
    other.tables[0].values["dice"][2, 2] = 0.0
    found = differences(run_of_seeds([run("A"), run("A")], "A"), run_of_seeds([exact, other], "B"))
    assert (found["dice", "all"].n, found["dice", "all"].difference) == (4, pytest.approx(-1 / 3 / 2 / 4))
    assert (found["dice", "gallbladder"].n, found["dice", "gallbladder"].difference) == (3, 0)
    assert found["hd95", "all"].difference == 0


def test_seeds_are_averaged_by_case_before_they_are_compared():
    seeds = run_of_seeds([run("seed 0", 1), run("seed 1", 2)], "B")
    liver = differences(run_of_seeds([run("A"), run("A")], "A"), seeds)["dice", "liver"]
    assert liver.difference == pytest.approx(-(1 / 8 + 2 / 8) / 2)
    assert np.isnan(liver.p_value) and np.isnan(liver.p_holm)  # of the cases alone, whatever other seeds give
    with pytest.raises(InputError, match="'A' has 1 seeds and 'B' 2: give as many"):
        compare_runs(run("A"), seeds)


def test_a_report_is_read_as_it_was_written(tmp_path):
    before = run("A", 1, lost=[1])
    after = load_run(save(before, tmp_path / "a"), "A")
    assert (after.protocol, after.num_tail, after.tables[0].cases) == (before.protocol, 1, CASES)
    assert (after.tables[0].status == before.tables[0].status).all()
    for name, values in before.tables[0].values.items():
        np.testing.assert_allclose(after.tables[0].values[name], values)


def test_command_prints_dice_and_writes_every_metric(tmp_path, capsys):
    folders = [save(run(name, shift), tmp_path / name) for name, shift in (("a", 0), ("b", 1), ("c", 2))]
    output = tmp_path / "out"
    compare(folders, str(output))
    assert capsys.readouterr().out.count("Dice, ") == 3
    # two runs of two seeds, as the command line gives them
    compare(f"[[{folders[0]},{folders[0]}],[{folders[1]},{folders[2]}]]", str(output), "[exact,moved]")
    with open(output / "comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36 and {(row["first"], row["second"]) for row in rows} == {("exact", "moved")}
    text = capsys.readouterr().out
    assert "Dice, moved minus exact" in text and re.search(r"\| liver .* -0\.188 \[-0\.250, -0\.125\] \|", text)


@pytest.mark.parametrize(
    "other, message",
    [
        (run("B", name="paper"), "protocols differ .name: clinical and paper"),
        (run("B", nsd_tolerance=3), "nsd_tolerance: 2.0 and 3"),
        (run("B", cases=CASES[:3]), "cases or the order of these differ: only in 'A': case3; only in 'B': none"),
        (run("B", cases=CASES[::-1]), "cases or the order of these differ: only in 'A': none"),
        (run("B", volumes=(500.0, 100.0, 9.0)), "references differ in case0, case1, case3 "),
    ],
)
def test_runs_that_are_not_of_the_same_thing_are_refused(other, message):
    with pytest.raises(InputError, match=message):
        compare_runs(run("A"), other)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda text: "case,organ\n", "no table of an evaluation"),
        (lambda text: text.rsplit("\n", 2)[0], "no table of an evaluation"),
        (lambda text: text.replace("in both,1,", "in both,one,"), "something else than a number"),
        (None, "holds no report"),
    ],
)
def test_folders_without_a_report_are_refused(tmp_path, change, message):
    table = tmp_path / "a" / "metrics.csv"
    save(run("A"), tmp_path / "a")
    table.write_text(change(table.read_text())) if change else table.unlink()
    with pytest.raises(InputError, match=message):
        load_run(tmp_path / "a", "A")


@pytest.mark.parametrize(
    "runs, names, message",
    [
        ("[a,b]", "[A]", "expected two lists of one length"),
        ("[a,b]", "[A,A]", "expected at least two, each with a name of its own"),
        ("[a]", None, "expected at least two"),
    ],
)
def test_commands_without_two_names_are_refused(tmp_path, runs, names, message):
    with pytest.raises(InputError, match=message):
        compare(runs, str(tmp_path / "out"), names)

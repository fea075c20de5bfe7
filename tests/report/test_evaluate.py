# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import base64
import csv
import io
import json
import re
from pathlib import Path

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest

from scdl_components.atomic import StorageError, path_hash
from scdl_components.errors import InputError, MissingFileError
from scdl_components.metrics import Protocol
from scdl_components.report.cases import read_case_list
from scdl_components.report.evaluate import Evaluation
from scdl_components.report.page import write_files
from scdl_components.tools.compare import compare
from scdl_components.tools.evaluate import evaluate

FILES = {"metrics.csv", "summary.json", "report.html"}
PICTURE = re.compile(r'alt="([^"]*)" src="data:image/png;base64,([^"]*)"')


def report(data, predictions, output, **options):
    evaluate(str(predictions), str(data / "cases.json"), str(output), **{"num_tail": 1, **options})
    return json.loads((output / "summary.json").read_text())


def pictures(output):
    """Of the page: caption -> PNG."""
    return {caption: base64.b64decode(data) for caption, data in PICTURE.findall((output / "report.html").read_text())}


def rows_of(output):
    with open(output / "metrics.csv", newline="") as file:
        return {(row["case"], row["organ"]): row for row in csv.DictReader(file)}


def test_means_say_how_many_cases_they_are_of_and_what_is_missing(data, predict, tmp_path):
    """Perfect, but the gallbladder is lost in case 1; case 2 has none."""
    summary = report(data, predict("seg", shift=0, lost={1: (3,)}), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    gallbladder = summary["organs"]["gallbladder"]
    assert list(gallbladder["status"].values()) == [2, 1, 0, 1]  # in both, lost, invented, absent
    assert gallbladder["metrics"]["dice"] == {"mean": pytest.approx(2 / 3), "std": pytest.approx(3**-0.5), "n": 3}
    assert gallbladder["metrics"]["hd95"] == {"mean": 0, "std": 0, "n": 2}
    assert summary["organs"]["liver"]["metrics"]["dice"] == {"mean": 1, "std": 0, "n": 4}
    # by case: 1, (1 + 1 + 0) / 3, 1, 1
    assert summary["groups"]["all"]["metrics"]["dice"]["mean"] == pytest.approx((3 + 2 / 3) / 4)
    assert summary["groups"]["tail"]["organs"] == ["gallbladder"]
    assert summary["groups"]["head"]["metrics"]["dice"]["n"] == 4
    assert summary["worst_cases"][0] == {"case": "case1", "mean_dice": pytest.approx(2 / 3)}
    text = (tmp_path / "out" / "report.html").read_text()
    assert "<td>0.667 ± 0.577 (3)</td><td>0.00 ± 0.00 (2)</td>" in text and "NSD at 2 mm" in text


def test_a_fourth_axis_of_one_changes_nothing(data, predict, tmp_path):
    """In image, label and segmentation, pictures included."""
    predictions = predict("seg", shift=1)
    expected = report(data, predictions, tmp_path / "three")
    for path in (*data.rglob("case0.nii.gz"), *data.rglob("case1.nii.gz"), predictions / "case2_seg.nii.gz"):
        volume = nib.load(path)
        nib.save(nib.Nifti1Image(np.asarray(volume.dataobj)[..., None], volume.affine), path)
    found = report(data, predictions, tmp_path / "four")
    assert found["groups"] == expected["groups"] and found["organs"] == expected["organs"]
    assert len(pictures(tmp_path / "four")) == 3 and pictures(tmp_path / "four") == pictures(tmp_path / "three")


def test_rows_hold_every_case_and_organ(data, predict, tmp_path):
    report(data, predict("seg", shift=1, lost={1: (3,)}), tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 12
    liver = rows["case0", "liver"]
    # a box of 8 × 8 × 8 voxels moved by one
    assert float(liver["dice"]) == pytest.approx(7 / 8) and float(liver["hd95_mm"]) == 2
    assert float(liver["volume_reference_ml"]) == pytest.approx(512 * 10 / 1000)
    lost, absent = rows["case1", "gallbladder"], rows["case2", "gallbladder"]
    assert [lost[key] for key in ("status", "dice", "nsd_area", "nsd_count", "hd95_mm")] == [
        "missing in prediction",
        "0",
        "0",
        "0",
        "",
    ]
    assert (absent["status"], absent["dice"], absent["asd_mm"]) == ("absent in both", "", "")


def test_paper_protocol_penalises_what_is_missing(data, predict, tmp_path):
    summary = report(data, predict("seg", shift=0, lost={1: (3,)}), tmp_path / "out", protocol="paper")
    metrics = summary["organs"]["gallbladder"]["metrics"]
    assert metrics["dice"]["mean"] == 0.75 and metrics["asd"]["mean"] == 128 / 4
    assert metrics["dice"]["n"] == metrics["asd"]["n"] == 4 and metrics["hd95"]["n"] == 2
    assert "asd_voxels" in rows_of(tmp_path / "out")["case0", "liver"]


def test_page_needs_nothing_but_itself(data, predict, tmp_path):
    report(data, predict("seg", shift=1), tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text()
    fetched = r"(src|href|srcset|data|action|poster)=[\"']?(?!data:|#|[\"'])|url\(|@import|https?://"
    assert not re.search(rf"{fetched}|<(script|link|iframe|object|embed)\b", text)
    assert len(pictures(tmp_path / "out")) == 3
    for word in ("gallbladder", "case3", "NSD at 2 mm", "Worst", "HD95", "NSD (area)", "MedPy's definition"):
        assert word in text


def test_overlays_show_reference_and_prediction(data, predict, tmp_path):
    report(data, predict("seg", shift=2), tmp_path / "out")
    (picture,) = (png for caption, png in pictures(tmp_path / "out").items() if caption.startswith("case0: mean Dice"))
    image = matplotlib.image.imread(io.BytesIO(picture))[..., :3]
    colored = (image.max(axis=2) - image.min(axis=2)) > 40 / 255
    # columns: image (grey), reference, prediction, then the legend
    parts = np.array_split(colored[:, : int(colored.shape[1] * 0.8)], 3, axis=1)
    assert [part.mean() > 0.02 for part in parts] == [False, True, True]


def test_names_are_shown_as_they_are(data, predict, tmp_path):
    """A case whose name is markup."""
    folder = predict("seg", shift=0)
    cases = json.loads((data / "cases.json").read_text())
    for kind, parent, suffix in (("image", data, ""), ("label", data, ""), ("seg", folder, "_seg")):
        old = parent / (cases["test"][0][kind] if kind != "seg" else "case0_seg.nii.gz")
        old.rename(old.with_name(f"<b>x|y&{suffix}.nii.gz"))
    (folder / "case0_seg.json").rename(folder / "<b>x|y&_seg.json")
    cases["test"][0] = {"image": "img/<b>x|y&.nii.gz", "label": "label/<b>x|y&.nii.gz"}
    (data / "cases.json").write_text(json.dumps(cases))
    report(data, folder, tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;b&gt;x|y&amp;" in text and "<b>x" not in text


def test_all_bad_cases_are_named_and_nothing_is_left_half_written(data, predict, tmp_path):
    folder = predict("seg", shift=0)
    report(data, folder, tmp_path / "out")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    for number in (1, 3):
        path = folder / f"case{number}_seg.nii.gz"
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="2 case.*(?s:.*case1_seg.*case3_seg)"):
        report(data, folder, tmp_path / "out")
    (folder / "case2_seg.nii.gz").unlink()
    with pytest.raises(MissingFileError, match="1 of 4 cases.*case2.nii.gz"):
        report(data, folder, tmp_path / "out")
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_a_report_that_fails_half_way_leaves_the_earlier_one(data, predict, tmp_path):
    """The image of a worst case is unreadable: found after the tables are written."""
    folder = predict("seg", shift=0)
    report(data, folder, tmp_path / "out")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    for image in (data / "img").iterdir():
        image.write_bytes(b"")
    with pytest.raises(InputError, match="case..nii.gz. cannot be read"):
        report(data, folder, tmp_path / "out")
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_files_that_cannot_all_be_written_leave_the_earlier_ones(tmp_path):
    write_files(tmp_path, {"metrics.csv": "earlier", "summary.json": "earlier"})
    (tmp_path / "summary.json.part").mkdir()
    with pytest.raises(StorageError, match="summary.json"):
        write_files(tmp_path, {"metrics.csv": "new", "summary.json": "new"})
    assert (tmp_path / "metrics.csv").read_text() == "earlier" == (tmp_path / "summary.json").read_text()
    assert not (tmp_path / "metrics.csv.part").exists()


def test_segmentations_of_other_organs_or_of_two_networks_are_refused(data, predict, tmp_path):
    folder = predict("seg", shift=0)
    sidecar = json.loads((folder / "case1_seg.json").read_text())
    for number, weights in ((1, "aaa"), (2, "bbb")):
        content = {**sidecar, "made_with": {"weights": weights, "settings": {}, "image": {"path": str(number)}}}
        (folder / f"case{number}_seg.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="3 different weights or settings"):
        report(data, folder, tmp_path / "out")
    (folder / "case1_seg.json").write_text(json.dumps({"labels": {"0": "background", "1": "lung"}}))
    with pytest.raises(InputError, match="case1_seg.nii.gz' has the classes background, lung"):
        report(data, folder, tmp_path / "out")
    for damaged in ("{", "[]", '{"labels": ["liver"]}'):
        (folder / "case1_seg.json").write_text(damaged)
        with pytest.raises(InputError, match="case1_seg.json' is not as inference writes it; delete it"):
            report(data, folder, tmp_path / "out3")


def test_the_largest_organ_is_never_tail(data, predict, tmp_path):
    """Of five that are asked for, in references that hold two organs."""
    predictions = predict("seg", shift=0)
    for path in (data / "label").iterdir():
        volume = nib.load(path)
        nib.save(nib.Nifti1Image(np.asarray(volume.dataobj) % 3, volume.affine), path)
    groups = report(data, predictions, tmp_path / "out", num_tail=2)["groups"]
    assert (groups["head"]["organs"], groups["tail"]["organs"]) == (["liver"], ["spleen"])


def test_an_image_that_is_listed_twice_is_refused(data, predict, tmp_path):
    cases = json.loads((data / "cases.json").read_text())
    cases["test"].append({**cases["test"][0], "label": "label/case1.nii.gz"})
    (data / "cases.json").write_text(json.dumps(cases))
    with pytest.raises(InputError, match="case0.nii.gz' stands 2 times in test"):
        report(data, predict("seg", shift=0), tmp_path / "out")


def test_the_segmentation_of_another_image_of_that_name_is_refused(data, predict, tmp_path):
    folder = predict("seg", shift=0)
    sidecar = json.loads((folder / "case1_seg.json").read_text())
    made_with = {"image": path_hash(data / "img" / "case1.nii.gz")}
    moved = {**sidecar, "image": "/elsewhere/case1.nii.gz", "made_with": made_with}
    (folder / "case1_seg.json").write_text(json.dumps(moved))
    report(data, folder, tmp_path / "out")
    (data / "img" / "case1.nii.gz").write_bytes((data / "img" / "case2.nii.gz").read_bytes())
    with pytest.raises(InputError, match="case1_seg.nii.gz' is of /elsewhere/case1.nii.gz, and .* is another image"):
        report(data, folder, tmp_path / "out")


def test_the_report_of_other_cases_is_not_replaced(data, predict, tmp_path):
    predictions, cases = predict("seg", shift=0), json.loads((data / "cases.json").read_text())["test"]
    for taken in (cases[:2], cases[:3]):  # a list that has grown
        (data / "cases.json").write_text(json.dumps({"test": taken}))
        report(data, predictions, tmp_path / "out")
    (data / "cases.json").write_text(json.dumps({"test": cases[1:]}))
    with pytest.raises(InputError, match="the report of 1 case.s. that are not of this list, .*lost .case0."):
        report(data, predictions, tmp_path / "out")


@pytest.mark.parametrize("num_tail", [0, "2"])
def test_tail_is_a_number_of_organs(num_tail):
    with pytest.raises(InputError, match="num_tail is"):
        Evaluation([], "", ["background", "liver", "spleen", "gallbladder"], "", Protocol("paper"), num_tail)


def test_one_organ_has_no_tail(data, predict, tmp_path):
    """As by default, five organs are asked for as tail; then the report is compared with another."""
    reports = []
    for shift in (1, 2):
        predictions = predict(f"seg{shift}", shift)
        for path in (*predictions.glob("*.nii.gz"), *(data / "label").iterdir()):
            volume = nib.load(path)
            nib.save(nib.Nifti1Image((np.asarray(volume.dataobj) == 1).astype(np.uint8), volume.affine), path)
        for path in predictions.glob("*.json"):
            path.write_text(json.dumps({"labels": {"0": "background", "1": "liver"}}))
        reports.append(str(tmp_path / f"report{shift}"))
        summary = report(data, predictions, Path(reports[-1]), num_tail=5)
        assert summary["num_tail"] == 0 and summary["organs"]["liver"]["group"] == "head"
        assert summary["groups"]["tail"]["metrics"]["dice"] == {"mean": None, "std": None, "n": 0}
        assert "mean of head" in (text := Path(reports[-1], "report.html").read_text()) and "mean of tail" not in text
    compare(reports, str(tmp_path / "comparison"))
    assert "liver" in (tmp_path / "comparison" / "comparison.csv").read_text()


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "expected a JSON"),
        ("[]", "expected a JSON"),
        ('{"test": []}', "the list 'test' is empty"),
        ('{"test": ["0001"]}', "is an id; expected image and label"),
        ('{"test": [{"image": "a.nii.gz"}]}', "no label to compare with.*a.nii.gz"),
    ],
)
def test_case_lists_that_cannot_be_evaluated(tmp_path, content, message):
    (tmp_path / "cases.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_case_list(str(tmp_path / "cases.json"), "test")

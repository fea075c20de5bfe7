# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from scdl_components.errors import InputError, MissingFileError
from scdl_components.tools.preview import preview


def test_table_and_pictures_of_every_case(data, predict, tmp_path, capsys):
    predictions = predict("seg", shift=1, lost={1: (3,)})
    sidecar = predictions / "case0_seg.json"
    content = json.loads(sidecar.read_text())
    # organs go by their values, whatever the order in the file
    content["labels"] = dict(reversed(content["labels"].items()))
    sidecar.write_text(json.dumps(content))
    preview(str(data / "cases.json"), str(predictions), str(tmp_path / "out"))
    table = (tmp_path / "out" / "dice.txt").read_text(encoding="utf-8")
    assert table in capsys.readouterr().out
    lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()]
    rows = {name: cells for name, *cells in lines}
    # a box of 8 × 8 × 8 voxels moved by one; case 1 has lost its gallbladder, case 2 has none
    assert rows["liver"] == ["0.875"] * 5
    assert rows["gallbladder"][1:3] == ["0.000", "–"]
    assert {file.name for file in (tmp_path / "out").glob("*.png")} == {f"case{number}.png" for number in range(4)}


def test_patients_whose_images_have_one_name(data, predict, tmp_path):
    predictions = predict("seg", shift=1)
    cases = json.loads((data / "cases.json").read_text())["test"][:2]
    for number, case in enumerate(cases):
        (data / f"s{number}").mkdir()
        (data / case["image"]).rename(data / f"s{number}" / "ct.nii.gz")
        case["image"] = f"s{number}/ct.nii.gz"
        for kind in ("nii.gz", "json"):
            (predictions / f"case{number}_seg.{kind}").rename(predictions / f"s{number}_ct_seg.{kind}")
    (data / "cases.json").write_text(json.dumps({"test": cases}))
    preview(str(data / "cases.json"), str(predictions), str(tmp_path / "out"))
    assert {file.name for file in (tmp_path / "out").glob("*.png")} == {"s0_ct.png", "s1_ct.png"}


def test_what_is_missing_is_named(data, predict, tmp_path):
    predictions = predict("seg", shift=0)
    look = (str(data / "cases.json"), str(predictions), str(tmp_path / "out"))
    (predictions / "case1_seg.json").write_text('{"labels": {"1": "liver"}}')
    with pytest.raises(InputError, match="case1_seg.json.*by value"):
        preview(*look)
    (predictions / "case1_seg.json").unlink()
    with pytest.raises(InputError, match="case1_seg.nii.gz has no JSON"):
        preview(*look)
    (predictions / "case1_seg.nii.gz").unlink()
    with pytest.raises(MissingFileError, match="case1_seg.nii.gz is missing: run the inference on .*case1.nii.gz"):
        preview(*look)

# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""New case lists: from the seed alone, every organ among the labeled cases, refused where that cannot be."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from support.runner import BUNDLES

from scdl_components.atomic import StorageError
from scdl_components.data import load_cases
from scdl_components.data.case_entries import LISTS
from scdl_components.errors import InputError
from scdl_components.phantom import AMOS_ORGANS, write_phantoms
from scdl_components.tools.make_list import draw_lists, find_cases, make_list

CONFIG = str(BUNDLES / "scdl_amos" / "configs" / "train.yaml")
GALLBLADDER, BLADDER = AMOS_ORGANS.index("gallbladder") + 1, AMOS_ORGANS.index("bladder") + 1
LAYOUTS = [
    {"image": "imagesTr/amos_{id}.nii.gz", "label": "labelsTr/amos_{id}.nii.gz"},
    {"image": "imagesVa/amos_{id}.nii.gz", "label": "labelsVa/amos_{id}.nii.gz"},
]


@pytest.fixture(scope="module")
def amos(tmp_path_factory) -> Path:
    """Ten phantoms in AMOS's layout, two of them without a label, and one that counts as MR.

    Only case 0005 shows a gallbladder, only case 0007 a bladder.
    """
    folder = tmp_path_factory.mktemp("amos") / "data"
    write_phantoms(folder, 11, 0, 0, 0, seed=1, organs=AMOS_ORGANS, spacing=(12.0, 12.0, 12.0))
    for key, name in (("img", "imagesTr"), ("label", "labelsTr")):
        (folder / key).rename(folder / name)
        for path in (folder / name).iterdir():
            path.rename(path.with_name(path.name.replace(key, "amos_").replace("0011", "0507")))
    for case in ("0003", "0008"):
        (folder / "labelsTr" / f"amos_{case}.nii.gz").unlink()
    for path in (folder / "labelsTr").iterdir():
        label = nib.load(path)
        voxels = np.array(label.dataobj)
        for case, value in (("0005", GALLBLADDER), ("0007", BLADDER)):
            voxels[(voxels == value) & (case not in path.name)] = 0
        nib.save(nib.Nifti1Image(voxels, label.affine), path)
    return folder


def draw(dataset_dir: Path, output: Path, **kwargs: object) -> dict:
    arguments = {"labeled": 3, "validation": 1, "test": 1} | kwargs
    make_list(CONFIG, str(output), dataset_dir=str(dataset_dir), **arguments)
    return json.loads(output.read_text(encoding="utf-8"))


def test_a_scan_under_two_names_is_refused(amos, tmp_path):
    """Else it could be trained on and tested with."""
    data = shutil.copytree(amos, tmp_path / "data")
    for folder in ("imagesTr", "labelsTr"):
        shutil.copy(data / folder / "amos_0001.nii.gz", data / folder / "amos_0099.nii.gz")
    with pytest.raises(InputError, match="amos_0099.nii.gz' has the voxels of .*amos_0001.nii.gz"):
        draw(data, tmp_path / "list.json")
    assert not (tmp_path / "list.json").exists()


def test_every_case_once_and_every_organ_labeled(amos, tmp_path):
    drawn = [draw(amos, tmp_path / f"{seed}.json", seed=seed) for seed in range(4)]
    for content in drawn:
        assert [len(content[name]) for name in LISTS] == [3, 5, 1, 1]
        assert sorted(itertools.chain(*(content[name] for name in LISTS))) == [f"{i:04d}" for i in range(1, 11)]
        assert {"0005", "0007"} <= set(content["labeled"])
        assert {"0003", "0008"} <= set(content["unlabeled"])
        assert all(content[name] == sorted(content[name]) for name in LISTS)
    assert len({json.dumps(content["labeled"]) for content in drawn}) > 1
    assert drawn[3]["made_with"]["seed"] == 3 and drawn[3]["made_with"]["labeled"] == 3


def test_same_seed_same_list_on_every_machine(amos, tmp_path):
    """Another folder, files written in another order, another process and hash seed."""
    other = tmp_path / "another machine"
    for file in sorted(amos.rglob("amos_*.nii.gz"), reverse=True):
        (other / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, other / file.parent.name / file.name)
    draw(amos, tmp_path / "a" / "drawn.json", seed=5)
    subprocess.run(
        [
            *(sys.executable, "-m", "scdl_components", "make-list", "--config_file", CONFIG, "--seed", "5"),
            *("--dataset_dir", other, "--output", tmp_path / "b" / "drawn.json"),
            *("--labeled", "3", "--validation", "1", "--test", "1"),
        ],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    )
    assert (tmp_path / "a" / "drawn.json").read_bytes() == (tmp_path / "b" / "drawn.json").read_bytes()


def test_drawing_is_pinned():
    """What a seed drew once it draws in every version."""
    organs_of = {f"{i:04d}": frozenset({"liver"} | ({"spleen"} if i % 5 == 0 else set())) for i in range(20)}
    assert draw_lists(organs_of, ["0020"], 3, 3, 2, seed=0) == {
        "labeled": ["0005", "0007", "0015"],
        "unlabeled": [f"{i:04d}" for i in (1, 2, 4, 6, 8, 9, 11, 12, 13, 14, 17, 19, 20)],
        "validation": ["0000", "0016", "0018"],
        "test": ["0003", "0010"],
    }


def test_other_modalities_are_left_out_unless_asked_for(amos, tmp_path):
    assert "0507" not in json.dumps(draw(amos, tmp_path / "ct.json"))
    mixed = draw(amos, tmp_path / "mixed.json", modalities=["CT", "MR"])
    assert "0507" in json.dumps(mixed) and mixed["modalities"] == ["CT", "MR"]
    cases = load_cases(str(amos), str(tmp_path / "mixed.json"), LAYOUTS, other_modalities={"MR": "amos_05"})
    assert sum(map(len, cases.values())) == 11


def test_refusals_name_the_way_out(amos, tmp_path):
    output = tmp_path / "drawn.json"
    for arguments, message in (
        ({"labeled": 9}, "labeled 9, test 1, validation 1: 11 cases with a label are needed, there are 8"),
        (
            {"labeled": 1},
            "1 labeled .* too few to show every organ: of 1000 draws the best one lacks .*bladder.*; give a larger --labeled",
        ),
        ({"labeled": 0}, "labeled is 0; expected a number of cases, 1 or more"),
        ({"labeled": 2.5}, "labeled is 2.5; expected a number of cases"),
        ({"test": -1}, "test is -1; expected a number of cases, 0 or more"),
        ({"label": 2}, "there is no key 'label'"),
        (
            {"load_cases#layouts": [{"image": "img/{id}.nii.gz", "label": "label/{id}.nii.gz"}]},
            "(?s)no cases of CT.*zenodo",
        ),
    ):
        with pytest.raises(InputError, match=message):
            draw(amos, output, **arguments)
    with pytest.raises(InputError, match="'nowhere.yaml' does not exist"):
        make_list("nowhere.yaml", str(output), labeled=1)
    assert not list(tmp_path.iterdir())
    output.write_text("mine")
    with pytest.raises(StorageError, match="cannot write to .*give another --output"):
        make_list("nowhere.yaml", str(output / "below a file.json"), labeled=1)
    with pytest.raises(InputError, match="is there already and is left alone"):
        draw(amos, output)
    assert output.read_text() == "mine"


def test_bad_labels_are_told_all_at_once(amos, tmp_path):
    data = shutil.copytree(amos, tmp_path / "data")
    truncated, foreign = (data / "labelsTr" / f"amos_{case}.nii.gz" for case in ("0002", "0004"))
    truncated.write_bytes(truncated.read_bytes()[:100])
    image = nib.load(foreign)
    nib.save(nib.Nifti1Image(np.full(image.shape, 16, np.uint8), image.affine), foreign)
    with pytest.raises(InputError) as error:
        draw(data, tmp_path / "drawn.json")
    for text in (f"ERROR: {truncated}", f"ERROR: {foreign}: has values 16 outside the organ table"):
        assert text in str(error.value)


def test_a_label_without_any_organ_can_only_be_unlabeled(amos, tmp_path, caplog):
    data = shutil.copytree(amos, tmp_path / "data")
    empty = data / "labelsTr" / "amos_0001.nii.gz"
    image = nib.load(empty)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), empty)
    content = draw(data, tmp_path / "drawn.json", labeled=5)
    assert content["unlabeled"] == ["0001", "0003", "0008"]
    assert f"{empty} is empty: the case can only be unlabeled" in caplog.text


def test_finds_cases_in_nested_and_mixed_layouts(tmp_path):
    """An id that stands twice in the path must be the same; of two layouts the one with the label is taken."""
    layouts = [
        {"image": "{id}/ct_{id}.nii.gz", "label": "{id}/seg.nii.gz"},
        {"image": "./i[1]/{id}.nii", "label": "l/{id}.nii"},
    ]
    for name in ("a b/ct_a b.nii.gz", "c/ct_d.nii.gz", "i[1]/a b.nii", "l/a b.nii", "i[1]/é.nii", "i1/x.nii"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_cases(str(tmp_path), layouts) == {
        "a b": {"image": str(tmp_path / "i[1]/a b.nii"), "label": str(tmp_path / "l/a b.nii")},
        "é": {"image": str(tmp_path / "i[1]/é.nii")},
    }
    with pytest.raises(ValueError, match="containing '{id}'"):
        find_cases(str(tmp_path), [{"image": "img.nii", "label": "{id}.nii"}])

# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""The AMOS bundle: its lists, its MR cases, and a run on phantoms."""

import json

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser
from support.runner import BUNDLES, SCALE, copy_bundle, options, run_monai

from scdl_components.data import InputCheck
from scdl_components.data.case_entries import LISTS, CaseListError
from scdl_components.errors import InputError, MissingFileError
from scdl_components.phantom import AMOS_ORGANS

CONFIGS = BUNDLES / "scdl_amos" / "configs"
# labeled, unlabeled, validation, test
COUNTS = {
    ("published", 2): (4, 212, 24, 120),
    ("published", 5): (10, 206, 24, 120),
    ("published", 10): (21, 195, 24, 120),
    ("ct", 2): (4, 178, 18, 100),
    ("ct", 5): (7, 175, 18, 100),
    ("ct", 10): (16, 166, 18, 100),
}
NUM_MR = {2: (0, 34, 6, 20), 5: (3, 31, 6, 20), 10: (5, 29, 6, 20)}


def shipped(name: str, percent: int) -> dict:
    return json.loads((CONFIGS / "case_lists" / f"{name}_{percent}p.json").read_text())


def parser_of(*files: str, **keys: object) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([CONFIGS / file for file in files])
    parser.update({"bundle_root": str(CONFIGS.parent), **{key: str(value) for key, value in keys.items()}})
    return parser


def load(folder, case_list, percent=5):
    """The cases as the config loads them."""
    parser = parser_of("train.yaml", dataset_dir=folder, case_list=case_list, labeled_percent=percent)
    return parser.get_parsed_content("load_cases")()


def touch(folder, ids, test_ids=()):
    """Empty files in AMOS's layout: the challenge's validation cases lie in imagesVa."""
    for folders, names in ((("imagesTr", "labelsTr"), ids), (("imagesVa", "labelsVa"), test_ids)):
        for name in folders:
            (folder / name).mkdir(parents=True, exist_ok=True)
            for case in names:
                (folder / name / f"amos_{case}.nii.gz").touch()


@pytest.mark.parametrize("name, percent", COUNTS)
def test_lists_hold_what_was_published(name, percent):
    lists = [shipped(name, percent)[key] for key in LISTS]
    assert tuple(map(len, lists)) == COUNTS[name, percent]
    mr = tuple(sum(int(case) >= 500 for case in cases) for cases in lists)
    assert mr == (NUM_MR[percent] if name == "published" else (0, 0, 0, 0))


@pytest.mark.parametrize("percent", NUM_MR)
def test_ct_lists_are_the_published_ones_without_mr(percent):
    for key in LISTS:
        published = shipped("published", percent)[key]
        assert shipped("ct", percent)[key] == [case for case in published if int(case) < 500]


def test_only_these_lists_are_shipped():
    shipped_files = {path.name for path in (CONFIGS / "case_lists").iterdir()}
    assert shipped_files == {f"{name}_{percent}p.json" for name, percent in COUNTS}


@pytest.mark.parametrize("name, percent", COUNTS)
def test_lists_load_in_amos_layout(tmp_path, name, percent):
    content = shipped(name, percent)
    touch(tmp_path, [case for key in LISTS[:3] for case in content[key]], content["test"])
    cases = load(tmp_path, name, percent)
    assert tuple(len(cases[key]) for key in LISTS) == COUNTS[name, percent]
    assert {item["image"].split("/")[-2] for item in cases["test"]} == {"imagesVa"}
    assert {item["label"].split("/")[-2] for item in cases["labeled"] + cases["validation"]} == {"labelsTr"}


def test_without_data_it_says_where_to_get_it(tmp_path):
    with pytest.raises(MissingFileError) as error:
        load(tmp_path, "ct", 5)
    for text in ("none of the 300 cases", f"{tmp_path}/imagesTr/amos_0", f"{tmp_path}/labelsVa/amos_0", "zenodo"):
        assert text in str(error.value)
    with pytest.raises(CaseListError, match="(?s)case list 'ct' .*published_10p.json.*labeled_percent .now 20"):
        load(tmp_path, "ct", 20)


def test_mr_in_a_ct_list_is_refused_by_name(tmp_path):
    """Ids and paths, whatever the folder; the extra CTs of AMOS, numbered from 5000, are none."""
    touch(tmp_path, ["0001", "0004", "0499", "0500", "0507", "0599", "5437"])
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "case_0000.nii.gz").symlink_to(tmp_path / "imagesTr" / "amos_0500.nii.gz")
    content = {
        "labeled": ["0001", {"image": "imagesTr/amos_0507.nii.gz", "label": "labelsTr/amos_0507.nii.gz"}],
        "unlabeled": ["imagesTr/amos_0004.nii.gz", "0499", "5437", "img/case_0000.nii.gz"],
        "test": ["0599"],
    }
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content))
    with pytest.raises(CaseListError) as error:
        load(tmp_path, path)
    [line] = str(error.value).split("\n- ")[1:]
    by_path = f"'{tmp_path}/imagesTr/amos_0507.nii.gz' (labeled), '{tmp_path}/img/case_0000.nii.gz' (unlabeled)"
    assert line.startswith(f"3 case(s) are MR in a list of CT: {by_path}, '0599' (test); take them out")
    assert line.endswith('add "modalities": ["CT", "MR"] to the list')
    path.write_text(json.dumps(content | {"modalities": ["CT", "MR"]}))
    assert len(load(tmp_path, path)["unlabeled"]) == 4


@pytest.mark.parametrize("modalities", ["MR", [1], {"0": "CT"}])
def test_damaged_modalities_are_a_problem(tmp_path, modalities):
    (tmp_path / "mine.json").write_text(json.dumps({"labeled": ["0001"], "modalities": modalities}))
    with pytest.raises(CaseListError, match='"modalities" is .*; expected a list such as'):
        load(tmp_path, "mine.json")


def test_mr_values_are_no_hu(tmp_path):
    """In a mixed list MR values are no fault of the file, before training and before evaluation; in a CT they stay one."""
    items = []
    for case in ("0001", "0507", "0508"):
        low, scale = (-1000, 1500) if case == "0001" else (0, 40)
        voxels = (low + scale * np.random.default_rng(int(case)).random((8, 8, 8))).astype(np.int16)
        label = np.tile(np.arange(16, dtype=np.uint8), 32).reshape(8, 8, 8)
        item = {"image": str(tmp_path / f"amos_{case}.nii.gz"), "label": str(tmp_path / f"label_{case}.nii.gz")}
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), item["image"])
        nib.save(nib.Nifti1Image(label, np.eye(4)), item["label"])
        items.append(item)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"labeled": items[:1], "test": items[1:], "modalities": ["CT", "MR"]}))
    train = parser_of("train.yaml", dataset_dir=tmp_path, case_list=path)
    train.update({f"train#check#{name}": items if name == "labeled" else () for name in LISTS})
    evaluate = parser_of("inference.yaml", "evaluate.yaml", dataset_dir=tmp_path, case_list=path, output_dir=tmp_path)
    train.get_parsed_content("train#check").run()
    evaluate.get_parsed_content("evaluation").check()
    assert evaluate["segmentation"]["other_modalities"] == evaluate["evaluation"]["other_modalities"]
    with pytest.raises(InputError, match="(?s)2 error.*amos_0507.nii.gz: values from .* are not HU"):
        InputCheck(AMOS_ORGANS, items).run()


def test_phantom_overlay_trains_and_segments_15_organs(tmp_path):
    bundle = copy_bundle(tmp_path, "scdl_amos")
    run_monai(
        *("run", "training", "--config_file", f"['{bundle}/configs/train.yaml','{bundle}/configs/phantom.yaml']"),
        *options(max_iterations=2, val_interval=2),
        *("--dataset_dir#spacing", "[10,10,10]", "--dataset_dir#num_unlabeled", "2"),
        cwd=tmp_path,
    )
    assert (bundle / "models" / "model.pt").is_file()
    drawn = json.loads((bundle / "data" / "phantom" / "case_list.json").read_text())
    assert drawn["phantom"]["organs"] == list(AMOS_ORGANS)
    image = bundle / "data" / "phantom" / drawn["test"][0]["image"]
    run_monai(
        *("run", "--config_file", bundle / "configs" / "inference.yaml", "--dataset_dir", image, *SCALE), cwd=tmp_path
    )
    name = image.name.removesuffix(".nii.gz")
    assert nib.load(bundle / "eval" / f"{name}_seg.nii.gz").shape == nib.load(image).shape
    labels = json.loads((bundle / "eval" / f"{name}_seg.json").read_text())["labels"]
    assert labels == {str(value): organ for value, organ in enumerate(("background", *AMOS_ORGANS))}

# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support.dicom import write_series

from scdl_components.data import load_cases, unlabeled_stream

LAYOUTS = [{"image": "img/{id}.nii.gz", "label": "label/{id}.nii.gz"}]


@pytest.fixture
def studies(tmp_path) -> Path:
    """Five images and the final labels of two, as MONAI Label keeps them; other things lie about."""
    folder = tmp_path / "studies"
    for labels in ("final", "original"):
        (folder / "labels" / labels).mkdir(parents=True)
    for name in ("a.nii.gz", "b.nii.gz", "c.nii", "d.nii.gz", "e.nii.gz", ".f.nii.gz", "datastore_v2.json", "g.png"):
        (folder / name).touch()
    for name in ("final/a.nii.gz", "final/b.nii.gz", "original/c.nii"):
        (folder / "labels" / name).touch()
    return folder


def item(folder: Path, name: str) -> dict[str, str]:
    return {"image": str(folder / name), "label": str(folder / "labels" / "final" / name)}


def no_list(tmp_path: Path) -> partial:
    """A case list none of whose files is there, as in MONAI Label."""
    path = tmp_path / "list.json"
    path.write_text('{"labeled": ["1"], "unlabeled": ["2"]}')
    return partial(load_cases, str(tmp_path), str(path), LAYOUTS)


def names(cases: list[dict[str, str]]) -> list[str]:
    assert all(set(case) == {"image"} for case in cases)
    return [Path(case["image"]).name for case in cases]


def test_studies_without_a_final_label_are_unlabeled(studies, tmp_path):
    stream = unlabeled_stream([item(studies, "a.nii.gz")], [item(studies, "b.nii.gz")], no_list(tmp_path), 2)
    assert names(stream.cases) == ["c.nii", "d.nii.gz", "e.nii.gz"] and stream.batch_size == 2


def test_a_series_of_another_modality_is_no_unlabeled_study(studies, tmp_path):
    """Of those behind DICOMweb, MONAI Label keeps the file and, in a folder of its name, the series."""
    voxels = np.zeros((4, 4, 2))
    write_series(studies / "d", voxels, np.eye(4), "1.2.3", Modality="MR")
    write_series(studies / "e", voxels, np.eye(4), "1.2.4")
    cases = unlabeled_stream([item(studies, "a.nii.gz")], [item(studies, "b.nii.gz")], no_list(tmp_path), 2).cases
    assert names(cases) == ["c.nii", "e.nii.gz"]


def test_linked_studies_are_those_of_the_folder_of_links(studies, tmp_path):
    """MONAI Label hands over the file that a link leads to; what lies beside that is no study."""
    links = tmp_path / "links"
    (links / "labels" / "final").mkdir(parents=True)
    for name in ("a.nii.gz", "d.nii.gz"):
        (links / name).symlink_to(studies / name)
    labeled = {"image": str(studies / "a.nii.gz"), "label": str(links / "labels" / "final" / "a.nii.gz")}
    assert names(unlabeled_stream([labeled], [], no_list(tmp_path), 2).cases) == ["d.nii.gz"]


def test_with_every_study_labeled_training_goes_on_without(studies, tmp_path):
    labeled = [item(studies, name) for name in ("a.nii.gz", "b.nii.gz", "c.nii", "d.nii.gz")]
    with pytest.warns(UserWarning, match="training on the 4 labeled alone"):
        stream = unlabeled_stream(labeled, [item(studies, "e.nii.gz")], no_list(tmp_path), 2)
    assert stream == ([], 0, [])


@pytest.fixture
def load(tmp_path) -> partial:
    """A case list whose files are there: 1 and 2 labeled, 3 unlabeled, 4 validation, 5 test; 6 is in no list."""
    for folder in ("img", "label"):
        (tmp_path / folder).mkdir()
        for number in range(1, 7):
            (tmp_path / folder / f"{number}.nii.gz").touch()
    path = tmp_path / "list.json"
    path.write_text('{"labeled": ["1", "2"], "unlabeled": ["3"], "validation": ["4"], "test": ["5"]}')
    return partial(load_cases, str(tmp_path), str(path), LAYOUTS)


def test_labeled_cases_of_the_list_or_some_of_them_take_its_unlabeled_ones(load):
    lists = load()
    for labeled in (lists["labeled"], lists["labeled"][1:]):
        assert unlabeled_stream(labeled, lists["validation"], load, 2) == (lists["unlabeled"], 2, lists["test"])
    assert unlabeled_stream(labeled, lists["validation"], load, 0) == ([], 0, lists["test"])


def test_an_empty_unlabeled_list_keeps_its_batch_size(load, tmp_path):
    """The loader then refuses: whoever writes a list without unlabeled cases has to say that this is meant."""
    (tmp_path / "list.json").write_text('{"labeled": ["1"], "unlabeled": []}')
    assert unlabeled_stream(load()["labeled"], [], load, 2) == ([], 2, [])


def test_held_out_cases_of_the_list_are_never_unlabeled(load, tmp_path):
    labeled = [{"image": str(tmp_path / "img" / "6.nii.gz"), "label": str(tmp_path / "label" / "6.nii.gz")}]
    cases = unlabeled_stream(labeled, [], load, 2).cases
    assert names(cases) == ["1.nii.gz", "2.nii.gz", "3.nii.gz"]

# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from scdl_components.data.results import find_results, result_names, sidecar_of
from scdl_components.errors import InputError


@pytest.mark.parametrize(
    "names",
    [
        {"/d/a.b.nii.gz": "a.b", "/d/c.nii": "c", "/d/series 1": "series 1"},
        {"/d/s1/ct.nii.gz": "s1_ct", "/d/s2/ct.nii.gz": "s2_ct", "/d/s1/mr.nii": "mr"},
        # only as many folders as it takes, also where a name with its folder is another's
        {"/x/s1/a/ct.nii.gz": "s1_a_ct", "/x/s2/a/ct.nii.gz": "s2_a_ct", "/x/s2/b/ct.nii.gz": "b_ct"},
        {"/a/ct.nii": "a_ct", "/b/ct.nii": "b_ct", "/c/d/a_ct.nii": "d_a_ct"},
        {"/d/1.3.6.1.4.1.101": "1.3.6.1.4.1.101", "/d/1.3.6.1.4.1.102": "1.3.6.1.4.1.102", "/d/A.NII.GZ": "A"},
        {"/ct.nii": "ct", "/d/ct.nii": "d_ct"},
    ],
)
def test_names_tell_images_apart(names):
    assert result_names(list(names)) == names


def test_a_result_is_found_whatever_its_image_was_given_with(tmp_path):
    """By its JSON; without one, by the names of these images."""
    one, two = "/d/s1/ct.nii.gz", "/d/s2/ct.nii.gz"
    alone, named = tmp_path / "ct_seg.nii.gz", tmp_path / "s2_ct_seg.nii.gz"
    assert find_results(tmp_path, [one]) == {one: alone} and find_results(tmp_path, [one, two])[two] == named
    for path, image in ((alone, one), (named, two)):
        path.touch()
        sidecar_of(path).write_text(json.dumps({"image": image}))
    assert find_results(tmp_path, [one, two]) == {one: alone, two: named}
    assert find_results(tmp_path, [two]) == {two: named}


def test_two_files_of_one_name_in_one_folder_are_refused():
    with pytest.raises(InputError, match="'/d/ct.nii' and '/d/ct.nii.gz' have one name"):
        result_names(["/d/ct.nii", "/e/ct.nii", "/d/ct.nii.gz"])

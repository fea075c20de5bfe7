# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import runpy
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scdl_components.bundle import class_names
from scdl_components.errors import InputError
from scdl_components.tools.relabel import map_labels, relabel

SEGMENTATION = Path(__file__).parents[1] / "data" / "real_ct" / "segmentation.nii.gz"
METADATA = Path(__file__).parents[2] / "bundles" / "scdl_synapse" / "configs" / "metadata.json"


def test_the_real_ct_by_command(tmp_path):
    output = tmp_path / "labels" / "label0001.nii.gz"
    arguments = ["--segmentation", SEGMENTATION, "--output", output, "--metadata", METADATA]
    subprocess.run([sys.executable, "-m", "scdl_components", "relabel", *arguments], check=True)
    before, after = nib.load(SEGMENTATION), nib.load(output)
    assert after.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(before.affine, after.affine)
    before, after = np.asarray(before.dataobj), np.asarray(after.dataobj)
    # liver 5 -> 6, spleen 1 -> 1, left adrenal 9 -> 13, duodenum 19 -> background
    for old, new in ((5, 6), (1, 1), (9, 13)):
        np.testing.assert_array_equal(before == old, after == new)
    assert (after[before == 19] == 0).all() and after.max() == 13


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    image = nib.load(SEGMENTATION)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., None], image.affine), tmp_path / "four.nii.gz")
    sources = SEGMENTATION, tmp_path / "four.nii.gz"
    three, four = (nib.load(relabel(str(path), str(tmp_path / "out" / path.name), str(METADATA))) for path in sources)
    assert four.shape == image.shape
    np.testing.assert_array_equal(three.dataobj, four.dataobj)


def test_organs_that_the_bundle_lacks_become_background():
    values = np.array([0, 5, 19, 999])
    np.testing.assert_array_equal(map_labels(values, ["duodenum", "liver"]), [0, 2, 1, 0])


def named(path: Path, values: list[int], names: dict[int, str]) -> str:
    """A segmentation with the header that TotalSegmentator writes."""
    image = nib.Nifti1Image(np.array(values, np.uint8).reshape(-1, 1, 1), np.eye(4))
    labels = "".join(f'<Label Key="{number}" Red="0.0"><![CDATA[{name}]]></Label>' for number, name in names.items())
    text = f"<CaretExtension><LabelTable>{labels}</LabelTable></CaretExtension>"
    image.header.extensions.append(nib.nifti1.Nifti1Extension(0, text.encode()))
    nib.save(image, path)
    return str(path)


def test_the_names_in_the_header_count_where_there_are_any(tmp_path):
    """Version 1 has 7 for the aorta, which in version 2 is the pancreas."""
    of_version_1 = named(tmp_path / "v1.nii.gz", [0, 7, 8, 10], {7: "aorta", 8: "inferior_vena_cava", 10: "pancreas"})
    written = nib.load(relabel(of_version_1, str(tmp_path / "out.nii.gz"), str(METADATA)))
    organs = class_names(str(METADATA))
    found = [organs[value] for value in np.asarray(written.dataobj).ravel()]
    assert found == ["background", "aorta", "inferior vena cava", "pancreas"]
    other_task = named(tmp_path / "bones.nii.gz", [0, 1], {1: "femur_left"})
    with pytest.raises(InputError, match="bones.nii.gz names no organ of .*: femur_left"):
        relabel(other_task, str(tmp_path / "x.nii.gz"), str(METADATA))


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"segmentation": "absent.nii.gz"}, "InputError: 'absent.nii.gz' cannot be read"),
        ({"output": "x"}, "InputError: output is 'x'; its name must end in .nii or .nii.gz"),
        ({"output": f"{METADATA}/x.nii.gz"}, f"StorageError: cannot write to {METADATA} "),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, monkeypatch, capsys, changed, message):
    monkeypatch.chdir(tmp_path)
    given = {"segmentation": SEGMENTATION, "output": "x.nii.gz", "metadata": METADATA, **changed}
    monkeypatch.setattr(sys, "argv", ["monai-scdl", "relabel", *(f"--{key}={value}" for key, value in given.items())])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_module("scdl_components", run_name="__main__")
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(message)
    assert not list(tmp_path.iterdir())


def test_a_damaged_segmentation_is_named(tmp_path):
    (tmp_path / "cut.nii.gz").write_bytes(SEGMENTATION.read_bytes()[:9000])
    with pytest.raises(InputError, match="cut.nii.gz' cannot be read"):
        relabel(str(tmp_path / "cut.nii.gz"), str(tmp_path / "x.nii.gz"), str(METADATA))


def test_an_image_is_no_segmentation(tmp_path):
    with pytest.raises(InputError, match="ct.nii.gz is no segmentation"):
        relabel(str(SEGMENTATION.with_name("ct.nii.gz")), str(tmp_path / "x.nii.gz"), str(METADATA))

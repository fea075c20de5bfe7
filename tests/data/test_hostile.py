# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""What nobody should have to fear: damaged or hostile files, arbitrary lists, names of any characters."""

import gzip
import json
import logging
import os
import resource
import struct
import tempfile
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.dicom import write_series
from support.runner import REAL_CT, SCALE, copy_bundle, options, run_monai

from scdl_components.data import list_images, load_cases
from scdl_components.data.case_entries import LISTS
from scdl_components.data.check_rules import CaseFacts, find_problems
from scdl_components.data.facts import VolumeFacts, read_facts
from scdl_components.errors import InputError, UserError

LAYOUTS = [{"image": "img/{id}.nii.gz", "label": "label/{id}.nii.gz"}]
# what shells, printf, globs, URLs and MONAI's configs ($ expression, @ reference, % macro, # level) take for their own
NAME = "$HOME @x %d #1 'q' \"é腹\" [a]*{id} a,b"
MAX_BYTES = 64 * 2**20


def bounded(max_examples: int) -> settings:
    """The same examples each time, and no time limit for one: the machine may be busy."""
    slow = [HealthCheck.too_slow]
    return settings(
        max_examples=max_examples, deadline=None, database=None, derandomize=True, suppress_health_check=slow
    )


def bomb(path: Path) -> None:
    """A file of 100 bytes that announces 60 terabytes."""
    header = nib.Nifti1Header()
    header.set_data_shape((32000, 32000, 32000))
    header.set_data_dtype(np.int16)
    header["magic"], header["vox_offset"] = b"n+1", 352
    path.write_bytes(gzip.compress(header.binaryblock + bytes(100)))


def test_training_and_inference_with_names_of_any_characters(crops, tmp_path):
    """Folder of the data, folders of the results, ids and paths of cases: all of them with every odd character."""
    data = tmp_path / NAME
    (data / "img").mkdir(parents=True)
    (data / "label").mkdir()
    names = ["$a", "@train", "%b", "#c", "é f"]
    for number, name in enumerate(names, start=1):
        for key, path in crops.case(number).items():
            folder = {"image": "img/img", "label": "label/label"}[key]
            Path(path).rename(data / f"{folder}{name}.nii.gz")
    (data / "img" / "img%b.nii.gz").rename(data / "%b.nii.gz")
    content = {"labeled": names[:2], "unlabeled": ["%b.nii.gz", "#c"], "validation": ["é f"]}
    (data / "$list.json").write_text(json.dumps(content))

    bundle, output = copy_bundle(tmp_path), tmp_path / f"results of {NAME.replace('#', '')}"
    run_monai(
        *("run", "training", "--config_file", bundle / "configs" / "train.yaml", "--output_dir", output / "logs"),
        *options(dataset_dir=data, case_list="./$list.json", ckpt_dir=output / "models", max_iterations=1),
        cwd=tmp_path,
    )
    weights = output / "models" / "model.pt"
    assert weights.is_file() and list((output / "logs").iterdir())

    bomb(data / "img" / "bomb $%@.nii.gz")
    (data / "img" / "$HOME.nii.gz").write_bytes((REAL_CT / "ct.nii.gz").read_bytes())
    told = run_monai(
        *("run", "--config_file", bundle / "configs" / "inference.yaml", "--weights", weights, *SCALE),
        *("--dataset_dir", data / "img", "--output_dir", output / "#segmentations"),
        cwd=tmp_path,
        check=False,
    )
    # the bomb failed from its header; the others are there
    failed = told[told.rindex("UserError") :]
    assert "1 of 6 cases failed" in failed and "bomb $%@.nii.gz: its header announces 32000x32000x32000" in failed
    assert "MONAI's config language writes # as ::" in told
    found = {path.name for path in (output / "::segmentations").glob("*.nii.gz")}
    assert found == {f"{name}_seg.nii.gz" for name in ("img$a", "img@train", "img#c", "imgé f", "$HOME")}


def test_what_the_config_language_did_to_a_path_is_undone(tmp_path, monkeypatch):
    """MONAI writes # as ::, on the command line as well; a folder that has :: in its name is found all the same."""
    for name in ("a#b", "c::d"):
        (tmp_path / name / "img").mkdir(parents=True)
        (tmp_path / name / "img" / "x.nii.gz").touch()
    for given_name, name in (("a::b", "a#b"), ("a#b", "a#b"), ("c::d", "c::d")):
        item = {"image": str(tmp_path / name / "img" / "x.nii.gz")}
        assert list_images(tmp_path / given_name) == [item]
        (tmp_path / name / "list.json").write_text(json.dumps({"labeled": [{**item, "label": item["image"]}]}))
        assert load_cases(str(tmp_path / given_name), "list.json", LAYOUTS)["labeled"][0]["image"] == item["image"]
    for value in (1000.0, None, {"a"}, "a\0b"):
        with pytest.raises(InputError, match="expected a path"):
            load_cases(value, "list.json", LAYOUTS)
        with pytest.raises(InputError, match="expected"):
            list_images(value)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fuzzed")
    for name in ("1", "2", "é", "$x"):
        for key in ("img", "label"):
            (folder / key).mkdir(exist_ok=True)
            (folder / key / f"{name}.nii.gz").touch()
    return folder


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
# what lists hold, and what they might be made to hold
NAMES = ["1", "2", "é", "$x", "img/1.nii.gz", "~root/x.nii", "~\ud800.nii", "../img/2.nii.gz", "a" * 5000]
ENTRIES = st.sampled_from(NAMES)
ITEMS = st.dictionaries(st.sampled_from(["image", "label", "id"]), ENTRIES | SCALARS, max_size=3)
VALUES = st.recursive(
    SCALARS | ENTRIES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
KEYS = st.sampled_from([*LISTS, "modalities", "name"]) | st.text(max_size=3)
JSON_CHARACTERS = '{}[]":,0123456789.eE+-\\u labeledtrn'
CONTENTS = st.dictionaries(KEYS, st.lists(ENTRIES | ITEMS, max_size=3) | VALUES, max_size=5) | VALUES


def load_or_refuse(dataset: Path, content: bytes) -> None:
    path = dataset / "list.json"
    path.write_bytes(content)
    try:
        cases = load_cases(str(dataset), str(path), LAYOUTS, other_modalities={"MR": "^2"})
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert list(cases) == list(LISTS) and cases["labeled"]
        assert all(os.path.exists(file) for items in cases.values() for item in items for file in item.values())


@bounded(300)
@given(content=CONTENTS)
@example(content={"labeled": ["1"], "unlabeled": ["é", "$x"]})
def test_any_json_is_a_sound_list_or_refused_by_name(dataset, content):
    load_or_refuse(dataset, json.dumps(content).encode())


@bounded(150)
@given(content=st.binary(max_size=200) | st.text(alphabet=JSON_CHARACTERS, max_size=80).map(str.encode))
@example(content=b'{"labeled": ' + b"[" * 200_000)
@example(content=b'{"labeled": [' + b"9" * 5000 + b"]}")
@example(content=b'{"labeled": ["\\ud800"], "unlabeled": [1e999, NaN]}')
def test_any_bytes_are_a_sound_list_or_refused_by_name(dataset, content):
    load_or_refuse(dataset, content)


def find_or_refuse(path: str) -> VolumeFacts:
    """Facts or a failure, and rules that cope with either."""
    facts = read_facts(path)
    find_problems([CaseFacts("labeled", facts, facts)], ("liver", "spleen"))
    assert facts.failure or (len(facts.shape) == 3 and facts.counts.sum() + facts.num_non_finite > 0)
    return facts


SOUND_NIFTI = nib.Nifti1Image(np.arange(-200, 312, dtype=np.int16).reshape(8, 8, 8), np.diag([2, 2, 3, 1])).to_bytes()
# bytes put elsewhere in a file: mostly into the header, each field of which is at most 8 bytes
EDITS = st.lists(st.tuples(st.integers(0, 360) | st.integers(0, 5000), st.binary(min_size=1, max_size=8)), max_size=4)


def edited(content: bytes, edits: list[tuple[int, bytes]], length: int | None) -> bytes:
    content = bytearray(content)
    for position, new in edits:
        content[position : position + len(new)] = new
    return bytes(content[:length])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, on affines and slopes that overflow
@bounded(400)
@given(
    edits=EDITS,
    length=st.none() | st.integers(0, 1500),
    packed_edits=st.none() | EDITS,
    packed_length=st.none() | st.integers(0, 700),
)
@example(edits=[], length=None, packed_edits=None, packed_length=None)
@example(edits=[], length=None, packed_edits=[], packed_length=None)
@example(edits=[(40, struct.pack("<4h", 3, 32000, 32000, 32000))], length=None, packed_edits=[], packed_length=None)
@example(edits=[(40, struct.pack("<4h", 3, 1000, 1000, 1000))], length=None, packed_edits=None, packed_length=None)
@example(edits=[(108, struct.pack("<f", np.nan))], length=None, packed_edits=None, packed_length=None)
@example(edits=[(112, struct.pack("<2f", 1e38, np.inf))], length=None, packed_edits=None, packed_length=None)
def test_damaged_nifti_gives_facts_or_a_reason(edits, length, packed_edits, packed_length):
    content = edited(SOUND_NIFTI, edits, length)
    if packed_edits is not None:
        content = edited(gzip.compress(content, 1), packed_edits, packed_length)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("x.nii" if packed_edits is None else "x.nii.gz")
        path.write_bytes(content)
        tracemalloc.start()
        try:
            facts = find_or_refuse(str(path))
            assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
        finally:
            tracemalloc.stop()
    assert not facts.failure or (edits, length, packed_edits or [], packed_length) != ([], None, [], None)


@pytest.mark.filterwarnings("ignore")  # pydicom's
@bounded(60)
@given(edits=st.lists(st.tuples(st.integers(128, 1400), st.binary(min_size=1, max_size=4)), min_size=1, max_size=3))
def test_damaged_dicom_gives_facts_or_a_reason(edits):
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        write_series(Path(folder) / "series", np.arange(-200, 56, dtype=np.int16).reshape(8, 8, 4), np.eye(4), "1.2.3")
        path = sorted((Path(folder) / "series").iterdir())[1]
        path.write_bytes(edited(path.read_bytes(), edits, None))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        find_or_refuse(str(path.parent))
        # of memory in use: pydicom asks for what a length announces, and lets go of it untouched
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 4 * MAX_BYTES


@pytest.mark.filterwarnings("ignore")
def test_dicom_that_announces_too_much_is_refused_from_its_headers(tmp_path):
    write_series(tmp_path / "series", np.zeros((8, 8, 4), np.int16), np.eye(4), "1.2.3")
    for path in (tmp_path / "series").iterdir():
        header = pydicom.dcmread(path)
        header.Rows = header.Columns = 65535
        header.save_as(path)
    assert "its headers announce 17179344900 voxels" in read_facts(str(tmp_path / "series")).failure

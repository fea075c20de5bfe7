# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
"""Case lists: what is found, and that a list with faults is refused with all of them."""

import json
import re
from pathlib import Path

import pytest

from scdl_components.data.case_entries import CaseListError
from scdl_components.data.case_list import items_by_path, load_cases
from scdl_components.errors import MissingFileError

HERE = Path(__file__).parent
PUBLISHED = HERE.parents[1] / "bundles" / "scdl_synapse" / "configs" / "case_lists"
LAYOUTS = [
    {"image": "img/img{id}.nii.gz", "label": "label/label{id}.nii.gz"},
    {"image": "RawData/Training/img/img{id}.nii.gz", "label": "RawData/Training/label/label{id}.nii.gz"},
    {"image": "imagesTr/img{id}.nii.gz", "label": "labelsTr/label{id}.nii.gz"},
]


def touch(folder: Path, *ids: str, layout: int = 0, keys: tuple[str, ...] = ("image", "label")) -> None:
    for case in ids:
        for key in keys:
            path = folder / LAYOUTS[layout][key].replace("{id}", case)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def write_list(folder: Path, content: object, name: str = "list.json") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(path)


def problems_of(folder: Path, content: object, **kwargs: object) -> list[str]:
    with pytest.raises(CaseListError) as error:
        load_cases(str(folder), write_list(folder, content), LAYOUTS, **kwargs)
    return str(error.value).split("\n- ")[1:]


@pytest.mark.parametrize("percent, num_labeled", [(10, 2), (20.0, 4)])
@pytest.mark.parametrize("layout", range(3))
def test_published_lists_in_every_layout(tmp_path, percent, num_labeled, layout):
    touch(tmp_path, *(f"{i:04d}" for i in (*range(1, 11), *range(21, 41))), layout=layout)
    cases = load_cases(str(tmp_path), "published", LAYOUTS, str(PUBLISHED), percent)
    assert {name: len(items) for name, items in cases.items()} == {
        "labeled": num_labeled,
        "unlabeled": 20 - num_labeled,
        "validation": 4,
        "test": 6,
    }
    files = [item["image"] for items in cases.values() for item in items]
    assert len(set(files)) == 30 and all(Path(file).is_absolute() and Path(file).exists() for file in files)
    assert all("label" not in item for item in cases["unlabeled"])
    for item in cases["labeled"] + cases["validation"] + cases["test"]:
        assert Path(item["label"]).name == Path(item["image"]).name.replace("img", "label")
    assert cases["validation"][0]["image"] == str(tmp_path / LAYOUTS[layout]["image"].replace("{id}", "0006"))


def test_layouts_may_be_mixed_and_the_complete_one_is_taken(tmp_path):
    touch(tmp_path, "0001", keys=("image",))
    touch(tmp_path, "0001", layout=2)
    touch(tmp_path, "0002")
    cases = load_cases(str(tmp_path), write_list(tmp_path, {"labeled": ["0001"], "unlabeled": ["0002"]}), LAYOUTS)
    assert cases["labeled"][0]["image"] == str(tmp_path / "imagesTr/img0001.nii.gz")
    assert cases["unlabeled"] == [{"image": str(tmp_path / "img/img0002.nii.gz")}]
    assert cases["validation"] == cases["test"] == []


def test_entries_by_path(tmp_path):
    touch(tmp_path, "0001", "0002", "0003")
    absolute = str(tmp_path / "img/img0003.nii.gz")
    content = {
        "description": "by path",
        "labeled": [{"image": "./img/img0001.nii.gz", "label": "label/label0001.nii.gz"}],
        "unlabeled": ["img/img0002.nii.gz"],
        "test": [absolute],
    }
    write_list(tmp_path, content)
    cases = load_cases(str(tmp_path), "list.json", LAYOUTS)  # a list beside the data
    assert cases["labeled"] == [
        {"image": str(tmp_path / "img/img0001.nii.gz"), "label": str(tmp_path / "label/label0001.nii.gz")}
    ]
    assert cases["unlabeled"] == [{"image": str(tmp_path / "img/img0002.nii.gz")}]
    assert cases["test"] == [{"image": absolute}]


def test_all_problems_in_one_message(tmp_path):
    touch(tmp_path, "0001", "0002", "0003", "0004")
    touch(tmp_path, "0005", keys=("image",))
    content = {
        "labeled": ["0001", "0002", "0002", "0005", {"image": "img/img0003.nii.gz"}, 7],
        "unlabeled": ["0003", "0009", "img/img0004.nii.gz", "../../etc/passwd"],
        "validation": ["0001", "0004"],
        "labelled": ["0001"],
        "test": {"0001": 1},
    }
    expected = [
        "unknown list 'labelled'",
        "'test' is a dict",
        f"labeled[4] '{tmp_path}/img/img0003.nii.gz' has no label",
        "labeled[5] is 7",
        "unlabeled[3] is '../../etc/passwd'",
        "case '0001' is in labeled and in validation",
        "case '0002' stands 2 times in labeled",
        f"case '{tmp_path}/img/img0004.nii.gz' = '0004' is in unlabeled and in validation",
        f"labeled: '{tmp_path}/img/img0005.nii.gz' has no label; expected it at '{tmp_path}/label/label0005.nii.gz'",
        "unlabeled: case '0009' has no file",
    ]
    problems = problems_of(tmp_path, content)
    assert len(problems) == len(expected)
    for problem, start in zip(problems, expected, strict=True):
        assert problem.startswith(start)


@pytest.mark.parametrize(
    "layouts", [[], [{"image": "img/{id}.nii.gz"}], [{"image": "img/img.nii.gz", "label": "l/{id}.nii.gz"}]]
)
def test_incomplete_layouts_are_refused(tmp_path, layouts):
    with pytest.raises(ValueError, match="expected .*'image'.*'label', paths containing '{id}'"):
        load_cases(str(tmp_path), write_list(tmp_path, {"labeled": ["0001"]}), layouts)


def test_published_amos_20_percent_is_refused_and_its_20_cases_named(tmp_path):
    """They are validation cases among the labeled and unlabeled ones; no file of AMOS is needed to see it."""
    lists = {path.stem: path.read_text().split() for path in (HERE / "amos_20p").glob("*.txt")}
    assert sorted(lists) == ["labeled", "test", "unlabeled", "validation"]
    offending = set(lists["labeled"] + lists["unlabeled"]) & set(lists["validation"])
    assert len(offending) == 20
    *named, last = problems_of(tmp_path, {name: lists[name] for name in ("labeled", "unlabeled", "validation", "test")})
    matches = [re.fullmatch(r"case '(amos_\d{4})' is in (un)?labeled and in validation; .*", line) for line in named]
    assert len(matches) == 20 and {match[1] for match in matches} == offending
    assert last == f"besides, none of its 336 cases is under '{tmp_path}'"


def test_overlap_on_purpose(tmp_path):
    touch(tmp_path, "0001")
    by_path = {"image": "img/img0001.nii.gz", "label": "label/label0001.nii.gz"}
    content = {"labeled": ["0001"], "unlabeled": ["0001"], "validation": [by_path]}
    path = write_list(tmp_path, content)
    cases = load_cases(str(tmp_path), path, LAYOUTS, allow_overlap=["labeled", "unlabeled", "validation"])
    assert cases["labeled"][0]["image"] == cases["unlabeled"][0]["image"] == cases["validation"][0]["image"]
    problems = problems_of(tmp_path, content, allow_overlap=["labeled", "unlabeled"])
    assert len(problems) == 1 and "in labeled and in unlabeled and in validation" in problems[0]
    with pytest.raises(ValueError, match="allow_overlap names \\['labelled'\\]"):
        load_cases(str(tmp_path), path, LAYOUTS, allow_overlap=["labelled"])


def test_one_list_s_files_suffice_where_it_alone_is_needed(tmp_path):
    touch(tmp_path, "0001")
    content = {"labeled": ["0002"], "validation": ["0003"], "test": ["0001"]}
    assert len(load_cases(str(tmp_path), write_list(tmp_path, content), LAYOUTS, needed="test")["test"]) == 1
    assert load_cases(str(tmp_path), write_list(tmp_path, {"test": ["0001"]}), LAYOUTS, needed="test")["test"]
    with pytest.raises(MissingFileError, match="none of the 1 cases .* for example for '0003'"):
        load_cases(str(tmp_path), write_list(tmp_path, content), LAYOUTS, needed="validation")
    with pytest.raises(CaseListError, match="in labeled and in test"):
        load_cases(str(tmp_path), write_list(tmp_path, {**content, "labeled": ["0001"]}), LAYOUTS, needed="test")


def test_no_data(tmp_path):
    with pytest.raises(MissingFileError) as error:
        load_cases(
            str(tmp_path / "absent"),
            "published",
            LAYOUTS,
            str(PUBLISHED),
            10,
            where_to_get="register at synapse.org",
            phantom_hint="make demo",
        )
    message = str(error.value)
    for layout in LAYOUTS:
        for pattern in layout.values():
            assert str(tmp_path / "absent" / pattern.replace("{id}", "0023")) in message
    for part in ("30 cases", "no such folder", "register at synapse.org", "make demo"):
        assert part in message


def test_unknown_name_offers_the_others(tmp_path):
    with pytest.raises(
        CaseListError, match="(?s)case list 'publishd' cannot .*there is none.*published_10p.json, published_20p.json"
    ):
        load_cases(str(tmp_path), "publishd", LAYOUTS, str(PUBLISHED), 10)
    with pytest.raises(CaseListError, match="(?s)case list 'published' .*published_5p.json.*labeled_percent .now 5."):
        load_cases(str(tmp_path), "published", LAYOUTS, str(PUBLISHED), 5)


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"labeled": ["0001", ', "list.json' cannot be used.*\n- .*: line 1 column 22"),
        ("", "line 1 column 1 .* expected a JSON object"),
        (b'{"labeled": ["\xff\xfe"]}', "'utf-8' codec can't decode byte 0xff in position 14"),
        ("[]", "holds a list; expected a JSON object"),
        ('{"labeled": ["0001"], "labeled": ["0002"]}', "the key \\['labeled'\\] stands twice"),
        ("[" * 200_000, "recursion depth"),
        ('{"labeled": ' + "1" * 5000 + "}", "Exceeds the limit"),
        ('{"labeled": ["\\ud800"]}', "labeled\\[0\\]"),
        ('{"labeled": ["a\\u0000b", "", " ", "a/b", null, [], {"image": ["a"]}, {"label": "x"}]}', "labeled\\[7\\]"),
        ("{}", "'labeled' is missing or empty"),
        ('{"labeled": []}', "'labeled' is missing or empty"),
    ],
)
def test_damaged_lists(tmp_path, text, message):
    with pytest.raises(CaseListError, match=message):
        load_cases(str(tmp_path), write_list(tmp_path, text if isinstance(text, bytes) else text.encode()), LAYOUTS)


def test_items_by_path(tmp_path):
    """Of a list without labeled cases, relative to its own folder, whether or not the files are there."""
    path = write_list(tmp_path, {"test": [{"image": "a/../x.nii", "label": "/l.nii"}, "y.nii.gz"], "validation": ["1"]})
    items = [{"image": str(tmp_path / "x.nii"), "label": "/l.nii"}, {"image": str(tmp_path / "y.nii.gz")}]
    assert items_by_path(path, "test") == items and items_by_path(path, "unlabeled") == []
    with pytest.raises(CaseListError, match="'1' is an id; expected image and label"):
        items_by_path(path, "validation")

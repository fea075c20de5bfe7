# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import json

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow
from support.runner import BUNDLES, run_monai

from scdl_components.bundle import check_keys, class_names, dataset_facts, leaves, names_by_value, read_words
from scdl_components.errors import InputError, MissingFileError, causes
from scdl_components.phantom import AMOS_ORGANS

CONFIGS = BUNDLES / "scdl_synapse" / "configs"
WORKFLOWS = {"training": ["train"], "inference": ["inference"], "evaluation": ["inference", "evaluate"]}
BUILT_BADLY = {"_target_": "scdl_components.networks.DualStudent", "student": "$torch.nn.Identity()", "active": [7]}


@pytest.fixture
def config(tmp_path):
    content = {
        "imports": ["$import torch"],
        "counts": "$[]",
        "bad": BUILT_BADLY,
        "run": [{"_target_": "scdl_components.bundle.run_section", "section": "good_steps"}],
        "good_steps": ["$@counts.append(1)", "$print('steps:', @counts)"],
        "bad_steps": ["$@counts.append(1)", "$@bad.eval()"],
    }
    path = tmp_path / "configs" / "a.yaml"  # JSON is YAML
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return path


def test_steps_run_each_time(config, capsys):
    workflow = ConfigWorkflow(str(config), logging_file=False)
    workflow.initialize()
    for _ in range(2):
        workflow.run()
    assert "steps: [1]\nsteps: [1, 1]\n" in capsys.readouterr().out


def test_steps_run_once_where_all_of_the_config_is_evaluated(config, capsys):
    """As by the empty run_id that 3D Slicer's plugin sends to MONAI Label."""
    workflow = ConfigWorkflow(str(config), logging_file=False, run_id="", bad=0, bad_steps=[], training="@run")
    workflow.initialize()
    workflow.run()
    assert "steps: [1]" in (output := capsys.readouterr().out) and output.count("steps:") == 1


def test_a_user_error_of_what_is_built_is_one_sentence_in_monais_command_alone(config, tmp_path):
    output = run_monai(*("run", "--config_file", config, "--run#0#section", "bad_steps"), cwd=tmp_path, check=False)
    assert output.rstrip().splitlines()[-1].startswith("InputError: students is [7]; expected indices out of [0, 1]")
    assert "Traceback" not in output
    # a server that runs a config lives on
    workflow = ConfigWorkflow(str(config), logging_file=False, **{"run#0#section": "bad_steps"})
    workflow.initialize()
    with pytest.raises(Exception) as error:
        workflow.run()
    assert any(isinstance(cause, InputError) for cause in causes(error.value))


def test_the_bundle_is_found_outside_a_workflow(tmp_path, monkeypatch):
    """In the Python path, as MONAI Deploy leaves it there; where there is none, who needs its files says so."""
    monkeypatch.chdir(tmp_path)
    for root, num_classes in ((CONFIGS.parent, 14), (tmp_path, None)):
        parser = ConfigParser()
        parser.read_config(CONFIGS / "inference.yaml")
        with monkeypatch.context() as patch:
            if num_classes:
                patch.syspath_prepend(root)
            assert parser.get_parsed_content("output_dir") == str(root / "eval")
            if num_classes:
                assert parser.get_parsed_content("num_classes") == num_classes
            else:
                with pytest.raises(Exception) as error:
                    parser.get_parsed_content("num_classes")
                assert any("with --bundle_root" in str(cause) for cause in causes(error.value))


def test_other_errors_keep_their_traceback(config, tmp_path):
    output = run_monai(*("run", "--config_file", config, "--good_steps#0", "$1/0"), cwd=tmp_path, check=False)
    assert "Traceback" in output and "ZeroDivisionError" in output


def read(*names: str) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / f"{name}.yaml") for name in names])
    return parser


@pytest.mark.parametrize("kind", WORKFLOWS)
def test_an_unknown_key_is_refused_with_the_nearest_one(kind):
    config = read(*WORKFLOWS[kind]).get()
    check_keys({**config, "max_iterations": 1, "voxels_per_token": 2}, CONFIGS)  # as phantom.yaml sets them
    check_keys({**config, "half": 0.5, "overlay": "$@half / 2", "amp": "@overlay"}, CONFIGS)  # it is referred to
    with pytest.raises(InputError) as error:
        check_keys({**config, "roi_sise": 1, "xyzxyz": 2}, CONFIGS)
    assert str(error.value) == "there is no key 'roi_sise'; did you mean roi_size?\nthere is no key 'xyzxyz'"


def test_a_key_of_another_workflow_or_of_a_part_is_told_where_it_stands():
    """Most keys of version 0.1 that have moved into a part are found so."""
    train = read("train").get()
    for key, id_ in (("overlap", "validate#inferer#overlap"), ("layouts", "load_cases#layouts")):
        with pytest.raises(InputError, match=f"there is no key '{key}'; did you mean {id_}?"):
            check_keys({**train, key: 1}, CONFIGS)
    with pytest.raises(InputError, match="there is no key 'cases'"):
        check_keys({**read("inference").get(), "cases": "test"}, CONFIGS)


def test_changed_keys_of_scdl_are_told_where_scdl_is_off(caplog):
    train = read("train").get()
    for changed in (train, {**train, "scdl_weight": 3, "scdl": True}, read("train", "published").get()):
        check_keys(changed, CONFIGS)
    assert not caplog.records
    sac = {**train["scdl_loss"], "sac_weight": 0.5}
    check_keys({**train, "scdl_weight": 3, "scdl_loss": sac, "scdl": "False"}, CONFIGS)
    assert "SCDL is off (scdl: false), so what was changed in scdl_weight and scdl_loss has no effect" in caplog.text


def test_leaves_are_by_id():
    config = {"a": {"b": 1, "c": []}, "d": [8, 8], "e": [{"f": 2}, "g"], "h": {}}
    assert leaves(config) == {"a#b": 1, "a#c": [], "d": [8, 8], "e#0#f": 2, "e#1": "g", "h": {}}


def test_an_unknown_key_ends_monais_command(tmp_path):
    words = ("--config_file", CONFIGS / "train.yaml", "--max_iteration", "5", "--n_saved", "3")
    output = run_monai("run", "training", *words, cwd=tmp_path, check=False)
    assert "Traceback" not in output and output.rstrip().splitlines()[-2:] == [
        "InputError: there is no key 'max_iteration'; did you mean max_iterations?",
        "there is no key 'n_saved'; did you mean train#checkpoint#n_saved?",
    ]


def test_facts_of_the_dataset_come_from_the_metadata(tmp_path):
    facts = dataset_facts(str(BUNDLES / "scdl_amos"))
    assert facts["class_names"] == ["background", *AMOS_ORGANS]
    assert facts["case_list"] == "ct" and facts["other_modalities"]["MR"] and "zenodo" in facts["where_to_get"]
    assert str(BUNDLES / "scdl_amos" / "configs" / "phantom.yaml") in facts["phantom_hint"]
    with pytest.raises(MissingFileError, match="no metadata at"):
        dataset_facts(str(tmp_path))


def test_the_words_true_and_false_are_what_they_say():
    parser = ConfigParser({"a": "true", "b": "False", "c": "truely", "d": {"e": "false"}, "f": 0})
    read_words(parser)
    assert parser.get() == {"a": True, "b": False, "c": "truely", "d": {"e": "false"}, "f": 0}


def test_order_is_that_of_the_values_not_of_the_file():
    names = {"10": "aorta", "2": "spleen", "0": "background"} | {str(value): str(value) for value in (1, *range(3, 10))}
    assert names_by_value(names) == ["background", "1", "spleen", *map(str, range(3, 10)), "aorta"]


def test_a_value_without_a_name_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there is none for \[1\]"):
        names_by_value({"0": "background", "2": "spleen"})
    with pytest.raises(MissingFileError, match="no metadata at"):
        class_names(str(tmp_path / "metadata.json"))

# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from monai.bundle import ConfigWorkflow

from scdl_components import __version__
from scdl_components.atomic import DamagedFileError, save_atomically
from scdl_components.errors import InputError, MissingFileError, UserError, causes
from scdl_components.handlers.resume import Start

SETTINGS = {"rate": 0.1, "train#dataset#data": "$@load_cases()['labeled']", "cases": {}}


def write(folder: Path, iteration: int, **more: object) -> str:
    """A checkpoint of a training of 10 iterations."""
    path = folder / f"checkpoint_{iteration}.pt"
    trainer = {"iteration": iteration, "max_epochs": 5, "epoch_length": 2}
    content = {"version": __version__, "trainer": trainer, "settings": SETTINGS, "validate_first": False}
    save_atomically({**content, **more}, path)
    return str(path)


def find(folder: Path, resume: str = "auto", allow_changed: Sequence[str] = (), **keys: object) -> Start:
    """What a running config with these keys is told."""
    start = {"_target_": "scdl_components.handlers.find_start", "ckpt_dir": str(folder), "cases": {}}
    start |= {"resume": resume, "allow_changed": list(allow_changed)}
    config = {
        "rate": 0.1,
        "train": {"start": start, "dataset": {"data": SETTINGS["train#dataset#data"]}},
        "run": "@train#start",
    }
    folder.parent.joinpath("train.json").write_text(json.dumps(config))
    workflow = ConfigWorkflow(str(folder.parent / "train.json"), meta_file=[], logging_file=False, **keys)
    workflow.initialize()
    try:
        (found,) = workflow.run()
    except RuntimeError as error:  # MONAI's, around ours
        raise next(cause for cause in causes(error) if isinstance(cause, UserError)) from error
    settings = found.settings or {}
    assert all(settings.get(name) == value for name, value in keys.items() if not isinstance(value, list))
    return found._replace(settings=None)


def test_nothing_there_starts_anew(tmp_path):
    assert find(tmp_path / "nothing") == Start()
    assert not (tmp_path / "nothing").exists()


def test_auto_takes_the_latest_of_an_unfinished_training(tmp_path):
    write(tmp_path, 2)
    latest = write(tmp_path, 8, validate_first=True)  # 8 > 10 as text
    assert find(tmp_path) == Start(latest, 8, validate_first=True)
    assert find(tmp_path, "never") == Start()


def test_a_changed_configuration_is_refused_key_by_key_unless_allowed(tmp_path):
    path = write(tmp_path, 4)
    changed = {"rate": 0.2, "new": 1}
    for resume in ("auto", path):
        with pytest.raises(InputError) as error:
            find(tmp_path, resume, **changed)
        message = str(error.value)
        assert "- rate: 0.1 -> 0.2\n- new: not there -> 1\n" in message
        assert """--allow_changed "['rate','new']\"""" in message and "--resume never" in message
        assert find(tmp_path, resume, ["rate", "new"], **changed).checkpoint == path


def test_a_finished_training_is_loaded_again_or_made_way_for(tmp_path, caplog):
    path = write(tmp_path, 10)
    assert find(tmp_path).checkpoint == path
    assert "is finished at iteration 10. To train anew: --resume never" in caplog.text
    assert find(tmp_path, rate=1) == Start()
    assert "finished training of another configuration (rate)" in caplog.text
    with pytest.raises(InputError):
        find(tmp_path, path, rate=1)


def test_cases_in_the_config_always_start_anew_and_keep_nothing(tmp_path):
    """MONAI Label: no one can be asked, the folder is the bundle's own, and every training is a new one."""
    path = write(tmp_path, 4)
    given = {"rate": 5, "train#dataset#data": [{"image": "a.nii"}]}
    assert find(tmp_path, **given) == Start(keep_earlier=False)
    assert find(tmp_path, path, ["rate", "train"], **given).checkpoint == path


def test_damaged_ones_are_reported_and_the_one_before_is_taken(tmp_path, caplog):
    good = write(tmp_path, 2)
    bad = Path(write(tmp_path, 4))
    bad.write_bytes(bad.read_bytes()[:-100])
    assert find(tmp_path).checkpoint == good
    assert f"{bad} is damaged" in caplog.text
    with pytest.raises(DamagedFileError, match="checkpoint_4.pt is damaged"):
        find(tmp_path, str(bad))
    Path(good).write_bytes(b"")
    with pytest.raises(DamagedFileError, match="--resume never"):
        find(tmp_path)


def test_a_training_that_began_in_another_folder_goes_on_where_it_is(tmp_path):
    """The same command, with --resume, run again after an interrupt."""
    there, here = tmp_path / "there", tmp_path / "here"
    path = write(there, 4)
    began = find(here, path)
    assert began == Start(path, 4, origin=path)
    latest = write(here, 6, origin=began.origin)
    assert find(here, path) == Start(latest, 6, origin=path) == find(here)
    other = write(there, 2)
    assert find(here, other) == Start(other, 2, origin=other)
    Path(latest).write_bytes(b"damaged")
    assert find(here, path) == began


def test_a_path_that_is_no_checkpoint_is_told(tmp_path):
    save_atomically({"weights": 1}, tmp_path / "model.pt")
    with pytest.raises(DamagedFileError, match="model.pt is no checkpoint_"):
        find(tmp_path, str(tmp_path / "model.pt"))
    with pytest.raises(MissingFileError, match="checkpoint_9.pt: no such file"):
        find(tmp_path, str(tmp_path / "checkpoint_9.pt"))


def test_a_checkpoint_of_the_first_version_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "checkpoint_4.pt"
    save_atomically({"trainer": {"iteration": 4, "max_epochs": 5, "epoch_length": 2}, "settings": {}}, path)
    for resume in ("auto", str(path)):
        with pytest.raises(InputError, match=f"{path} is of a training that version 0.1 .*--weights"):
            find(tmp_path, resume)
    assert find(tmp_path, "never") == Start()

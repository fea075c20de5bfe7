# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from scdl_components.atomic import DamagedFileError, save_atomically
from scdl_components.errors import MissingFileError
from scdl_components.handlers import find_start
from scdl_components.handlers.resume import ChangedConfigError, Start

SETTINGS = {"rate": 0.1, "train#dataset#data": "$@load_cases()['labeled']"}


def write(folder: Path, iteration: int, settings: dict | None = SETTINGS, **more: object) -> str:
    """A checkpoint of a training of 10 iterations."""
    path = folder / f"checkpoint_{iteration}.pt"
    trainer = {"iteration": iteration, "max_epochs": 5, "epoch_length": 2}
    save_atomically({"trainer": trainer, "settings": settings, "validate_first": False, **more}, path)
    return str(path)


def test_nothing_there_starts_anew(tmp_path):
    assert find_start(str(tmp_path / "nothing"), "auto", SETTINGS) == Start()
    assert not (tmp_path / "nothing").exists()


def test_auto_takes_the_latest_of_an_unfinished_training(tmp_path):
    write(tmp_path, 2)
    latest = write(tmp_path, 8, validate_first=True)  # 8 > 10 as text
    assert find_start(str(tmp_path), "auto", SETTINGS) == Start(latest, 8, validate_first=True)
    assert find_start(str(tmp_path), "never", SETTINGS) == Start()


def test_a_changed_configuration_is_refused_key_by_key_unless_allowed(tmp_path):
    path = write(tmp_path, 4)
    changed = {**SETTINGS, "rate": 0.2, "deep#new": 1}
    for resume in ("auto", path):
        with pytest.raises(ChangedConfigError) as error:
            find_start(str(tmp_path), resume, changed)
        message = str(error.value)
        assert "- rate: 0.1 -> 0.2\n- deep#new: not there -> 1\n" in message
        assert """--allow_changed "['rate','deep#new']\"""" in message and "--resume never" in message
        assert find_start(str(tmp_path), resume, changed, ["rate", "deep"]).checkpoint == path


def test_a_finished_training_is_loaded_again_or_made_way_for(tmp_path, caplog):
    path = write(tmp_path, 10)
    assert find_start(str(tmp_path), "auto", SETTINGS).checkpoint == path
    assert "is finished at iteration 10. To train anew: --resume never" in caplog.text
    assert find_start(str(tmp_path), "auto", {**SETTINGS, "rate": 1}) == Start()
    assert "finished training of another configuration (rate)" in caplog.text
    with pytest.raises(ChangedConfigError):
        find_start(str(tmp_path), path, {**SETTINGS, "rate": 1})


def test_cases_in_the_config_always_start_anew_and_keep_nothing(tmp_path):
    """MONAI Label: no one can be asked, the folder is the bundle's own, and every training is a new one."""
    path = write(tmp_path, 4)
    given = {"rate": 5, "train#dataset#data#0#image": "a.nii"}
    assert find_start(str(tmp_path), "auto", given) == Start(keep_earlier=False)
    assert find_start(str(tmp_path), path, given, ["rate", "train"]).checkpoint == path


def test_damaged_ones_are_reported_and_the_one_before_is_taken(tmp_path, caplog):
    good = write(tmp_path, 2)
    bad = Path(write(tmp_path, 4))
    bad.write_bytes(bad.read_bytes()[:-100])
    assert find_start(str(tmp_path), "auto", SETTINGS).checkpoint == good
    assert f"{bad} is damaged" in caplog.text
    with pytest.raises(DamagedFileError, match=f"checkpoint_4.pt is damaged.*there is {good}"):
        find_start(str(tmp_path), str(bad), SETTINGS)
    Path(good).write_bytes(b"")
    with pytest.raises(DamagedFileError, match="--resume never"):
        find_start(str(tmp_path), "auto", SETTINGS)


def test_a_path_that_is_no_checkpoint_is_told_with_those_there_are(tmp_path):
    good = write(tmp_path, 2)
    save_atomically({"weights": 1}, tmp_path / "model.pt")
    with pytest.raises(DamagedFileError, match=f"model.pt is no checkpoint_.*{good}"):
        find_start(str(tmp_path), str(tmp_path / "model.pt"), SETTINGS)
    with pytest.raises(MissingFileError, match=f"checkpoint_9.pt: no such file; there is {good}"):
        find_start(str(tmp_path), str(tmp_path / "checkpoint_9.pt"), SETTINGS)

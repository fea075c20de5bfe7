# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import re

import pytest
import torch
from support.ranks import run_ranks
from support.training_parts import refusal, training_parts

from scdl_components.errors import InputError
from scdl_components.memory import MemoryCheck, MemoryShortageError, free_memory

LINE = re.compile(r"^- (.*): ([\d.]+) GB$", re.MULTILINE)


@pytest.fixture(scope="module")
def parts():
    return training_parts(num_filters=2)


def check(parts, roi_size=(96, 96, 96), labeled=2, unlabeled=2, token=8, device="cpu", amp=False):
    return MemoryCheck(*parts, roi_size, labeled, unlabeled, token, device, amp, torch.bfloat16)


def setting_of(words: str, memory_check: MemoryCheck):
    """The setting that overrides of the config make."""
    found = dict(re.findall(r"--(\w+) (\"[^\"]*\"|\S+)", words))
    ranks, setting = memory_check.ranks, memory_check.setting
    if "roi_size" in found:
        setting = setting._replace(roi_size=tuple(map(int, found["roi_size"].strip('"[]').split(","))))
    for name in ("labeled", "unlabeled"):
        if f"{name}_batch_size" in found:
            setting = setting._replace(**{name: int(found[f"{name}_batch_size"]) // ranks})
    return setting._replace(amp=True) if "amp" in found else setting


def advised(memory_check: MemoryCheck, limit: float) -> dict[str, float]:
    """Overrides and what they are said to need, which is what they do need."""
    lines = {words: float(number) * 1e9 for words, number in LINE.findall(memory_check.advice(limit))}
    for words, number in lines.items():
        assert memory_check.needed(setting_of(words, memory_check)) == pytest.approx(number, abs=0.006e9)
    return lines


def test_what_fits_passes_and_is_logged(parts, caplog):
    memory_check = check(parts, roi_size=(32, 32, 32))
    with caplog.at_level(logging.INFO):
        memory_check.run()
    assert re.search(r"needs an estimated 0\.\d\d GB on cpu beside the networks, \d+\.\d\d GB are free", caplog.text)
    assert "may run out" not in caplog.text


def test_what_does_not_fit_is_refused_with_what_would(parts):
    memory_check = check(parts, roi_size=(960, 960, 960))
    told = r"(?s)needs an estimated \d+\.\d\d GB on cpu .*--check_memory False"
    with pytest.raises(InputError, match=told) as raised:
        memory_check.run()
    lines = LINE.findall(str(raised.value))
    assert len(lines) == 2
    for words, number in lines:
        assert float(number) * 1e9 < free_memory("cpu") < memory_check.needed(memory_check.setting)
        assert all(size % 16 == 0 for size in setting_of(words, memory_check).roi_size)


def test_within_the_margin_is_a_warning(parts, caplog):
    memory_check = check(parts)
    memory_check._compare(int(1.1 * memory_check.needed(memory_check.setting)))
    assert "memory may run out" in caplog.text


def test_each_advice_is_the_largest_that_fits(parts):
    memory_check = check(parts, labeled=4)
    all_of_it = memory_check.needed(memory_check.setting)
    lines = advised(memory_check, all_of_it / 2)
    assert list(lines) == ["--labeled_batch_size 1 --unlabeled_batch_size 1", '--roi_size "[64, 64, 64]"']
    assert all(number < all_of_it / 2 for number in lines.values())
    # the next larger ones would not
    assert memory_check.needed(memory_check.setting._replace(labeled=2, unlabeled=2)) > all_of_it / 2
    assert memory_check.needed(memory_check.setting._replace(roi_size=(80, 80, 80))) > all_of_it / 2


def test_what_needs_both_is_told_together(parts):
    memory_check = check(parts)
    limit = memory_check.needed(memory_check.setting) / 12
    lines = advised(memory_check, limit)
    # a larger patch with a smaller batch
    together = '--roi_size "[48, 48, 48]" --labeled_batch_size 1 --unlabeled_batch_size 1'
    assert list(lines) == [together, '--roi_size "[32, 32, 32]"'] and max(lines.values()) < limit


def test_what_together_gives_no_larger_patch_is_left_out(parts):
    memory_check = check(parts)
    limit = memory_check.needed(memory_check.setting) / 20
    assert list(advised(memory_check, limit)) == ['--roi_size "[32, 32, 32]"']


def test_nothing_that_fits_is_told_too(parts):
    memory_check = check(parts)
    smallest = '--roi_size "[16, 16, 16]" --labeled_batch_size 1 --unlabeled_batch_size 1'
    assert list(advised(memory_check, 1)) == [smallest]
    assert "does not fit, either" in memory_check.advice(1)


def test_patches_hold_whole_tokens_and_short_axes_stay(parts):
    memory_check = check(parts, roi_size=(96, 96, 48), token=12)
    # by a twelfth: 96 x 96 x 48 -> 48 x 48 x 48, not 80 x 80 x 48
    limit = 0.9 * memory_check.needed(memory_check.setting._replace(labeled=1, unlabeled=1))
    assert '--roi_size "[48, 48, 48]"' in advised(memory_check, limit)


def test_a_gpu_is_offered_half_precision(parts):
    memory_check = check(parts, device="cuda:0")
    limit = memory_check.needed(memory_check.setting._replace(amp=True))
    assert list(advised(memory_check, limit))[0] == "--amp True"
    assert "--amp True" not in check(parts).advice(limit)


def test_several_processes_are_told_the_whole_batch(parts):
    memory_check = check(parts)
    memory_check.ranks, memory_check.setting = 2, memory_check.setting._replace(labeled=3, unlabeled=3)
    limit = 0.7 * memory_check.needed(memory_check.setting)
    assert "--labeled_batch_size 4 --unlabeled_batch_size 4" in advised(memory_check, limit)


def test_ranks_refuse_together_and_measure_their_share_without_a_gpu(tmp_path):
    first, second = run_ranks(refusal, tmp_path)
    assert first["kind"] == "InputError" and "--roi_size" in first["told"] and second["told"] == first["told"]
    assert first["batch"] == second["batch"] == "[2, 1]"


def test_without_an_estimate_training_goes_on(caplog):
    *parts, _, num_classes = training_parts(num_filters=2)
    memory_check = check((*parts, "block_ten", num_classes))
    with caplog.at_level(logging.INFO):
        memory_check.run()
    assert "no estimate of the memory that training needs, and none is reused: ValueError: feature_module 'block_ten'" in caplog.text
    with pytest.raises(MemoryShortageError, match="Smaller --roi_size"):
        memory_check.guarded(lambda: torch.empty(2**60))


def test_memory_that_runs_out_is_told_with_the_way_out(parts):
    with pytest.raises(MemoryShortageError, match="DefaultCPUAllocator") as raised:
        check(parts, labeled=4, unlabeled=4).guarded(lambda: torch.empty(2**60))
    assert "What needs less:\n- --l" in str(raised.value) and len(LINE.findall(str(raised.value))) == 2
    assert "--sw_batch_size 1" in str(raised.value)
    assert check(parts).guarded(lambda: 7) == 7


def test_freed_memory_is_kept_where_there_is_ample_room(parts, monkeypatch):
    memory_check = check(parts, roi_size=(32, 32, 32))
    needed = memory_check.needed(memory_check.setting)
    for free, expected in ((1.4 * needed, False), (1.6 * needed, True), (None, False)):
        monkeypatch.setattr("scdl_components.memory.check.free_memory", lambda device: free)
        assert memory_check.has_room_for_reuse() is expected
    assert not check(parts, roi_size=(32, 32, 32), device="meta").has_room_for_reuse()

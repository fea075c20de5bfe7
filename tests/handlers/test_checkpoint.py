# Copyright 2026 The SCDL for MONAI authors
# SPDX-License-Identifier: Apache-2.0
import math
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events
from torch.optim.lr_scheduler import PolynomialLR

from scdl_components.atomic import StorageError, file_hash, read_saved, save_atomically
from scdl_components.errors import InputError
from scdl_components.handlers import TrainingCheckpoint, WeightsSaver
from scdl_components.handlers.checkpoint import checkpoints_in
from scdl_components.handlers.resume import Start


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Tiny:
    """A model of one weight, trained by SGD with momentum; ``rates`` are those of each iteration."""

    def __init__(
        self,
        folder: Path,
        total: int = 6,
        rate: float = 0.1,
        start: Start = Start(),
        n_saved: int = 2,
        epoch_length: int = 2,
    ) -> None:
        torch.manual_seed(0)
        self.model, self.rates = torch.nn.Linear(1, 1), []
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate, momentum=0.9)
        self.scheduler = PolynomialLR(self.optimizer, total_iters=total, power=0.9)
        self.engine, self.total, self.epoch_length = Engine(self.step), total, epoch_length
        self.engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: self.scheduler.step())
        items = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}
        self.checkpoint = TrainingCheckpoint(str(folder), items, interval=2, n_saved=n_saved, start=start)
        self.checkpoint.attach(self.engine)

    def step(self, engine: Engine, batch: int) -> None:
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        self.optimizer.zero_grad()
        self.model(torch.ones(1)).sum().square().backward()
        self.optimizer.step()

    def run(self) -> "Tiny":
        self.engine.run(range(self.epoch_length), max_epochs=self.total // self.epoch_length)
        return self


def test_the_newest_are_kept_and_a_resumed_run_removes_the_older_ones_too(tmp_path):
    Tiny(tmp_path, n_saved=2).run()
    assert names(tmp_path) == ["checkpoint_4.pt", "checkpoint_6.pt"]
    resumed = Tiny(tmp_path, total=8, start=Start(str(tmp_path / "checkpoint_6.pt")), n_saved=1).run()
    assert resumed.engine.state.iteration == 8 and names(tmp_path) == ["checkpoint_8.pt"]


def test_the_only_one_is_there_until_the_next_one_is_written(tmp_path):
    tiny = Tiny(tmp_path, n_saved=1)
    (tmp_path / "checkpoint_2.pt").touch()
    tiny.engine.add_event_handler(Events.STARTED, lambda: (tmp_path / "checkpoint_4.pt.part").symlink_to("/dev/full"))
    with pytest.raises(StorageError, match="checkpoint_4.pt.*No space left"):
        tiny.run()
    assert read_saved(tmp_path / "checkpoint_2.pt")["trainer"]["iteration"] == 2


def test_a_prolonged_training_follows_the_schedule_of_its_new_length(tmp_path):
    """Values of the config hold from the resume on; without a change the resumed rates are the same to the bit."""
    whole, longer = Tiny(tmp_path / "a").run(), Tiny(tmp_path / "b", total=10, rate=0.2).run()
    path = str(tmp_path / "a" / "checkpoint_4.pt")
    assert Tiny(tmp_path / "c", start=Start(path)).run().rates == whole.rates[4:]
    changed = Tiny(tmp_path / "a2", start=Start(settings={"rate": 0.1})).run()
    assert changed.rates == whole.rates
    path = str(tmp_path / "a2" / "checkpoint_4.pt")
    start = Start(path, settings={"rate": 0.2})
    assert Tiny(tmp_path / "d", total=10, rate=0.2, start=start).run().rates == longer.rates[4:]


@pytest.mark.parametrize("epoch_length", [1, 4, 8])
def test_a_training_whose_epochs_have_another_length_since_ends_where_it_is_planned(tmp_path, epoch_length):
    """With a smaller batch, or more unlabeled cases."""
    Tiny(tmp_path).run()
    start = Start(str(tmp_path / "checkpoint_6.pt"))
    resumed = Tiny(tmp_path, total=16, start=start, epoch_length=epoch_length).run()
    assert resumed.engine.state.iteration == 16 and len(resumed.rates) == 10
    assert read_saved(tmp_path / "checkpoint_16.pt")["trainer"]["epoch_length"] == epoch_length


def test_a_second_run_of_a_trainer_goes_on_from_the_first(tmp_path):
    """As MONAI's federated learning does it: no checkpoint is loaded again, nothing of the first run put aside."""
    Tiny(tmp_path).run()
    resumed = Tiny(tmp_path, total=8, n_saved=9, start=Start(str(tmp_path / "checkpoint_4.pt"))).run()
    resumed.engine.run([0, 1], max_epochs=5)
    assert resumed.engine.state.iteration == 10 and len(resumed.rates) == 6
    assert [path.name for path in checkpoints_in(tmp_path)] == [f"checkpoint_{i}.pt" for i in (10, 8, 6, 4)]


def test_the_record_of_other_validation_cases_is_left(tmp_path):
    def trained(start: Start) -> WeightsSaver:
        tiny = Tiny(tmp_path, start=start)
        saver = WeightsSaver(str(tmp_path), tiny.model)
        tiny.checkpoint.save_dict["weights_saver"] = saver
        if not start.checkpoint:
            saver.best["best_metric"] = 0.9
            save_atomically(tiny.model.state_dict(), tmp_path / "model.pt")
            saver.best["file"] = file_hash(tmp_path / "model.pt")
        tiny.run()
        return saver

    assert trained(Start()).best["best_metric"] == 0.9
    path = str(tmp_path / "checkpoint_4.pt")
    assert trained(Start(path)).best["best_metric"] == 0.9
    assert trained(Start(path, same_validation=False)).best["best_metric"] == -math.inf


def test_what_another_training_left_is_kept_aside(tmp_path):
    Tiny(tmp_path, n_saved=3).run()
    (tmp_path / "model.pt").write_text("its weights")
    Tiny(tmp_path, total=2).run()
    # the weights stay, too, until there are others: a next start may want them
    assert names(tmp_path) == ["checkpoint_2.pt", "earlier_1", "model.pt"]
    assert names(tmp_path / "earlier_1") == [f"checkpoint_{i}.pt" for i in (2, 4, 6)] + ["model.pt"]
    # going back: what came after is no part of this run
    start = Start(str(tmp_path / "earlier_1" / "checkpoint_2.pt"))
    again = Tiny(tmp_path / "earlier_1", n_saved=3, start=start)
    again.engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), again.engine.terminate)
    again.run()
    assert names(tmp_path / "earlier_1" / "earlier_1") == ["checkpoint_4.pt", "checkpoint_6.pt"]
    assert (tmp_path / "earlier_1" / "model.pt").is_file()


def test_weights_are_kept_once_and_as_they_were(tmp_path):
    (tmp_path / "model.pt").write_text("its weights")
    for _ in range(2):  # killed before its first checkpoint, and started again
        killed = Tiny(tmp_path)
        killed.engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), killed.engine.terminate)
        killed.run()
        for path in tmp_path.glob("checkpoint_*.pt"):
            path.unlink()
    assert [path.name for path in tmp_path.glob("earlier_*")] == ["earlier_1"]
    save_atomically({"weights": 2}, tmp_path / "model.pt")
    assert (tmp_path / "earlier_1" / "model.pt").read_text() == "its weights"


def test_without_keeping_weights_stay_and_checkpoints_go(tmp_path):
    Tiny(tmp_path, n_saved=3).run()
    (tmp_path / "model.pt").touch()
    Tiny(tmp_path, total=2, start=Start(keep_earlier=False)).run()
    assert names(tmp_path) == ["checkpoint_2.pt", "model.pt"]


def test_files_of_a_killed_process_are_cleared(tmp_path):
    (tmp_path / "checkpoint_99.pt.part").touch()
    Tiny(tmp_path).run()
    assert not list(tmp_path.glob("*.part"))


def test_checkpoints_are_told_by_their_name(tmp_path):
    for name in ("checkpoint_10.pt", "checkpoint_9.pt", "checkpoint_old.pt", "checkpoint_3.pt.part", "model.pt"):
        (tmp_path / name).touch()
    assert [path.name for path in checkpoints_in(tmp_path)] == ["checkpoint_10.pt", "checkpoint_9.pt"]


def test_a_checkpoint_of_other_sizes_is_refused_and_nothing_moved(tmp_path):
    Tiny(tmp_path).run()
    before = names(tmp_path)
    wider = Tiny(tmp_path, start=Start(str(tmp_path / "checkpoint_4.pt")))
    wider.checkpoint.save_dict["model"] = torch.nn.Linear(2, 1)
    with pytest.raises(InputError, match=r"checkpoint_4.pt .*weight is \(1, 1\), not \(1, 2\).*--resume never"):
        wider.run()
    assert names(tmp_path) == before

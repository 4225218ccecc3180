"""The loop of tasks: what is not finite ends a run, wherever it is found."""

from typing import NamedTuple

import pytest
import torch
from torch import nn

from softtargets.lab.errors import LabError
from softtargets.lab.records import StoredRun
from softtargets.lab.session import DivergedError
from softtargets.lab.task_record import TaskRecord
from softtargets.lab.training_loop import AbstractTraining, train


class Spec(NamedTuple):
    run_id: str = "toy"
    method: str = "ls"
    seed: int = 0
    epochs: int = 2


class Toy(AbstractTraining):
    """One weight; what it is asked to do wrong, it does."""

    def __init__(self, fails):
        self.spec, self.fails = Spec(), fails
        self.model, self.criterion = nn.Linear(1, 1), nn.Identity()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def epoch(self, number):
        return float("nan") if self.fails == "loss" else 1.0

    def validate(self):
        return {"validation_nll": float("inf") if self.fails == "validation" else 1.0}

    def finish(self, history, seconds, model_hash):
        raise DivergedError("logits of the test data are not finite")


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        ("loss", "toy diverged after 0 of 2 epochs: the training loss is not finite"),
        ("validation", "after 0 of 2 epochs: what is measured on the validation data"),
        ("test", "after 2 of 2 epochs: logits of the test data are not finite"),
    ],
)
def test_what_is_not_finite_ends_a_run_and_nothing_is_kept(fails, message, tmp_path):
    folder = StoredRun(tmp_path, "toy", TaskRecord)
    with pytest.raises(LabError, match=message):
        train(Toy(fails), folder, lambda epochs: None)
    assert not folder.done
    assert folder.checkpoint() is None

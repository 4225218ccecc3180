import pytest
import torch

from softtargets.lab.synthetic.trials import GRIDS, METHODS, targets, trials

LABELS = torch.tensor([0, 1, 2, 0])
LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [2.0, 0.0, 0.5], [0.0, 0.0, 4.0]])
FITTED = 1.5


def rows(method, **settings):
    return targets(method, settings, LABELS, (LOGITS, FITTED))


def test_the_grids_are_the_papers():
    sizes = {method: len(grid) for method, grid in GRIDS.items()}
    assert sizes["ls"] == 12
    assert sizes["ils1"] == 30
    assert sizes["ils2"] == 48
    assert sizes["ils"] == 120
    assert [each["rate"] for each in GRIDS["ls"]][2:6] == [0.01, 0.03, 0.05, 0.07]
    assert GRIDS["ls"][-1] == {"rate": 0.19}


def test_hard_and_smoothed_targets():
    one_hot = torch.eye(3)[LABELS]
    torch.testing.assert_close(rows("hard"), one_hot)
    torch.testing.assert_close(rows("ls", rate=0.3), 0.7 * one_hot + 0.1)
    by_class = torch.tensor([0.1, 0.2, 0.3])[LABELS][:, None]
    torch.testing.assert_close(
        rows("class-wise", rate0=0.1, rate1=0.2, rate2=0.3),
        (1 - by_class) * one_hot + by_class / 3,
    )


def test_targets_of_a_teacher():
    one_hot = torch.eye(3)[LABELS]
    said = (LOGITS / 2).softmax(-1)
    torch.testing.assert_close(
        rows("self-distillation", temperature=2.0, hard_weight=0.1), 0.1 * one_hot + 0.9 * said
    )
    label_probs = (LOGITS / FITTED).softmax(-1).gather(1, LABELS[:, None])
    amount = 2 * (label_probs - 0.8) ** 2  # more than 1 for the last: no bound but 1 applies
    amount = amount.clamp(max=1)
    others = said * (1 - one_hot)
    others = others / others.sum(-1, keepdim=True)
    torch.testing.assert_close(
        rows("ils1", p1=0.8, p2=2.0), (1 - amount) * one_hot + amount * (1 - one_hot) / 2
    )
    torch.testing.assert_close(
        rows("ils2", rate=0.1, temperature=2.0), 0.9 * one_hot + 0.1 * others
    )
    torch.testing.assert_close(
        rows("ils", p1=0.8, p2=2.0, temperature=2.0), (1 - amount) * one_hot + amount * others
    )
    assert float(amount.max()) > 0.8
    amount = amount.clamp(max=0.2)
    torch.testing.assert_close(
        rows("ils1", p1=0.8, p2=2.0, max_rate=0.2),
        (1 - amount) * one_hot + amount * (1 - one_hot) / 2,
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_the_same_budget(method):
    tried = trials(method, 3, 30)
    assert len(tried) == 30
    assert len({(each.start, *each.settings.values()) for each in tried}) == 30
    assert tried == trials(method, 3, 30)
    fewer = trials(method, 3, 7)
    assert fewer == tried[:7]
    grid = len(GRIDS[method])
    assert [each.start for each in tried] == [place // grid for place in range(30)]


@pytest.mark.parametrize("method", METHODS)
def test_without_a_budget_the_grid_is_tried_once_from_the_teachers_weights(method):
    tried = trials(method, 0, None)
    assert [each.settings for each in tried] == GRIDS[method]
    assert {each.start for each in tried} == {0}


def test_draws_try_other_parts_of_a_large_grid():
    assert trials("ils", 0, 30) != trials("ils", 1, 30)

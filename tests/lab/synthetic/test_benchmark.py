import copy

import numpy as np
import pytest
import torch
from torch import nn

from softtargets.lab.data import two_gaussians
from softtargets.lab.models import build
from softtargets.lab.synthetic import METHODS, Schooling, read_record, run, surface, write_record
from softtargets.lab.synthetic.record import joined, joined_surfaces, read_surface
from softtargets.lab.synthetic.scores import METRICS, scores

SHORT = Schooling(epochs=25, patience=4)


@pytest.fixture(scope="module")
def record():
    return run(range(3), budget=2, group=2, schooling=SHORT, command="here")


def test_every_column_has_a_number_of_every_draw(record):
    assert tuple(record.methods) == METHODS
    for method in METHODS:
        for variant in ("plain", "scaled"):
            column = record.methods[method][variant]
            assert tuple(column.metrics) == METRICS
            assert {len(each) for each in column.metrics.values()} == {3}
            assert len(column.settings) == len(column.validation_nll) == 3
    assert record.draws == [0, 1, 2]
    assert 0.81 < np.mean(record.bayes["accuracy"]) < 0.83
    assert np.mean(record.bayes["nll"]) < record.values("ils", "plain", "nll").mean()


def test_scaling_is_chosen_on_validation_and_leaves_plain_alone(record):
    for both in record.methods.values():
        assert both["plain"].temperatures == [1.0] * 3
        pairs = zip(both["scaled"].validation_nll, both["plain"].validation_nll, strict=True)
        assert all(scaled <= plain for scaled, plain in pairs)


def test_a_draw_does_not_depend_on_its_group(record):
    alone = run([2], methods=["hard", "ils"], budget=2, schooling=SHORT)
    for method in ("hard", "ils"):
        found = alone.values(method, "plain", "nll")[0]
        assert found == pytest.approx(record.values(method, "plain", "nll")[2], rel=1e-3)
        assert (
            alone.methods[method]["plain"].settings[0]
            == (record.methods[method]["plain"].settings[2])
        )


def test_the_teacher_is_the_network_of_the_first_weights_with_hard_labels():
    # With hard labels alone and one trial, the chosen network is the teacher: the same by hand.
    found = run([1], methods=["hard"], budget=1, schooling=SHORT)
    data = two_gaussians(1)
    model = build("mlp", (2,), 3, 1000, hidden=(64,) * 5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    least, best, weights = torch.inf, 0, {}
    for epoch in range(1, SHORT.epochs + 1):
        logits = model(data.train.take(slice(None)))
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, data.train.labels).backward()
        optimizer.step()
        nll = likelihood(model, data.validation)
        if nll < least:
            least, best, weights = nll, epoch, copy.deepcopy(model.state_dict())
        if epoch - best >= SHORT.patience:
            break
    model.load_state_dict(weights)
    column = found.methods["hard"]["plain"]
    assert column.epochs == [best]
    assert column.validation_nll[0] == pytest.approx(least, rel=1e-3)
    assert column.metrics["nll"][0] == pytest.approx(likelihood(model, data.test), rel=1e-3)


@torch.no_grad()
def likelihood(model, part):
    return float(nn.functional.cross_entropy(model(part.take(slice(None))), part.labels))


def test_the_record_is_read_as_it_was_written(record, tmp_path):
    write_record(record, tmp_path / "record.json")
    again = read_record(tmp_path / "record.json")
    assert again.methods.keys() == record.methods.keys()
    for method in METHODS:
        assert again.methods[method]["scaled"].settings == record.methods[method]["scaled"].settings
        np.testing.assert_allclose(
            again.values(method, "scaled", "ece"), record.values(method, "scaled", "ece"), atol=1e-5
        )
    assert again.environment == record.environment


def test_draws_computed_in_parts_are_one_record(record):
    short = {"methods": ["hard", "ils"], "budget": 2, "schooling": SHORT}
    whole = joined(run([0, 1], **short), run([2], **short))
    assert whole.draws == [0, 1, 2]
    for method in ("hard", "ils"):
        for variant in ("plain", "scaled"):
            found = whole.methods[method][variant]
            assert found.settings == record.methods[method][variant].settings
            np.testing.assert_allclose(
                whole.values(method, variant, "nll"),
                record.values(method, variant, "nll"),
                rtol=1e-3,
            )
    np.testing.assert_allclose(whole.bayes["ece"], record.bayes["ece"])


def test_ranks_are_averaged_over_draws(record):
    ranks = record.mean_ranks("accuracy")
    assert len(ranks) == 2 * len(METHODS)
    assert np.mean(list(ranks.values())) == pytest.approx((2 * len(METHODS) + 1) / 2)
    for metric, sign in (("nll", 1), ("accuracy", -1)):
        ranks = record.mean_ranks(metric)
        table = sign * np.stack([record.values(*column, metric) for column in ranks])
        below = (table < table[:, None]).sum(1) + ((table == table[:, None]).sum(1) - 1) / 2
        np.testing.assert_allclose(list(ranks.values()), 1 + below.mean(1))


def test_the_surface_has_a_cell_for_every_pair(tmp_path):
    found = surface([0, 1], p1=[0.6, 0.8], p2=[0.75, 2.0, 10.0], schooling=SHORT)
    assert np.array(found.nll).shape == (2, 2, 3)
    assert len({value for row in found.nll[0] for value in row}) == 6
    write_record(found, tmp_path / "surface.json")
    read = read_surface(tmp_path / "surface.json")
    np.testing.assert_allclose(read.nll, found.nll, atol=1e-5)
    both = joined_surfaces(found, read)
    assert both.draws == [0, 1, 0, 1]
    assert len(both.nll) == 4


def test_the_surface_is_ils1_with_these_settings(record):
    column = record.methods["ils1"]["plain"]
    chosen = column.settings[0]
    assert column.starts[0] == 0
    table = surface([0], p1=[chosen["p1"]], p2=[chosen["p2"]], schooling=SHORT).nll[0]
    assert column.metrics["nll"][0] == pytest.approx(table[0][0], rel=1e-3)


def test_scores_by_hand():
    logits = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]).double().log()
    labels, dense = torch.tensor([0, 1, 1, 1]), torch.tensor([True, True, False, False])
    found = scores(logits, labels, dense)
    assert found["accuracy"] == 0.75
    assert found["accuracy_dense"] == 0.5
    assert found["accuracy_sparse"] == 1
    assert found["nll"] == pytest.approx(-np.log([0.9, 0.2, 0.7, 0.6]).mean())
    assert found["ece"] == pytest.approx((0.1 + 0.8 + 0.3 + 0.4) / 4)
    # Class 0 has one sample, said 0.9; class 1 has three, said 0.8 wrongly, 0.7 and 0.6.
    assert found["ece_within_classes"] == pytest.approx((0.1 + (0.8 + 0.3 + 0.4) / 3) / 2)

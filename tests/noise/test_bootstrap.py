import warnings

import pytest
import torch

import softtargets as st
from softtargets.noise import bootstrap
from tests.noise.estimation_cases import METHODS, generator, problem

TRUTH = torch.tensor([[0.7, 0.2, 0.1], [0.15, 0.8, 0.05], [0.1, 0.3, 0.6]], dtype=torch.float64)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("quantile", [None, 0.9])
def test_the_interval_is_that_of_the_draws_one_by_one(method, quantile):
    quantile = None if method == "confident" else quantile
    probs, labels = problem(3, 150)
    arguments = {"method": method, "quantile": quantile}
    known = st.noise.bootstrap_transition(
        probs, labels, **arguments, draws=100, level=0.9, generator=generator()
    )
    picked = torch.randint(150, (100, 150), generator=generator())
    one_by_one = torch.stack(
        [st.noise.estimate_transition(probs[row], labels[row], **arguments) for row in picked]
    )
    ends = torch.tensor([0.05, 0.95], dtype=torch.float64)
    low, high = torch.quantile(one_by_one, ends, dim=0)
    torch.testing.assert_close(known.low, low, rtol=0, atol=1e-12)
    torch.testing.assert_close(known.high, high, rtol=0, atol=1e-12)
    whole = st.noise.estimate_transition(probs, labels, **arguments)
    assert torch.equal(known.transition, whole)


@pytest.mark.parametrize("method", METHODS)
def test_blocks_change_nothing(method, monkeypatch):
    probs, labels = problem(3, 150)

    def known():
        return st.noise.bootstrap_transition(
            probs, labels, method=method, draws=90, generator=generator()
        )

    at_once = known()
    monkeypatch.setattr(bootstrap, "_BLOCK_ELEMENTS", 7 * probs.numel())
    for one, other in zip(at_once, known(), strict=True):
        assert torch.equal(one, other)


def test_intervals_hold_the_true_matrix_as_often_as_they_say():
    source, inside = generator(1), []
    clean = torch.arange(3).repeat(150)
    probs = (6.0 * torch.eye(3)[clean] + torch.randn(450, 3, generator=source)).softmax(-1)
    for _ in range(60):
        labels = torch.multinomial(TRUTH[clean], 1, generator=source).squeeze(-1)
        known = st.noise.bootstrap_transition(
            probs, labels, method="confident", draws=400, level=0.9, generator=source
        )
        inside.append((known.low <= TRUTH) & (known.high >= TRUTH))
    # Of 540 entries about 360 are free: a deviation of 0.016, and small counts cost a little.
    assert torch.stack(inside).double().mean().item() == pytest.approx(0.9, abs=0.06)


def test_a_seed_gives_the_same_interval_and_touches_no_global_state():
    probs, labels = problem(3, 90)
    before = torch.get_rng_state()
    one, again, other = (
        st.noise.bootstrap_transition(
            probs, labels, method="dual", quantile=0.8, draws=40, generator=generator(seed)
        )
        for seed in (0, 0, 1)
    )
    assert torch.equal(one.low, again.low)
    assert torch.equal(one.high, again.high)
    assert not torch.equal(one.low, other.low)
    assert torch.equal(torch.get_rng_state(), before)


def test_support_counts_the_samples_behind_a_row():
    certain, near, unsure = [0.9, 0.1], [0.82, 0.18], [0.8, 0.2]
    probs = torch.tensor([certain] * 2 + [near] * 9 + [unsure] * 5 + [[0.2, 0.8]] * 12)
    labels = torch.tensor([0] * 14 + [1] * 14)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known = st.noise.bootstrap_transition(probs, labels, draws=40, generator=generator())
    assert known.support.tolist() == [11, 12]
    assert known.too_few.tolist() == [False, False]
    dual = st.noise.bootstrap_transition(
        probs, labels, method="dual", draws=40, generator=generator()
    )
    assert dual.support.tolist() == [11, 12]


def test_near_anchors_are_predicted_as_the_class():
    rows = (
        [[0.40, 0.3, 0.3]] * 11 + [[0.38, 0.5, 0.12]] * 5 + [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]] * 10
    )
    known = st.noise.bootstrap_transition(torch.tensor(rows), draws=40, generator=generator())
    assert known.support.tolist() == [11, 10, 10]


def test_one_warning_names_the_classes_with_too_few_anchors():
    probs = torch.tensor([[0.99, 0.01]] * 3 + [[0.6, 0.4]] * 20 + [[0.1, 0.9]] * 20)
    labels = torch.tensor([0] * 23 + [1] * 20)
    with pytest.warns(UserWarning, match=r"classes 0 \(3\), too few") as caught:
        known = st.noise.bootstrap_transition(probs, labels, draws=40, generator=generator())
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert known.too_few.tolist() == [True, False]
    assert known.support.tolist() == [3, 20]


def test_the_warning_names_twenty_classes():
    with pytest.warns(UserWarning, match=r"18 \(1\), 19 \(1\) and 5 more, too few"):
        st.noise.bootstrap_transition(torch.eye(25), draws=40, generator=generator())


def test_a_quantile_that_reaches_past_the_class_has_no_support():
    probs, labels = problem(10, 400)
    with pytest.warns(UserWarning, match=r"0 \(0\), 1 \(0\)"):
        known = st.noise.bootstrap_transition(probs, quantile=0.8, draws=40, generator=generator())
    assert known.support.tolist() == [0] * 10
    with pytest.warns(UserWarning, match=r"fewer than 1 .*0 \(0\), 1 \(0\)") as told:
        estimate = st.noise.estimate_transition(probs, quantile=0.8)
    assert torch.equal(estimate, known.transition)
    assert told[0].filename == __file__
    with pytest.raises(ValueError, match=r"at least 81 of every class .*; the anchor is the 81\. "):
        st.noise.estimate_transition(probs, labels, "dual", quantile=0.8)


@pytest.mark.filterwarnings("ignore:fewer than 10")
@pytest.mark.parametrize("method", ["confident", "dual"])
def test_a_draw_without_a_class_keeps_its_row(method):
    probs = torch.tensor([[0.9, 0.05, 0.05]] * 20 + [[0.05, 0.9, 0.05]] * 20 + [[0.0, 0.1, 0.9]])
    labels = torch.tensor([0] * 20 + [1] * 20 + [2])
    known = st.noise.bootstrap_transition(
        probs, labels, method=method, draws=200, generator=generator()
    )
    ones = torch.ones(3, dtype=torch.float64)
    assert bool(known.low.isfinite().all())
    torch.testing.assert_close(known.transition.sum(-1), ones, rtol=0, atol=1e-12)
    # What every sample of class 2 says, whether a draw holds one or not.
    entry, value = ((2, 2), 1.0) if method == "confident" else ((0, 2), 0.05)
    assert known.low[entry].item() == pytest.approx(value, abs=1e-6)
    assert known.high[entry].item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"draws": 39}, ValueError, "at least 40 for level 0.95, got 39"),
        ({"draws": 40, "level": 0.99}, ValueError, "at least 200 for level 0.99, got 40"),
        ({"draws": 10.0}, TypeError, "`draws` must be an integer, got float"),
        ({"level": 1.0}, ValueError, "above 0 and below 1, got 1.0; 0.95 is customary"),
        ({"level": "high"}, TypeError, "`level` must be a number, got str"),
        ({"generator": 3}, TypeError, "must be a torch.Generator, got int"),
        ({"labels": torch.zeros(200).long()}, ValueError, "got 0 of class 1"),
        ({"method": "confident", "labels": None}, ValueError, "`labels` must be given"),
        ({"quantile": 97}, ValueError, "97 % is 0.97"),
    ],
    ids=lambda x: str(x)[:30] if isinstance(x, str) else "",
)
def test_arguments(arguments, error, message):
    probs, labels = problem()
    given = {"labels": labels, "generator": generator(), **arguments}
    with pytest.raises(error, match=message):
        st.noise.bootstrap_transition(probs, given.pop("labels"), **given)

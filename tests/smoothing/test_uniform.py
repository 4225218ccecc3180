import pytest
import torch

import softtargets as st
from softtargets.testing import check_policy

K = 4
PRIOR = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)


@pytest.mark.parametrize(
    ("arguments", "distribution"),
    [
        ({}, True),
        ({"rate": 0.0}, True),
        ({"rate": 1.0}, True),
        ({"rate": 0.3, "convention": "K-1"}, True),
        ({"rate": 0.3, "prior": PRIOR}, True),
        ({"rate": 0.3, "prior": PRIOR.expand(K, K).clone()}, True),
        ({"rate": -0.5, "allow_negative": True}, False),
    ],
    ids=str,
)
def test_battery(arguments, distribution):
    check_policy(
        lambda: st.LabelSmoothing(**arguments), K, distribution=distribution, compiles=True
    )


def test_the_battery_catches_a_policy_that_smooths_twice():
    class Twice(st.AbstractSmoothing):
        def forward(self, target, logits=None, **context):
            return target.smooth(0.1, again=True)

    with pytest.raises(AssertionError, match="smooths a target twice"):
        check_policy(Twice, K)


def test_the_battery_catches_mass_on_ignored_rows():
    class Uniform(st.AbstractSmoothing):
        def forward(self, target, logits=None, **context):
            everywhere = st.Target.from_labels(torch.zeros(len(logits), dtype=torch.long), K)
            return everywhere.to(target.dtype).smooth(1.0).smoothed_from(target)

    with pytest.raises(AssertionError, match="an ignored row has got mass"):
        check_policy(Uniform, K)


def test_conventions_convert():
    target = st.Target.from_labels(torch.arange(K), K, dtype=torch.float64)
    others = st.LabelSmoothing(0.3, convention="K-1")(target).dense()
    everyone = st.LabelSmoothing(0.3 * K / (K - 1))(target).dense()
    torch.testing.assert_close(others, everyone)
    expected = torch.full((K, K), 0.1, dtype=torch.float64).fill_diagonal_(0.7)
    torch.testing.assert_close(others, expected)


def test_the_prior_is_saved_and_detached():
    prior = PRIOR.clone().requires_grad_()
    policy = st.LabelSmoothing(0.1, prior)
    assert not policy.prior.requires_grad
    other = st.LabelSmoothing(0.1, torch.full((K,), 0.25, dtype=torch.float64))
    other.load_state_dict(policy.state_dict())
    assert torch.equal(other.prior, PRIOR)
    assert "prior=(4,)" in repr(policy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 1.3}, r"`rate` must be in \[0, 1\], got 1.3"),
        ({"convention": "k"}, r'`convention` must be "K" or "K-1"'),
        ({"convention": "K-1", "prior": PRIOR}, "no meaning for a `prior`"),
        ({"prior": PRIOR * 2}, "rows summing to 1"),
        ({"prior": -PRIOR}, "entries >= 0"),
        ({"prior": torch.eye(3)[:2]}, "`prior` must have shape"),
        ({"prior": torch.tensor(1.0)}, r"`prior` must have shape \(K,\), or .* got \(\)"),
        ({"prior": torch.zeros(0)}, r"`prior` must have shape \(K,\), or .* got \(0,\)"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        st.LabelSmoothing(**arguments)


def test_a_prior_of_another_size():
    with pytest.raises(ValueError, match=r"`prior` must have shape \(3,\) or \(3, 3\)"):
        st.LabelSmoothing(0.1, PRIOR)(st.Target.from_labels(torch.tensor([0]), 3))
    with pytest.raises(ValueError, match="needs at least 2 classes"):
        st.LabelSmoothing(0.1, convention="K-1")(st.Target.from_labels(torch.tensor([0]), 1))

"""What the claims on mollification measure, against numpy on the same corrupted pictures."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from softtargets import calibration
from softtargets.claims import heinonen
from softtargets.claims.budgets import SMOKE
from softtargets.lab.data import CORRUPTIONS, SEVERITIES, corrupted, load

DIGITS = load("digits")


def network(seed):
    """A linear network on digits, as a finished run answers for it."""
    weight = torch.randn(64, 10, generator=torch.Generator().manual_seed(seed))
    return SimpleNamespace(data=DIGITS, logits=lambda inputs: inputs.flatten(1) @ weight / 8)


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heinonen, "TESTED", 120)
        runs = {"a": [network(0), network(1)], "b": [network(2), network(3)]}
        return heinonen.damaged(runs)


def said(seed, kind, severity):
    inputs = corrupted(DIGITS, kind, severity, 120)
    return network(seed).logits(inputs).double()


LABELS = DIGITS.test.labels[:120]
EVERY = [(kind, severity) for kind in CORRUPTIONS for severity in SEVERITIES]


def test_errors_are_those_of_all_kinds_and_severities(found):
    wrong = {each: (said(2, *each).argmax(-1) != LABELS).double().mean() for each in EVERY}
    assert float(found["b"].error().values[0]) == pytest.approx(np.mean(list(wrong.values())))
    of_kind = [wrong[each] for each in EVERY if each[0] == "specks"]
    assert float(found["b"].error("specks").values[0]) == pytest.approx(np.mean(of_kind))
    worst = [wrong[each] for each in EVERY if each[1] == 5]
    assert float(found["b"].error(severity=5).values[0]) == pytest.approx(np.mean(worst))


def test_losses_and_calibration_errors_are_means_too(found):
    losses, errors = [], []
    for each in EVERY:
        logits = said(1, *each)
        losses.append(float(torch.nn.functional.cross_entropy(logits, LABELS)))
        errors.append(
            float(
                calibration.expected_calibration_error(
                    logits.softmax(-1), LABELS, bins=15, debiased=True
                )
            )
        )
    assert float(found["a"].loss.values[1]) == pytest.approx(np.mean(losses))
    assert float(found["a"].calibration_error.values[1]) == pytest.approx(np.mean(errors))


def test_draws_of_samples_are_paired(found):
    """The same samples are drawn for both arms, kinds and severities."""
    gap = (found["a"].error() - found["a"].error()).interval()
    assert (gap.low, gap.high) == (0, 0)
    alone = found["a"].error().draws
    parts = [found["a"].error(kind).draws for kind in CORRUPTIONS]
    torch.testing.assert_close(torch.stack(parts).mean(0), alone, atol=1e-6, rtol=0)
    assert float(alone.std()) > 0


def test_arms_of_each_scene_have_four_tries_of_their_own_and_the_same_seeds():
    for claim in heinonen.CLAIMS:
        scenes = {arm.scene for arm in claim.arms}
        assert scenes == set(heinonen.SCENES.values()) <= set(SMOKE.scenes)
        assert {len(arm.tries) for arm in claim.arms} == {4}
    assert {arm.by for arm in heinonen.UNCERTAINTY.arms} == {"nll"}


def test_an_error_below_its_noise_stays_negative():
    """60 % confidence, right in exactly 60 of 100: less than chance leaves, on average."""
    labels = torch.tensor([0] * 60 + [1] * 40)
    said = torch.tensor([0.6, 0.4], dtype=torch.float64).log().expand(100, 2, 2)
    damage = heinonen.Damage(labels)
    damage.logits["noise", 1] = said
    noise = np.sqrt(2 / np.pi * 0.6 * 0.4 / 100)  # mean size of the gap of a calibrated model
    assert damage.calibration_error.values.tolist() == pytest.approx([-noise, -noise], rel=0.05)

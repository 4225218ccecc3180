"""Every row is scaled by a fit that did not see it."""

import pytest
import torch

from softtargets.calibration import TemperatureScaling, VectorScaling, cross_fitted


@pytest.mark.parametrize("kind", [TemperatureScaling, VectorScaling])
def test_each_row_is_scaled_by_a_fit_of_the_others(make_predictions, kind):
    logits, labels = make_predictions(103, 3, sharpness=2.0)
    result = cross_fitted(kind(), logits, labels, folds=4)
    assert result.fold.bincount().tolist() == [26, 26, 26, 25]
    for number, scaling in enumerate(result.scalings):
        held_out = result.fold == number
        by_hand = kind().fit(logits[~held_out], labels[~held_out])
        assert scaling.temperature == by_hand.temperature
        assert torch.equal(result.logits[held_out], by_hand(logits[held_out]))
    assert result.temperatures == tuple(scaling.temperature for scaling in result.scalings)


def test_leaving_one_out(make_predictions):
    logits, labels = make_predictions(12, 3)
    result = cross_fitted(TemperatureScaling(), logits, labels, folds=12)
    assert sorted(result.fold.tolist()) == list(range(12))


def test_the_generator_decides(make_predictions):
    logits, labels = make_predictions(50)
    unfitted = TemperatureScaling()

    def folds(generator):
        return cross_fitted(unfitted, logits, labels, generator=generator).fold

    assert torch.equal(folds(None), folds(None))
    one = folds(torch.Generator().manual_seed(1))
    assert torch.equal(one, folds(torch.Generator().manual_seed(1)))
    assert not torch.equal(one, folds(None))
    assert repr(unfitted) == "TemperatureScaling(not fitted)"


@pytest.mark.parametrize(
    ("folds", "error", "message"),
    [
        (1, ValueError, r"`folds` must be in 2 \.\. 20, the number of samples, got 1"),
        (21, ValueError, "got 21; 5 is customary"),
        (2.0, TypeError, "`folds` must be an integer, got float"),
        (True, TypeError, "must be an integer, got bool"),
    ],
)
def test_bad_folds(make_predictions, folds, error, message):
    with pytest.raises(error, match=message):
        cross_fitted(TemperatureScaling(), *make_predictions(20), folds=folds)


def test_bad_logits(make_predictions):
    logits, labels = make_predictions(20)
    logits[3, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN, got one in row 3"):
        cross_fitted(TemperatureScaling(), logits, labels)

"""What corrections refuse."""

import pytest
import torch

import softtargets as st

K = 5


def _backward(noise, strength=1.0):
    return st.BackwardCorrection(noise, strength, allow_negative=True)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda z, y: st.cross_entropy(z, y, correction=torch.eye(K)),
            TypeError,
            "`correction` must be a `ForwardCorrection`.*wrap a transition matrix",
        ),
        (
            lambda z, y: st.CrossEntropyLoss(correction=torch.eye(K)),
            TypeError,
            "`correction` must be",
        ),
        (
            lambda z, y: st.cross_entropy(z, y, correction=st.ForwardCorrection(torch.eye(3))),
            ValueError,
            "`correction` must be of the logits' 5 classes, got 3",
        ),
        (
            lambda z, y: st.cross_entropy(z, y, correction=_backward(torch.eye(3))),
            ValueError,
            "`correction` must be of the logits' 5 classes, got 3",
        ),
        (
            lambda z, y: st.cross_entropy(
                z,
                y,
                correction=st.ForwardCorrection(torch.eye(K)),
                options=st.LossOptions(impl="compiled"),
            ),
            ValueError,
            "cannot run a forward correction",
        ),
        (
            lambda z, y: st.cross_entropy(
                z, st.Target.from_labels(y, K).smooth(0.1), correction=_backward(torch.eye(K))
            ),
            ValueError,
            "smoothed already",
        ),
        (lambda z, y: _backward(torch.eye(K), 1.5), ValueError, "`strength` must be in"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.zeros(3, K, requires_grad=True), torch.tensor([0, 1, -100]))


def test_a_label_that_the_noise_never_makes_is_found_on_request():
    never = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    correction = st.ForwardCorrection(never)
    logits, checked = torch.zeros(3, 3), st.LossOptions(validate=True)
    labels = torch.tensor([0, 1, 2])
    criterion = st.CrossEntropyLoss(0.1, correction=correction, options=checked)
    assert criterion(logits, torch.tensor([0, 1, -100])).isfinite()
    soft = torch.eye(3)
    for target in (labels, soft, st.Target.from_probs(soft)):
        with pytest.raises(ValueError, match=r"transition never makes, it does at \(2,\)"):
            criterion(logits, target)
    # Without class 1 nobody becomes class 1; a row without a living class counts nowhere.
    masks = torch.tensor([[True, False, True], [True, True, True], [False, False, False]])
    with pytest.raises(ValueError, match=r"it does at \(0,\)"):
        criterion(logits, torch.tensor([2, 1, 2]), class_mask=masks)
    assert criterion(logits, torch.tensor([0, 1, 2]), class_mask=masks).isfinite()
    assert criterion.eval()(logits, labels).isfinite()

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

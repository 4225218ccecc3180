"""What policies say of what they cannot work with, and whether the way out is there."""

import pytest
import torch

import softtargets as st

N, K = 4, 5

POLICIES = {
    "uniform": lambda: st.LabelSmoothing(0.1),
    "online": lambda: st.OnlineLabelSmoothing(K),
    "instance": lambda: st.InstanceLabelSmoothing(0.1),
    "matrix": lambda: st.ClassMatrixSmoothing(torch.eye(K), 0.1),
    "label-aware": lambda: st.LabelAwareSmoothing(torch.arange(1, K + 1), 0.3, 0.1),
    "suppression": lambda: st.MaxSup(0.1),
    "bootstrapping": lambda: st.Bootstrapping(),
    "spatial": lambda: st.SpatialSmoothing(1.0),
    "temporal": lambda: st.TemporalSmoothing(0.1),
}


@pytest.mark.parametrize("name", POLICIES)
def test_labels_are_no_target(name):
    labels = torch.zeros(N, dtype=torch.long)
    for wrong, kind in ((labels, "Tensor"), (labels.tolist(), "list")):
        with pytest.raises(TypeError, match=rf"`target` must be a `Target`, got {kind}; make one"):
            POLICIES[name]()(wrong, torch.zeros(N, K))


class Numbered:
    """A cache that no function hands sample numbers to."""

    num_classes = K

    def __getitem__(self, index):
        raise AssertionError


@pytest.mark.parametrize("teacher", [torch.nn.Linear(K, K), Numbered()])
def test_where_a_loss_cannot_ask_the_teacher_the_smoothed_target_goes_in(teacher):
    policy = st.InstanceLabelSmoothing(0.1, "teacher", teacher=teacher)
    logits, said, labels = torch.randn(N, K), torch.randn(N, K), torch.randint(K, (N,))
    calls = [
        lambda target, smoothing: st.cross_entropy(logits, target, smoothing=smoothing),
        lambda target, smoothing: st.linear_cross_entropy(
            logits, torch.eye(K), target, smoothing=smoothing
        ),
    ]
    smoothed = policy(st.Target.from_labels(labels, K), teacher_logits=said)
    for call in calls:
        with pytest.raises(TypeError, match=r"hand the smoothed target, `policy\(target, teach"):
            call(labels, policy)
        assert bool(call(smoothed, None).isfinite())


def test_no_head_is_named_that_is_not_there():
    target = st.Target.from_labels(torch.zeros(N, dtype=torch.long), K)
    policies = (POLICIES["suppression"](), st.InstanceLabelSmoothing(0.1, "teacher"))
    for policy in policies:
        with pytest.raises(TypeError, match="criterion") as caught:
            policy(target)
        assert "CrossEntropyLoss" not in str(caught.value)

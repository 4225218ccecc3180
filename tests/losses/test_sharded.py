"""Sharded logits, and policies that no chunk can serve, are errors that say what to do."""

import pytest
import torch
from torch import distributed

import softtargets as st

K = 4


@pytest.fixture
def sharded(tmp_path):
    """Logits `(6, K)` as a `DTensor` on a group of this process alone."""
    if not (distributed.is_available() and distributed.is_gloo_available()):
        pytest.skip("needs torch.distributed with gloo")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        yield distribute_tensor(torch.randn(6, K), mesh, [Shard(1)])
    finally:
        distributed.destroy_process_group()


LABELS = torch.tensor([0, 1, 2, 3, 0, -100])
MESSAGE = r"`logits` must be a plain tensor, got a DTensor, .* `logits\.full_tensor\(\)`"


def test_losses_refuse_sharded_logits(sharded):
    assert type(sharded).__name__ == "DTensor"
    heads = [
        lambda z: st.cross_entropy(z, LABELS, smoothing=0.1),
        lambda z: st.CrossEntropyLoss(st.OnlineLabelSmoothing(K))(z, LABELS),
        lambda z: st.cross_entropy_with_metrics(z, LABELS),
        lambda z: st.focal_loss(z, LABELS),
        lambda z: st.generalized_cross_entropy(z, LABELS),
        lambda z: st.symmetric_cross_entropy(z, LABELS),
    ]
    for head in heads:
        with pytest.raises(TypeError, match=MESSAGE):
            head(sharded)
    loss = st.cross_entropy(sharded.full_tensor(), LABELS, smoothing=0.1)
    local = st.cross_entropy(sharded.to_local(), LABELS, smoothing=0.1, normalizer=5)
    torch.testing.assert_close(loss, local)


def test_the_fused_layer_refuses_sharded_inputs(sharded):
    plain = torch.randn(6, K)
    for name, hidden, weight in (("hidden", sharded, plain), ("weight", plain, sharded)):
        with pytest.raises(TypeError, match=f"`{name}` must be a plain tensor, got a DTensor"):
            st.linear_cross_entropy(hidden, weight, LABELS)


@pytest.mark.parametrize("policy", [st.SpatialSmoothing(1.0), st.TemporalSmoothing(rate=0.1)])
def test_policies_of_neighbours_are_refused_where_a_chunk_is_all_there_is(policy):
    assert policy.needs_whole_batch
    hidden, weight = torch.randn(2, 3, 5), torch.randn(K, 5)
    labels = torch.randint(K, (2, 3))
    with pytest.raises(TypeError, match="neighbouring positions and cannot work on chunks"):
        st.linear_cross_entropy(hidden, weight, labels, smoothing=policy)
    with pytest.raises(TypeError, match=f"{type(policy).__name__} looks at neighbouring"):
        st.LinearCrossEntropyLoss(policy)(hidden, weight, labels)


def test_the_way_out_for_neighbours_works():
    policy = st.TemporalSmoothing(rate=0.2)
    hidden, weight = torch.randn(2, 3, 5), torch.randn(K, 5)
    labels = torch.randint(K, (2, 3))
    target = policy(st.Target.from_labels(labels, K))
    fused = st.linear_cross_entropy(hidden, weight, target)
    whole = st.cross_entropy(hidden @ weight.T, labels, smoothing=policy, class_dim=-1)
    torch.testing.assert_close(fused, whole)


@pytest.mark.parametrize("policy", [st.LabelSmoothing(0.1), st.OnlineLabelSmoothing(K)])
def test_others_do_not_need_the_whole_batch(policy):
    assert not policy.needs_whole_batch

"""Sequences through either output layer: fairseq's and the HF Trainer's formulas, with gradients.

The reference is numpy in float64: the sum over tokens as each project states it, and its gradient
by hand, through a tied or an untied output layer.
"""

import numpy as np
import pytest
import torch

import softtargets as st
from tests.reference import log_softmax

B, L, V, D = 3, 5, 7, 4
LENGTHS = [5, 2, 3]
PAD, RATE = 1, 0.1
TOKENS = sum(LENGTHS)


def fairseq_token(log_p, label):
    """(1 - e - e / (V - 1)) nll + e / (V - 1) smooth, and its gradient by the logits."""
    each, p = RATE / (V - 1), np.exp(log_p)
    hot = np.eye(V)[label]
    loss = (1 - RATE - each) * -log_p[label] + each * -log_p.sum()
    return loss, (1 - RATE - each) * (p - hot) + each * (V * p - 1)


def trainer_token(log_p, label):
    """(1 - e) nll + e * mean over the vocabulary of -log p, and its gradient by the logits."""
    p, hot = np.exp(log_p), np.eye(V)[label]
    loss = (1 - RATE) * -log_p[label] + RATE * -log_p.mean()
    return loss, (1 - RATE) * (p - hot) + RATE * (p - 1 / V)


PEERS = {
    # name: formula of a token, divisor, our policy, our normalizer
    "fairseq by token": (fairseq_token, TOKENS, "K-1", "token"),
    "fairseq by sentence": (fairseq_token, B, "K-1", "sequence"),
    "HF Trainer": (trainer_token, TOKENS, "K", "token"),
    "HF Trainer, num_items_in_batch": (trainer_token, 40, "K", 40.0),
}


def problem():
    """Embedding, separate output layer, input tokens and labels padded on the right."""
    embedding = torch.randn(V, D, dtype=torch.float64)
    output = torch.randn(V, D, dtype=torch.float64)
    labels = torch.randint(2, V, (B, L))
    for row, length in enumerate(LENGTHS):
        labels[row, length:] = PAD
    return embedding, output, torch.randint(V, (B, L)), labels


def by_hand(token_loss, divisor, embedding, output, inputs, labels):
    """The loss, and gradients of the embedding and of the output layer."""
    loss, of_embedding, of_output = 0.0, np.zeros((V, D)), np.zeros((V, D))
    for b, t in np.ndindex(B, L):
        if labels[b, t] == PAD:
            continue
        hidden = embedding[inputs[b, t]]
        each, gradient = token_loss(log_softmax(output @ hidden), int(labels[b, t]))
        loss += each / divisor
        of_output += np.outer(gradient, hidden) / divisor
        of_embedding[inputs[b, t]] += output.T @ gradient / divisor
    return loss, of_embedding, of_output


def ours(head, hidden, weight, labels, policy, normalizer):
    if head == "logits":
        return st.sequence_cross_entropy(
            hidden @ weight.T, labels, smoothing=policy, ignore_index=PAD, normalizer=normalizer
        )
    divisor = {"token": None, "sequence": B}.get(normalizer, normalizer)
    return st.linear_cross_entropy(
        hidden, weight, labels, smoothing=policy, ignore_index=PAD, normalizer=divisor
    )


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("head", ["logits", "fused"])
@pytest.mark.parametrize("peer", PEERS)
def test_peers_formulas_with_their_gradients(peer, head, tied):
    token_loss, divisor, convention, normalizer = PEERS[peer]
    embedding, output, inputs, labels = problem()
    output = embedding if tied else output
    loss, of_embedding, of_output = by_hand(
        token_loss, divisor, *(each.numpy() for each in (embedding, output, inputs, labels))
    )
    leaf = embedding.clone().requires_grad_()
    weight = leaf if tied else output.clone().requires_grad_()
    policy = st.LabelSmoothing(RATE, convention=convention)
    result = ours(head, leaf[inputs], weight, labels, policy, normalizer)
    result.backward()
    assert result.item() == pytest.approx(loss, abs=1e-12)
    expected = of_embedding + of_output if tied else of_embedding
    np.testing.assert_allclose(leaf.grad.numpy(), expected, atol=1e-12)
    if not tied:
        np.testing.assert_allclose(weight.grad.numpy(), of_output, atol=1e-12)


def test_every_sequence_alike_through_the_fused_head():
    """A target weighed by one over its sequence's length; the divisor is the sequences."""
    embedding, output, inputs, labels = problem()
    lengths = torch.tensor(LENGTHS, dtype=torch.float64)
    target = st.Target.from_labels(labels, V, ignore_index=PAD, dtype=torch.float64)
    weighed = target * (1 / lengths).unsqueeze(-1).expand(B, L)
    results = []
    for fused in (True, False):
        leaves = [embedding[inputs].requires_grad_(), output.clone().requires_grad_()]
        if fused:
            loss = st.linear_cross_entropy(*leaves, weighed, smoothing=RATE, normalizer=B)
        else:
            logits = leaves[0] @ leaves[1].T
            keywords = {"ignore_index": PAD, "normalizer": "sequence_mean"}
            loss = st.sequence_cross_entropy(logits, labels, smoothing=RATE, **keywords)
        results.append((loss.detach(), *torch.autograd.grad(loss, leaves)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("head", ["logits", "fused"])
def test_padding_is_exactly_nothing(head):
    embedding, output, inputs, labels = problem()
    prior = st.unigram_prior(labels, V, ignore_index=PAD).double()
    for policy in (RATE, st.LabelSmoothing(RATE, prior), st.OnlineLabelSmoothing(V)):
        hidden = embedding[inputs].requires_grad_()
        loss = ours(head, hidden, output, labels, policy, "token")
        (gradient,) = torch.autograd.grad(loss, hidden)
        assert bool((gradient[labels == PAD] == 0).all())
        assert bool((gradient[labels != PAD] != 0).any(-1).all())
        nothing = ours(head, hidden, output, torch.full_like(labels, PAD), policy, "token")
        assert nothing.item() == 0


@pytest.mark.parametrize("top_k", [V, 2])
def test_online_rows_of_a_vocabulary_through_either_head(top_k):
    """k largest entries of each token's row; what padding holds is not learned from."""
    embedding, output, inputs, labels = problem()
    logits = embedding[inputs] @ output.T
    labels = torch.where(labels == PAD, PAD, logits.argmax(-1))
    sums, counts = np.zeros((V, V)), np.zeros(V)
    for b, t in np.ndindex(B, L):
        label = int(labels[b, t])
        if label != PAD:
            sums[label] += np.exp(log_softmax(logits[b, t].numpy()))
            counts[label] += 1
    losses = []
    for head in ("logits", "fused"):
        policy = st.OnlineLabelSmoothing(V, storage="top_k", top_k=top_k)
        ours(head, embedding[inputs], output.clone().requires_grad_(), labels, policy, "token")
        policy.end_epoch()
        for label in range(V):
            row = sums[label] / counts[label] if counts[label] else np.full(V, 1 / V)
            kept = np.argsort(row)[-top_k:]
            rest = (1 - row[kept].sum()) / max(1, V - top_k)
            expected = np.full(V, rest)
            expected[kept] = row[kept]
            np.testing.assert_allclose(policy.matrix[label].numpy(), expected, atol=2e-6)
        losses.append(ours(head, embedding[inputs], output, labels, policy, "token"))
    torch.testing.assert_close(losses[0], losses[1])

"""A small model that has learnt to reverse sentences, some way or all of it."""

import functools

import torch

import softtargets as st
from softtargets.lab.translation.model import Size, Transformer
from softtargets.lab.translation.vocabulary import END, PAD, START

V, LONGEST = 11, 5


def sentences(count, seed):
    """Sources of 1 to 5 words, inputs and labels: the same words from the last to the first."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(3, V, (count, LONGEST), generator=generator)
    lengths = torch.randint(1, LONGEST + 1, (count, 1), generator=generator)
    place = torch.arange(LONGEST + 1)
    source = torch.nn.functional.pad(words, (0, 1)).masked_fill(place > lengths, PAD)
    source = source.masked_fill(place == lengths, END)
    labels = source.gather(1, (lengths - 1 - place).clamp(min=0))
    labels = labels.masked_fill(place == lengths, END).masked_fill(place > lengths, PAD)
    inputs = torch.cat([torch.full((count, 1), START), labels[:, :-1]], 1)
    return source, inputs.masked_fill(labels == PAD, PAD), labels


@functools.cache
def trained(steps):
    """Return the model after some steps, in eval mode."""
    torch.manual_seed(0)
    model = Transformer(Size(vocabulary=V, width=32, heads=2, layers=1, dropout=0.0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    criterion = st.SequenceCrossEntropyLoss(0.1, ignore_index=PAD)
    for step in range(steps):
        source, inputs, labels = sentences(64, seed=step)
        loss = criterion(model(source, inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()

"""The laboratory's methods, written out with dense targets, from their formulas."""

from functools import partial
from typing import NamedTuple

import torch

import softtargets as st

CLASSES = 10


class Given(NamedTuple):
    """The training labels, what a teacher says of their samples, and how long to train."""

    labels: torch.Tensor
    truth: torch.Tensor
    teacher: torch.Tensor
    temperature: float
    epochs: int
    estimated: torch.Tensor | None = None


def onehot(labels):
    return torch.eye(CLASSES)[labels]


class Hard:
    """The cross-entropy with the target of each sample; the others say what differs."""

    def __init__(self, given):
        self.given, self.epoch = given, 0

    def loss(self, model, inputs, labels, batch, mixing):
        logits = model(inputs)
        return self.compared(logits, self.targets(onehot(labels), labels, batch, logits), labels)

    def targets(self, rows, labels, batch, logits):
        return rows

    def compared(self, logits, target, labels):
        return -(target * logits.log_softmax(-1)).sum(-1).mean()

    def end_epoch(self):
        self.epoch += 1


class Even(Hard):
    """LS: 0.9 on the label and 0.1 / K on every class."""

    def targets(self, rows, labels, batch, logits):
        return 0.9 * rows + 0.1 / CLASSES


class Frequencies(Hard):
    """A tenth, by how often each class is a label."""

    def targets(self, rows, labels, batch, logits):
        return 0.9 * rows + 0.1 * onehot(self.given.labels).mean(0)


class LabelAware(Hard):
    """The rarest class keeps its label, the most frequent gives up 0.3 of it."""

    def targets(self, rows, labels, batch, logits):
        counts = onehot(self.given.labels).sum(0)
        share = (counts - counts.min()) / (counts.max() - counts.min())
        rates = (0.3 * torch.sin(torch.pi * share / 2))[labels].unsqueeze(-1)
        return (1 - rates) * rows + rates / CLASSES


class TwoStages(Hard):
    """LS in the first half of the epochs, rounded up."""

    def targets(self, rows, labels, batch, logits):
        return 0.9 * rows + 0.1 / CLASSES if 2 * self.epoch < self.given.epochs else rows


class Online(Hard):
    """OLS: half the label, half the average of last epoch's right predictions of that class."""

    def __init__(self, given):
        super().__init__(given)
        self.matrix = torch.full((CLASSES, CLASSES), 1 / CLASSES)
        self.seen = [[] for _ in range(CLASSES)]

    def targets(self, rows, labels, batch, logits):
        for label, row in zip(labels.tolist(), logits.detach(), strict=True):
            if int(row.argmax()) == label:
                self.seen[label].append(row.softmax(-1))
        return 0.5 * rows + 0.5 * self.matrix[labels]

    def end_epoch(self):
        rows = zip(self.seen, self.matrix, strict=True)
        self.matrix = torch.stack([torch.stack(new).mean(0) if new else old for new, old in rows])
        self.seen = [[] for _ in range(CLASSES)]


class MaxSuppression(Hard):
    """CE + w (largest logit - mean logit), w from 0.1 in the first epoch to 0.2 in the last."""

    def compared(self, logits, target, labels):
        weight = 0.1 + 0.1 * self.epoch / (self.given.epochs - 1)
        gap = (logits.amax(-1) - logits.mean(-1)).mean()
        return super().compared(logits, target, labels) + weight * gap


class Bootstrap(Hard):
    def __init__(self, given, *, hard):
        super().__init__(given)
        self.hard = hard

    def targets(self, rows, labels, batch, logits):
        if self.hard:
            return 0.8 * rows + 0.2 * onehot(logits.argmax(-1))
        return 0.95 * rows + 0.05 * logits.detach().softmax(-1)


class Instance(Hard):
    """ILS: the teacher says how much moves (or a tenth does), and where to (or evenly)."""

    def __init__(self, given, *, how_much, where):
        super().__init__(given)
        self.confidence = (given.teacher / given.temperature).softmax(-1)
        self.plain = given.teacher.softmax(-1)
        self.how_much, self.where = how_much, where

    def targets(self, rows, labels, batch, logits):
        made = []
        for label, sample in zip(labels.tolist(), batch.tolist(), strict=True):
            p = float(self.confidence[sample, label])
            rate = min(1.5 * (p - 0.95) ** 2, 0.2) if self.how_much else 0.1
            spread = self.plain[sample].clone() if self.where else torch.ones(CLASSES)
            spread[label] = 0
            row = rate * spread / spread.sum()
            row[label] = 1 - rate
            made.append(row)
        return torch.stack(made)


class ByClass(Hard):
    """A tenth moves as the teacher's probabilities, averaged by label, are off the label."""

    def targets(self, rows, labels, batch, logits):
        said = onehot(self.given.labels).T @ self.given.teacher.softmax(-1)
        said.fill_diagonal_(0)
        return 0.9 * rows + 0.1 * (said / said.sum(-1, keepdim=True))[labels]


class Distilled(Hard):
    """A tenth of the label, nine tenths of the teacher at a temperature of 20."""

    def targets(self, rows, labels, batch, logits):
        return 0.1 * rows + 0.9 * (self.given.teacher[batch] / 20).softmax(-1)


class Penalised(Hard):
    def __init__(self, given, penalty):
        super().__init__(given)
        self.penalty = penalty

    def compared(self, logits, target, labels):
        return super().compared(logits, target, labels) + self.penalty(logits, labels).mean()


def margin(logits, labels):
    return 0.1 * (logits.amax(-1, keepdim=True) - logits - 10).relu().mean(-1)


def adaptive(logits, labels):
    top = logits.amax(-1, keepdim=True)
    low = (top.detach() - logits - 10).relu().square().sum(-1) / (CLASSES - 1)
    return 0.1 * ((top[:, 0] - 10).relu().square() + 0.1 * low)


def confidence(logits, labels):
    return 0.1 * (logits.softmax(-1) * logits.log_softmax(-1)).sum(-1)


def zipf(logits, labels):
    others = logits[onehot(labels) == 0].reshape(len(logits), CLASSES - 1)
    law = 1 / torch.arange(1.0, CLASSES)
    law = law / law.sum()
    ranked = others.log_softmax(-1).sort(-1, descending=True).values
    return 0.1 * (law * (law.log() - ranked)).sum(-1)


class Focal(Hard):
    def compared(self, logits, target, labels):
        p = logits.softmax(-1)
        return -(target * (1 - p) ** 3 * p.log()).sum(-1).mean()


class Generalised(Hard):
    def compared(self, logits, target, labels):
        p = (target * logits.softmax(-1)).sum(-1)
        return ((1 - p**0.7) / 0.7).mean()


class Symmetric(Hard):
    """A tenth of CE, and CE of the prediction against the label with log 0 = log 1e-4."""

    def compared(self, logits, target, labels):
        reverse = -(logits.softmax(-1) * target.clamp(min=1e-4).log()).sum(-1).mean()
        return 0.1 * super().compared(logits, target, labels) + reverse


def transition(given):
    """From true class (row) to label, as drawn."""
    table = onehot(given.truth).double().T @ onehot(given.labels).double()
    return table / table.sum(-1, keepdim=True)


class Forward(Hard):
    def compared(self, logits, target, labels):
        noisy = logits.double().softmax(-1) @ transition(self.given)
        return -(target * noisy.log()).sum(-1).mean().float()


class ForwardByEstimate(Hard):
    def compared(self, logits, target, labels):
        noisy = logits.double().softmax(-1) @ self.given.estimated
        return -(target * noisy.log()).sum(-1).mean().float()


class Taught(Hard):
    """What the teacher says."""

    def targets(self, rows, labels, batch, logits):
        return self.given.teacher[batch].softmax(-1)


class Backward(Hard):
    """Rows of the inverse, at half strength in epoch 1 of 3, in full afterwards."""

    def targets(self, rows, labels, batch, logits):
        strength = min(1.0, self.epoch / 2)
        undone = transition(self.given).inverse().float()[labels]
        return (1 - strength) * rows + strength * undone


class Mixed(Hard):
    """MixUp; shares and partners are drawn as `st.mixup` does, which has tests of its own."""

    def __init__(self, given, *, rate=0.0):
        super().__init__(given)
        self.rate = rate

    def loss(self, model, inputs, labels, batch, mixing):
        labelled = st.Target.from_labels(labels, CLASSES)
        drawn = st.mixup(inputs, labelled, alpha=0.2, generator=mixing)
        lam, partners = drawn.lam.unsqueeze(-1), drawn.partners
        rows = onehot(labels)
        rows = lam * rows + (1 - lam) * rows[partners]
        rows = (1 - self.rate) * rows + self.rate / CLASSES
        mixed = lam * inputs + (1 - lam) * inputs[partners]
        return self.compared(model(mixed), rows, labels)


class Cut(Hard):
    """Boxes are drawn as `st.cutmix` does, which has tests of its own."""

    def loss(self, model, inputs, labels, batch, mixing):
        labelled = st.Target.from_labels(labels, CLASSES)
        drawn = st.cutmix(inputs.unflatten(1, (8, 8)), labelled, generator=mixing)
        left = drawn.lam.unsqueeze(-1)
        rows = left * onehot(labels) + (1 - left) * onehot(labels)[drawn.partners]
        return self.compared(model(drawn.inputs.flatten(1)), rows, labels)


class Mollified(Hard):
    """Inputs and rates are drawn as `st.mollify` does, which has tests of its own."""

    def __init__(self, given, *, kinds):
        super().__init__(given)
        self.kinds = kinds

    def loss(self, model, inputs, labels, batch, mixing):
        labelled = st.Target.from_labels(labels, CLASSES)
        pictures = inputs.unflatten(1, (8, 8))
        drawn = st.mollify(pictures, labelled, kinds=self.kinds, generator=mixing)
        rate = drawn.rate.unsqueeze(-1)
        rows = (1 - rate) * onehot(labels) + rate / CLASSES
        return self.compared(model(drawn.inputs.flatten(1)), rows, labels)


METHODS = {
    "hard": Hard,
    "ls": Even,
    "prior": Frequencies,
    "las": LabelAware,
    "tsla": TwoStages,
    "ols": Online,
    "maxsup": MaxSuppression,
    "bootstrap-soft": partial(Bootstrap, hard=False),
    "bootstrap-hard": partial(Bootstrap, hard=True),
    "ils1": partial(Instance, how_much=True, where=False),
    "ils2": partial(Instance, how_much=False, where=True),
    "ils": partial(Instance, how_much=True, where=True),
    "cls": ByClass,
    "distill": Distilled,
    "mbls": partial(Penalised, penalty=margin),
    "acls": partial(Penalised, penalty=adaptive),
    "cp": partial(Penalised, penalty=confidence),
    "zipf": partial(Penalised, penalty=zipf),
    "focal": Focal,
    "gce": Generalised,
    "sce": Symmetric,
    "forward": Forward,
    "backward": Backward,
    "forward-est": ForwardByEstimate,
    "distill-ls": Taught,
    "distill-forward-est": Taught,
    "mixup": Mixed,
    "mixup-ls": partial(Mixed, rate=0.1),
    "cutmix": Cut,
    "mollify": partial(Mollified, kinds=("clean", "noise", "blur")),
    "mollify-noise": partial(Mollified, kinds=("clean", "noise")),
    "mollify-blur": partial(Mollified, kinds=("clean", "blur")),
}

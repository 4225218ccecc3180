"""Claims on mollification, measured on test pictures that are corrupted when they are measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from softtargets.calibration import BinStatistics
from softtargets.claims.arms import Arm
from softtargets.claims.budgets import SceneName
from softtargets.claims.claim import Claim, Measured, Quoted, Results, Test, levels, lines
from softtargets.claims.intervals import Paired, mean
from softtargets.claims.measures import BINS, accuracy, mean_of_rows, plain_error
from softtargets.claims.ols import points
from softtargets.claims.rule import Rule
from softtargets.claims.runs import Run
from softtargets.claims.tries import MOLLIFIED, hard, smoothed
from softtargets.lab.data import CORRUPTIONS, SEVERITIES, corrupted

PAPER = "Heinonen et al., Robust Classification by Coupling Data Mollification with Label "
PAPER += "Smoothing, AISTATS 2025"

SCENES: Mapping[str, SceneName] = {"digits": "easy", "objects": "objects"}
TESTED = 2000  # test pictures that are corrupted, the first ones
WHERE = "CIFAR-10-C, CIFAR-100-C, TinyImageNet-C, several networks and augmentations"


@dataclass(frozen=True, slots=True)
class Damage:
    """What the runs of an arm say of corrupted pictures.

    Attributes:
        labels: `(N,)`.
        logits: `(N, S, K)` float64, by sample and run, for each kind and severity.
    """

    labels: Tensor
    logits: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def error(self, kind: str | None = None, severity: int | None = None) -> Paired:
        """Return the share of mistakes, of some of the pictures or of all.

        Args:
            kind: None for all.
            severity: None for all.
        """
        chosen = [
            (said.argmax(-1) != self.labels.unsqueeze(-1)).double()
            for (one, other), said in self.logits.items()
            if kind in (None, one) and severity in (None, other)
        ]
        return mean_of_rows(torch.stack(chosen).mean(0))

    @property
    def loss(self) -> Paired:
        """NLL of all pictures."""
        rows = torch.arange(len(self.labels))
        losses = [-said.log_softmax(-1)[rows, :, self.labels] for said in self.logits.values()]
        return mean_of_rows(torch.stack(losses).mean(0))

    @property
    def calibration_error(self) -> Paired:
        """ECE, debiased and signed, of each kind and severity, on average."""
        each = [
            Paired(
                torch.tensor([self._debiased(run) for run in said.unbind(1)], dtype=torch.float64),
                torch.stack([plain_error(run, self.labels) for run in said.unbind(1)], 1),
            )
            for said in self.logits.values()
        ]
        return mean(each)

    def _debiased(self, logits: Tensor) -> float:
        """Signed: a floor at 0 would bias the mean over damages and seeds upwards."""
        confidence, predicted = logits.softmax(-1).max(-1)
        statistics = BinStatistics.from_scores(confidence, predicted == self.labels, bins=BINS)
        return float(statistics.calibration_error(debiased=True, floor=False))


def damaged(runs: Mapping[str, list[Run]]) -> dict[str, Damage]:
    """Return what each arm says of corrupted test pictures, made once for all of them.

    Args:
        runs: of arms on the same data.
    """
    data = next(iter(runs.values()))[0].data
    found = {name: Damage(data.test.labels[:TESTED]) for name in runs}
    for kind in CORRUPTIONS:
        for severity in SEVERITIES:
            pictures = corrupted(data, kind, severity, TESTED)
            for name, each in runs.items():
                said = torch.stack([run.logits(pictures) for run in each], 1)
                found[name].logits[kind, severity] = said.double()
    return found


def _of(results: Results, scene: str) -> dict[str, list[Run]]:
    """The runs of a scene's arms, by the arm's name without the scene."""
    end = f", {scene}"
    return {name.removesuffix(end): results.runs(name) for name in results.arms if end in name}


def _arms(*methods: tuple[str, str], **changes: str) -> tuple[Arm, ...]:
    """Hard labels, LS and these methods, on every scene."""
    arms: list[Arm] = []
    for scene, role in SCENES.items():
        arms += [
            hard(name=f"hard, {scene}", scene=role, **changes),
            smoothed(name=f"LS, {scene}", scene=role, **changes),
        ]
        for name, method in methods:
            arms.append(
                Arm(
                    name=f"{name}, {scene}",
                    method=method,
                    tries=MOLLIFIED,
                    scene=role,
                    **changes,  # type: ignore[arg-type]
                )
            )
    return tuple(arms)


BOTH = ("mollify", "mollify")


def _corruption(results: Results) -> Measured:
    effects, panels = {}, []
    for scene in SCENES:
        found = damaged(_of(results, scene))
        effects[scene] = found["mollify"].error() - found["hard"].error()
        by_severity = {
            name: {float(each): damage.error(severity=each) for each in SEVERITIES}
            for name, damage in found.items()
        }
        by_kind = {
            f"{name}, {kind}": found[name].error(kind) - found["hard"].error(kind)
            for kind in CORRUPTIONS
            for name in ("LS", "mollify")
        }
        whole = {name: damage.error() for name, damage in found.items()}
        panels += [
            levels(f"error on corrupted {scene}, %", whole, scale=100),
            lines(f"error on corrupted {scene}, %", "severity", by_severity, scale=100),
            levels(f"error on corrupted {scene}, less that of hard, %", by_kind, scale=100),
        ]
    return Measured(effects, tuple(panels))


CORRUPTION = Claim(
    name="heinonen.corruption",
    paper=PAPER,
    statement="A network that is trained on noised and blurred pictures, with labels smoothed by "
    "as much, makes fewer mistakes on corrupted pictures.",
    figures=(Quoted(setting=WHERE, measure="error, in words: improved robustness"),),
    arms=_arms(BOTH, ("by noise", "mollify-noise"), ("by blur", "mollify-blur")),
    tests=tuple(
        points(scene, f"error on corrupted {scene}, mollification − hard labels", Rule.less())
        for scene in SCENES
    ),
    measure=_corruption,
)


def _uncertainty(results: Results) -> Measured:
    effects, panels = {}, []
    for scene in SCENES:
        found = damaged(_of(results, scene))
        losses = {name: damage.loss for name, damage in found.items()}
        errors = {name: damage.calibration_error for name, damage in found.items()}
        effects[f"NLL, {scene}"] = losses["mollify"] - losses["hard"]
        effects[f"ECE, {scene}"] = errors["mollify"] - errors["hard"]
        panels += [
            levels(f"NLL on corrupted {scene}", losses),
            levels(f"debiased ECE on corrupted {scene}, %", errors, scale=100),
        ]
    return Measured(effects, tuple(panels))


UNCERTAINTY = Claim(
    name="heinonen.uncertainty",
    paper=PAPER,
    statement="A network that is trained on noised and blurred pictures, with labels smoothed by "
    "as much, has better probabilities on corrupted pictures: lower NLL and lower calibration "
    "error.",
    figures=(
        Quoted(setting=WHERE, measure="NLL and ECE, in words: improved uncertainty quantification"),
    ),
    arms=_arms(BOTH, by="nll"),
    tests=(
        *(
            Test(
                name=f"NLL, {scene}",
                says=f"NLL on corrupted {scene}, mollification − hard labels",
                rule=Rule.less(),
            )
            for scene in SCENES
        ),
        *(
            points(
                f"ECE, {scene}",
                f"ECE on corrupted {scene}, mollification − hard labels",
                Rule.less(),
            )
            for scene in SCENES
        ),
    ),
    measure=_uncertainty,
)


def _clean(results: Results) -> Measured:
    found = {name: accuracy(results.runs(name)) for name in results.arms}
    return Measured(
        {scene: found[f"mollify, {scene}"] - found[f"hard, {scene}"] for scene in SCENES},
        (levels("accuracy on test pictures as they are, %", found, scale=100),),
    )


CLEAN = Claim(
    name="heinonen.clean",
    paper=PAPER,
    statement="Training on noised and blurred pictures, with labels smoothed by as much, costs no "
    "accuracy on pictures as they are.",
    figures=(
        Quoted(
            setting="CIFAR-10, CIFAR-100, TinyImageNet",
            measure="error, in words",
            origin="secondary source",
        ),
    ),
    arms=_arms(BOTH),
    tests=tuple(
        points(
            scene,
            f"accuracy on {scene}, mollification − hard labels, not lower by one point",
            Rule.greater(-0.01),
        )
        for scene in SCENES
    ),
    measure=_clean,
)

CLAIMS = (CORRUPTION, UNCERTAINTY, CLEAN)

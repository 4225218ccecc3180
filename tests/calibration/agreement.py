"""What other packages make of the same predictions, stored in `agreement.json`.

    SOFTTARGETS_DATA=... PYTHONPATH=src:. python -m tests.calibration.agreement

writes the file, in an environment that also holds torchmetrics, netcal, uncertainty-calibration,
relplot, scikit-learn and, without its dependencies, torch-uncertainty.
"""

import importlib.util
import json
import os
import random
import warnings
from importlib.metadata import distribution, version
from pathlib import Path

import numpy as np
import torch

STORED = Path(__file__).with_name("agreement.json")
NETWORKS = {
    "c10_lenet5": "y_c10",
    "c10_wrn16_4": "y_c10",
    "c100_densenet_bc100": "y_c100",
    "c100_wrn16_4": "y_c100",
}
SYNTHETIC = ("synthetic", "synthetic certain")
BINS = 15


def synthetic(name):
    """607 predictions of 5 classes, somewhat too sure; "certain": every fourth row has one 1."""
    numbers = random.Random(0)
    probs, labels = [], []
    for i in range(607):
        logits = np.array([10 * numbers.random() - 5 for _ in range(5)])
        row = np.exp(logits) / np.exp(logits).sum()
        flat = np.exp(logits / 1.3) / np.exp(logits / 1.3).sum()
        labels.append(int((flat.cumsum() < numbers.random()).sum()))
        if name == "synthetic certain" and i % 4 == 0:
            row = np.eye(5)[row.argmax()]
        probs.append(row)
    return np.array(probs), np.array(labels).clip(max=4)


def network(folder, name):
    """Stored predictions of a network on a CIFAR test set, in float64."""
    with np.load(folder / "calibration" / "netcal_cifar_probs.npz") as arrays:
        return arrays[f"{name}_probs"].astype("float64"), arrays[NETWORKS[name]].astype("int64")


def top_label(probs, labels):
    return probs.max(1), (probs.argmax(1) == labels).astype("float64")


def event(probs, labels):
    """The binary question "is it class 0?"."""
    return probs[:, 0], (labels == 0).astype("int64")


def of_torchmetrics(probs, labels):
    from torchmetrics.functional.classification import (
        binary_calibration_error,
        multiclass_calibration_error,
    )

    tensors = torch.from_numpy(probs), torch.from_numpy(labels)
    values = {
        name: float(multiclass_calibration_error(*tensors, probs.shape[1], n_bins=BINS, norm=norm))
        for name, norm in (("ECE", "l1"), ("RMSCE", "l2"), ("MCE", "max"))
    }
    pair = map(torch.from_numpy, event(probs, labels))
    return {**values, "binary ECE": float(binary_calibration_error(*pair, n_bins=BINS))}


def of_netcal(probs, labels):
    from netcal.metrics import ECE, MCE

    values = {
        "ECE": ECE(BINS).measure(probs, labels),
        "MCE": MCE(BINS).measure(probs, labels),
        "binary ECE": ECE(BINS).measure(*event(probs, labels)),
    }
    try:
        values["ECE, equal mass"] = ECE(BINS, equal_intervals=False).measure(probs, labels)
    except ValueError:  # equal confidences make two of its edges one
        values["ECE, equal mass"] = None
    return values


def of_uncertainty_calibration(probs, labels):
    import calibration as package

    def error(p, mode, debias=False, data=(probs, labels)):
        return package.lower_bound_scaling_ce(
            *data, p=p, debias=debias, num_bins=BINS, mode=mode,
            binning_scheme=package.get_equal_prob_bins,
        )  # fmt: skip

    return {
        "ECE": package.get_ece(probs, labels, num_bins=BINS),
        "ECE, equal mass": package.get_ece_em(probs, labels, num_bins=BINS),
        "RMSCE": error(2, "top-label"),
        "RMSCE, debiased": error(2, "top-label", debias=True),
        "class-wise ECE": error(1, "marginal"),
        "class-wise RMSCE": error(2, "marginal"),
        "class-wise RMSCE, debiased": error(2, "marginal", debias=True),
        "binary ECE": error(1, "marginal", data=event(probs, labels)),
    }


def of_relplot(probs, labels):
    import relplot

    scores, outcomes = top_label(probs, labels)
    inner = scores < 0.998
    return {
        "ECE": relplot.metrics.binnedECE(scores, outcomes, BINS),
        "smECE below 0.998": relplot.smECE(scores[inner], outcomes[inner]),
        "smECE": relplot.smECE(scores, outcomes),
    }


def of_scikit_learn(probs, labels):
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import brier_score_loss, log_loss

    scores, outcomes = top_label(probs, labels)
    accuracy, confidence = calibration_curve(outcomes, scores, n_bins=BINS)
    score, happened = event(probs, labels)
    return {
        "Brier score": brier_score_loss(labels, probs, scale_by_half=False),
        "NLL": log_loss(labels, probs),
        "binary Brier score": brier_score_loss(happened, score),
        "binary NLL": log_loss(happened, score),
        "accuracy of bins": accuracy.tolist(),
        "confidence of bins": confidence.tolist(),
    }


def of_torch_uncertainty(probs, labels):
    # One file of it: the package as a whole wants lightning.
    folder = distribution("torch-uncertainty").locate_file("torch_uncertainty")
    path = Path(str(folder)) / "metrics" / "classification" / "risk_coverage.py"
    spec = importlib.util.spec_from_file_location("risk_coverage", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    values = {}
    for name, metric in (("AURC", module.AURC()), ("risk at 0.8", module.RiskAt80Cov())):
        metric.update(torch.from_numpy(probs), torch.from_numpy(labels))
        values[name] = float(metric.compute())
    return values


PEERS = {
    "torchmetrics": of_torchmetrics,
    "netcal": of_netcal,
    "uncertainty-calibration": of_uncertainty_calibration,
    "relplot": of_relplot,
    "scikit-learn": of_scikit_learn,
    "torch-uncertainty": of_torch_uncertainty,
}


def plain(value):
    return value if value is None or isinstance(value, list) else float(value)


def main():
    data = {name: synthetic(name) for name in SYNTHETIC}
    folder = Path(os.environ["SOFTTARGETS_DATA"])
    data |= {name: network(folder, name) for name in NETWORKS}
    values = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, predictions in data.items():
            values[name] = {
                peer: {metric: plain(value) for metric, value in ask(*predictions).items()}
                for peer, ask in PEERS.items()
            }
    versions = {name: version(name) for name in ("torch", "numpy", *PEERS)}
    STORED.write_text(json.dumps({"versions": versions, "values": values}, indent=1) + "\n")


if __name__ == "__main__":
    main()

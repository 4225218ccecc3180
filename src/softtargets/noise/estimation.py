"""Estimating which labels are mistaken for which, from a model that was trained on them."""

import torch
from torch import Tensor

from softtargets import checks
from softtargets.noise.estimators import estimator, everyone, warn_of_few
from softtargets.noise.transition_checks import Method, check_evidence


def estimate_transition(
    probs: Tensor,
    labels: Tensor | None = None,
    method: Method = "anchor",
    *,
    quantile: float | None = None,
    shrinkage: float = 0.0,
    ignore_index: int = -100,
) -> Tensor:
    r"""Estimate T[i, j] = P(noisy label = j | clean label = i) without any clean label.

        anchor      T[i] = p(x^i),   x^i = argmax_x p(noisy = i | x), or the sample at a quantile
        confident   C[j, i] = |{x labelled j: i is the one class with p_i(x) >= t_i, or of several
                            argmax_k p_k(x)}|    t_i = mean of p_i over the samples labelled i
                    Q[j, i] = n_j C[j, i] / sum_i C[j, i],   T[i, j] = Q[j, i] / sum_j Q[j, i]
        dual        T = A B,   A[i] = p(x^i),   B[l, j] = share of label j among argmax p(x) = l
        all         T <- (1 - shrinkage) T + shrinkage I

    What each of them needs of the probabilities:

    - `"anchor"`: calibrated for the noisy labels, and samples of every class about whose clean
      class there is no doubt. The largest of N probabilities is too large by selection, so a
      `quantile` such as 0.97 does better; 1 - quantile must stay well below the share of the
      rarest class, 0.3 / K for even classes.
    - `"confident"`: the right order of the classes. The nearest of the three in every case of
      `docs/noise-estimation.md`.
    - `"dual"`: nearly one-hot at the anchors. Calibrated probabilities of noisy labels give both
      factors the whole noise, and their product has it twice.

    Args:
        probs: `(N, K)` floating point, out-of-fold probabilities for the *noisy* label:
            see `out_of_fold_probs`. Rows are distributions.
        labels: `(N,)` noisy labels in 0 .. K-1, every class present; needed by `"confident"` and
            `"dual"`. The anchors use them only to leave out ignored samples.
        method: `"anchor"`, `"confident"` or `"dual"`.
        quantile: in [0, 1], which sample by p(noisy = i | x) is the anchor; None: the largest.
        shrinkage: in [0, 1], how far to go towards no noise.
        ignore_index: samples with this label do not count.

    Returns:
        `(K, K)` float64 on the device of `probs`, rows sum to 1.

    Raises:
        TypeError: a wrong dtype.
        ValueError: no distributions, labels out of range, a class without labels or without
            support for its row, a class with too few labels for the quantile, fewer samples than
            classes, or an option out of range.

    Warns:
        UserWarning: anchors that the model takes for another class, whose rows are that class's;
            `bootstrap_transition` counts how many samples support each row.

    Example:
        >>> import torch, softtargets as st
        >>> clean = torch.arange(3).repeat(200)
        >>> noisy = st.noise.symmetric(clean, 0.3, 3, generator=torch.Generator().manual_seed(0))
        >>> probs = 0.9 * torch.eye(3)[clean] + 0.1 / 3
        >>> estimate = st.noise.estimate_transition(probs, noisy.labels, method="confident")
        >>> torch.allclose(estimate, noisy.transition)
        True

    References:
        Patrini et al., "Making Deep Neural Networks Robust to Label Noise: a Loss Correction
        Approach", CVPR 2017 (anchor).
        Northcutt et al., "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR
        2021 (confident).
        Yao et al., "Dual T: Reducing Estimation Error for Transition Matrix in Label-noise
        Learning", NeurIPS 2020 (dual).
    """
    shrinkage = checks.check_fraction(shrinkage, "shrinkage")
    evidence = check_evidence(probs, labels, method, quantile, ignore_index)
    rows = estimator(evidence)
    estimate = rows.of(everyone(evidence.probs))[0]
    warn_of_few(rows.support(), 1)
    identity = torch.eye(len(estimate), dtype=estimate.dtype, device=estimate.device)
    return torch.lerp(estimate, identity, shrinkage)

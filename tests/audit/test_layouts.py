"""Sequences, label maps and clusters: values, whole units in intervals, and what is refused."""

import numpy as np
import pytest
import torch

from softtargets.audit import class_scatter, layouts, predictions
from softtargets.audit.against import compare
from softtargets.audit.errors import AuditError
from softtargets.audit.files import open_predictions
from softtargets.audit.intervals import mean_estimate
from softtargets.audit.layouts import Layout
from softtargets.audit.measure import measure
from softtargets.audit.naming import Keys
from softtargets.audit.run import audit, read
from softtargets.audit.units import effective_counts, unit_covariance, unit_values
from softtargets.calibration import TemperatureScaling, evaluate
from tests.audit.conftest import write_csv, write_safetensors

NAMES = {
    "accuracy": "accuracy",
    "negative_log_likelihood": "negative_log_likelihood",
    "brier_score": "brier_score",
    "expected_calibration_error": "expected_calibration_error_debiased",
    "expected_calibration_error_plain": "expected_calibration_error",
    "overconfidence_error": "overconfidence_error",
    "underconfidence_error": "underconfidence_error",
    "smooth_calibration_error": "smooth_calibration_error",
    "classwise_calibration_error": "classwise_calibration_error_debiased",
    "area_under_risk_coverage": "area_under_risk_coverage",
    "excess_area": "excess_area_under_risk_coverage",
}


def sequences(entries=60, tokens=24, classes=5, *, ignored=-100, seed=0):
    """Logits (S, T, K) and labels (S, T): some sequences far too sure, some labels missing."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(entries, tokens, classes, generator=generator)
    drawn = torch.multinomial(logits.softmax(-1).flatten(0, 1), 1, generator=generator)
    labels = drawn.view(entries, tokens)
    hard = torch.rand(entries, generator=generator) < 0.3
    wrong = torch.randint(classes, labels.shape, generator=generator)
    labels = torch.where(hard.unsqueeze(1), wrong, labels)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = ignored
    labels[3] = ignored  # a sequence without any
    return (1.3 * logits).numpy(), labels.numpy()


def saved(path, logits, labels, **more):
    np.savez(path, logits=logits, labels=labels, **more)
    return path


def audited(path, **said):
    keys = {name: said.pop(name) for name in ("group", "cluster") if name in said}
    return audit(read(open_predictions(path, Keys(**keys), Layout(**said))))


def close(found, report):
    for name, other in NAMES.items():
        value, expected = getattr(found.measures, name), getattr(report, other)
        assert value.value == pytest.approx(expected.value, rel=1e-9, abs=1e-12), name
        width = max(expected.high - expected.low, 1e-3)
        assert value.low == pytest.approx(expected.low, abs=0.15 * width), name
        assert value.high == pytest.approx(expected.high, abs=0.15 * width), name


def sequence_file(folder, logits, labels, ignored=-100):
    path = saved(folder / "s.npz", logits, labels)
    return open_predictions(path, Keys(), Layout(ignore_index=ignored))


def same_tally(one, other, order=None):
    """The same predictions in the same units; `order`: those of `one` are shuffled."""
    one, other, order = one.tally, other.tally, slice(None) if order is None else order
    for name in ("confidence", "negative_log_likelihood", "brier_score"):
        expected = getattr(other, name)[order]
        torch.testing.assert_close(getattr(one, name), expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(one.right, other.right[order])
    pairs = torch.stack([one.units, other.units[order]]).unique(dim=1)
    assert pairs.shape[1] == len(pairs[0].unique()) == len(pairs[1].unique())
    covariances = (each.class_scatter.covariance() for each in (one, other))
    torch.testing.assert_close(*covariances, rtol=1e-4, atol=1e-12)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(predictions, "BLOCK_ELEMENTS", 700)


def test_sequences_are_measured_as_evaluate_does(tmp_path):
    logits, labels = sequences()
    found = audited(saved(tmp_path / "a.npz", logits, labels))
    report = evaluate(torch.from_numpy(logits), torch.from_numpy(labels), class_dim=-1)
    close(found, report)
    there = labels != -100
    assert (found.num_samples, found.unit) == (there.sum(), "position")
    sampling = found.sampling
    assert (sampling.unit, sampling.num_units, sampling.ignored) == ("sequence", 59, (~there).sum())
    rows = torch.from_numpy(logits[there]), torch.from_numpy(labels[there])
    assert found.scaling.temperature == TemperatureScaling().fit(*rows).temperature
    # Tokens taken for independent would give intervals of half the width.
    flat = audited(saved(tmp_path / "b.npz", logits[there], labels[there]))
    for name in ("accuracy", "negative_log_likelihood", "gap", "area_under_risk_coverage"):
        whole, alone = getattr(found.measures, name), getattr(flat.measures, name)
        assert whole.value == pytest.approx(alone.value, rel=1e-12)
        assert whole.high - whole.low > 1.4 * (alone.high - alone.low)


@pytest.mark.parametrize("save", ["npz", "npy", "safetensors", "by columns"])
@pytest.mark.parametrize("kind", ["logits", "probs"])
def test_maps_are_measured_as_their_flattened_sequences(save, kind, tmp_path):
    logits, labels = sequences(40, 24, 4, ignored=11)
    scores = torch.from_numpy(logits).double().softmax(-1).numpy() if kind == "probs" else logits
    maps, masks = np.moveaxis(scores.reshape(40, 4, 6, 4), -1, 1), labels.reshape(40, 4, 6)
    arrays = {kind: np.ascontiguousarray(maps), "labels": masks.astype(np.uint8)}
    keys, path = Keys(), tmp_path / f"a.{save}"
    if save == "npy":
        np.save(tmp_path / "y.npy", masks)
        np.save(path, arrays[kind])
        keys = Keys(labels=str(tmp_path / "y.npy"), **{kind: "a"})
    elif save == "safetensors":
        write_safetensors(path, arrays)
    else:
        path = path.with_suffix(".npz")
        stored = {name: np.asfortranarray(array) for name, array in arrays.items()}
        np.savez(path, **(stored if save == "by columns" else arrays))
    opened = open_predictions(path, keys, Layout(ignore_index=11))
    assert (opened.units.name, opened.positions.per_entry) == ("image", 24)
    assert opened.positions.ignored == (labels == 11).sum()
    same_tally(read(opened), read(sequence_file(tmp_path, logits, labels, ignored=11)))


def test_maps_are_measured_as_evaluate_does(tmp_path):
    logits, labels = sequences(50, 24, 4)
    maps = np.moveaxis(logits.reshape(50, 4, 6, 4), -1, 1).copy()
    masks = labels.reshape(50, 4, 6)
    report = evaluate(torch.from_numpy(maps), torch.from_numpy(masks))
    close(audited(saved(tmp_path / "a.npz", maps, masks)), report)


def test_many_classes_have_intervals_of_units_drawn_as_they_pass(tmp_path, monkeypatch):
    logits, labels = sequences(50, 24, 40)
    report = evaluate(torch.from_numpy(logits), torch.from_numpy(labels), class_dim=-1)
    found = audited(saved(tmp_path / "a.npz", logits, labels))
    value = found.measures.classwise_calibration_error
    expected = report.classwise_calibration_error_debiased
    assert value.value == pytest.approx(expected.value, rel=1e-9)
    assert (value.low, value.high) == pytest.approx((expected.low, expected.high), rel=0.1)
    # Each of the halves that a temperature is judged on has weights of its own.
    before = found.scaling.before.classwise_calibration_error
    assert (before.low, before.high) == pytest.approx((value.low, value.high), rel=0.1)
    monkeypatch.setattr(class_scatter, "_MOST_NUMBERS", 10)
    none = measure(read(open_predictions(tmp_path / "a.npz", Keys())).tally)
    assert none.classwise_calibration_error.value == value.value
    assert np.isnan(none.classwise_calibration_error.low)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("form", ["npz", "csv", "parquet"])
def test_clusters_of_rows_are_sequences(form, shuffled, tmp_path):
    logits, labels = sequences(40, 12, 4)
    there = labels != -100
    names = np.nonzero(there)[0]
    order = np.random.default_rng(0).permutation(len(names)) if shuffled else np.arange(len(names))
    rows, classes, names = logits[there][order], labels[there][order], names[order]
    path = tmp_path / f"a.{form}"
    if form == "npz":
        saved(path, rows, classes, seq=names)
    elif form == "csv":
        write_csv(path, rows, classes)
        head, *lines = path.read_text().splitlines()
        told = [f"{line},s{name}" for line, name in zip(lines, names, strict=True)]
        path.write_text("\n".join([f"{head},seq", *told]) + "\n")
    else:
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        columns = {"logits": list(rows), "label": classes, "seq": names}
        parquet.write_table(pa.table(columns), path)
    opened = open_predictions(path, Keys(cluster="seq"))
    assert (opened.units.name, opened.units.column, len(opened.units)) == ("cluster", "seq", 39)
    found, expected = read(opened), read(sequence_file(tmp_path, logits, labels))
    same_tally(found, expected, torch.from_numpy(order))
    if form == "npz":
        measured, whole = measure(found.tally), measure(expected.tally)
        for name in NAMES:
            one, other = getattr(measured, name), getattr(whole, name)
            assert (one.value, one.low, one.high) == pytest.approx(
                (other.value, other.low, other.high), rel=1e-6, abs=1e-8
            )


def test_a_sequence_is_on_one_side_when_temperatures_are_fitted(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.npz", *sequences(30, 10, 3))
    fitted = []

    def fit(self, logits, labels):
        fitted.append(logits)
        return original(self, logits, labels)

    original = TemperatureScaling.fit
    monkeypatch.setattr(TemperatureScaling, "fit", fit)
    reading = read(open_predictions(path, Keys()))
    audit(reading)
    owner = {
        tuple(row.tolist()): int(u)
        for row, u in zip(
            reading.sample.scores, reading.tally.units[reading.sample.rows], strict=True
        )
    }
    sides = [{owner[tuple(row.tolist())] for row in side} for side in fitted[:2]]
    assert len(sides[0]) + len(sides[1]) == 29
    assert not sides[0] & sides[1]


@pytest.mark.parametrize("second", [False, True])
def test_positions_are_drawn_in_each_entry(second, tmp_path, monkeypatch):
    logits, labels = sequences(40, 50, 3)
    scores = np.moveaxis(logits, -1, 1).copy() if second else logits
    path = saved(tmp_path / "a.npz", scores, labels)
    opened = open_predictions(path, Keys(), Layout(positions=20))
    flat = opened.positions.flat
    assert bool((flat.diff() > 0).all())
    there = torch.from_numpy(labels.flatten())[flat]
    rows, read_labels = (torch.cat(parts) for parts in zip(*opened.read(), strict=True))
    assert torch.equal(rows, torch.from_numpy(logits).flatten(0, 1)[flat])
    assert torch.equal(read_labels.long(), there)
    assert opened.positions.ignored == 40 * 20 - len(flat)
    assert int(torch.bincount(flat // 50).max()) <= 20
    monkeypatch.setattr(layouts, "MOST_POSITIONS", 410)
    found = audited(path)
    assert (found.sampling.drawn, found.sampling.per_unit) == (10, 50)
    assert found.num_samples + found.sampling.ignored == 400


def test_two_models_are_compared_by_sequence(tmp_path):
    logits, labels = sequences()
    one = saved(tmp_path / "a.npz", logits, labels)
    other = saved(tmp_path / "b.npz", 0.6 * logits, labels)
    found = compare(*(read(open_predictions(path, Keys())) for path in (one, other)))
    there = torch.from_numpy(labels != -100)
    losses = [
        torch.nn.functional.cross_entropy(
            scale * torch.from_numpy(logits)[there].double(),
            torch.from_numpy(labels)[there],
            reduction="none",
        )
        for scale in (1.0, 0.6)
    ]
    owner = there.nonzero()[:, 0].unique(return_inverse=True)[1]
    difference = losses[1] - losses[0]
    generator = np.random.default_rng(0)
    sums = torch.bincount(owner, difference).numpy(), torch.bincount(owner).numpy()
    picks = generator.integers(59, size=(4000, 59))
    draws = sums[0][picks].sum(1) / sums[1][picks].sum(1)
    ends = found.differences.negative_log_likelihood
    assert ends.value == pytest.approx(float(difference.mean()), rel=1e-6)
    assert (ends.high - ends.low) / 2 == pytest.approx(1.96 * draws.std(), rel=0.1)
    moved = labels.copy()
    moved[0, :2] = [-100, 1] if labels[0, 0] != -100 else [1, 1]
    for scores, changed, message in [
        (logits, moved, "labels in other positions"),
        (logits[:50], labels[:50], "labels of shape"),
    ]:
        third = read(open_predictions(saved(tmp_path / "c.npz", scores, changed), Keys()))
        with pytest.raises(AuditError, match=message):
            compare(read(open_predictions(one, Keys())), third)


def test_clustered_models_are_compared_row_by_row(tmp_path):
    logits, labels = sequences(30, 6, 4)
    logits, labels = logits[:, 0], labels[:, 0]
    there = np.flatnonzero(labels >= 0)
    names = np.arange(30) // 3
    other = np.where(np.arange(30) == there[5], 29, names)
    said = Keys(cluster="g"), Layout()
    one = read(open_predictions(saved(tmp_path / "a.npz", logits, labels, g=names), *said))
    for count, column, message in [
        (20, names, r"labels of shape \(20,\)"),
        (30, other, rf"a\.npz: g put row {there[5]} into different clusters"),
    ]:
        path = saved(tmp_path / "b.npz", 2 * logits[:count], labels[:count], g=column[:count])
        with pytest.raises(AuditError, match=message):
            compare(one, read(open_predictions(path, *said)))
    whole, shorter = (
        read(open_predictions(saved(path, logits[:n], labels[:n].clip(0), g=names[:n]), said[0]))
        for path, n in ((tmp_path / "c.npz", 30), (tmp_path / "d.npz", 20))
    )
    with pytest.raises(AuditError, match=r"d\.npz: logits has 20 rows, .* has 30"):
        compare(whole, shorter)


def test_means_of_units_have_the_scatter_of_drawn_units():
    generator = np.random.default_rng(0)
    units = np.sort(generator.integers(80, size=900))
    values = generator.standard_normal(80)[units] + generator.standard_normal(900)
    units = np.unique(units, return_inverse=True)[1]
    found = unit_values(torch.from_numpy(values), torch.from_numpy(units))
    count = units.max() + 1
    picks = generator.integers(count, size=(5000, count))
    sums, sizes = np.bincount(units, values), np.bincount(units)
    draws = sums[picks].sum(1) / sizes[picks].sum(1)
    assert float(found.mean()) == pytest.approx(values.mean())
    assert float(found.std()) / count**0.5 == pytest.approx(draws.std(), rel=0.05)
    cells = torch.from_numpy(generator.integers(3, size=900))
    order = torch.from_numpy(generator.permutation(900))
    whole = torch.from_numpy(units), torch.from_numpy(values)
    covariance = unit_covariance(whole[0], [(cells, whole[1])], 3)
    mixed = unit_covariance(whole[0][order], [(cells[order], whole[1][order])], 3)
    torch.testing.assert_close(covariance, mixed)
    total = unit_covariance(whole[0], [(cells * 0, whole[1])], 1)
    assert float(total) == pytest.approx(float(covariance.sum()))
    assert float(total) ** 0.5 == pytest.approx(float(found.std()) / count**0.5)
    alone = mean_estimate(whole[1], torch.arange(900))
    assert alone.high == pytest.approx(mean_estimate(whole[1]).high)


def test_outcomes_of_one_unit_count_as_one_and_independent_ones_as_they_are():
    right = (torch.rand(4000, generator=torch.Generator().manual_seed(0)) < 0.7).double()
    cells = torch.zeros(4000).long()
    alone = effective_counts(torch.arange(4000), cells, right, right, 1)
    assert float(alone) == pytest.approx(4000, rel=1e-3)
    repeated = effective_counts(
        torch.arange(4000) // 10, cells, *[right[::10].repeat_interleave(10)] * 2, 1
    )
    assert float(repeated) == pytest.approx(400, rel=0.01)
    one = effective_counts(torch.zeros(4000).long(), cells, right, right, 1)
    assert float(one) == 1
    sure = effective_counts(torch.arange(4000) // 10, cells, right, torch.ones(4000).double(), 1)
    assert float(sure) == 400


def test_what_does_not_fit_is_refused(tmp_path):
    logits, labels = sequences(12, 5, 5)
    void = np.where(labels < 0, 11, labels)
    broken = logits.copy()
    there = np.argwhere(labels >= 0)[7]
    broken[tuple(there)] = np.nan
    place = tuple(map(int, there))
    first = tuple(map(int, np.argwhere(void == 11)[0]))
    cases = [
        ((logits, labels), {}, r"last or second; say --class-dim -1 or --class-dim 1"),
        ((logits[:, :4, :4], labels), {}, r"shape \(12, 4\) \(classes last\) or \(12, 4\) "),
        ((logits, labels), {"class_dim": 1, "group": "g"}, r"--group g is for rows"),
        ((logits, labels), {"class_dim": -1, "cluster": "g"}, r"whole entries are drawn anyway"),
        ((logits, void), {"class_dim": -1}, rf"got 11 in position \({first[0]}, {first[1]}\); if"),
        ((logits, void), {"class_dim": -1}, r"no label, say --ignore-index 11"),
        ((logits, labels + 0.5), {"class_dim": -1}, r"whole numbers .*got.*; save the number of a"),
        (
            (broken, labels),
            {"class_dim": -1},
            rf"NaN, got one in position \({place[0]}, {place[1]}",
        ),
        ((logits, labels * 0 - 100), {"class_dim": -1}, "has no label: all 60 are -100"),
        ((logits[:1], labels[:1]), {"class_dim": -1}, "in one sequence alone"),
        ((logits[:0], labels[:0]), {"class_dim": -1}, "holds no rows"),
        ((logits[:, 0], labels[:, 0]), {"positions": 3}, "all are measured; leave --positions out"),
        ((logits[:, 0], labels[:, 0]), {"group": "g", "ignore_index": -100}, "--group g is for"),
        ((logits[:, 0], labels[:, 0]), {"cluster": "one", "ignore_index": -100}, "one cluster"),
    ]
    for arrays, said, message in cases:
        more = {"g": np.arange(len(arrays[0])), "one": np.zeros(len(arrays[0]), int)}
        path = saved(tmp_path / "a.npz", *arrays, **more)
        with pytest.raises(AuditError, match=message):
            audited(path, **said)
    write_csv(tmp_path / "a.csv", logits[:, 0], void[:, 0])
    for said in ({"class_dim": 1}, {"ignore_index": 3}, {"positions": 3}):
        with pytest.raises(AuditError, match=r"is a table, which --\w+"):
            audited(tmp_path / "a.csv", **said)
    with pytest.raises(AuditError, match=r"must be a number of 64 bits, got 9223372036854775808"):
        Layout(ignore_index=2**63)
    with pytest.raises(AuditError, match="at least 1, got 0"):
        Layout(positions=0)
    with pytest.raises(AuditError, match="cannot both be meant"):
        Keys(group="a", cluster="b")


def test_an_image_too_large_to_be_read_at_once_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "LARGEST_WHOLE", 100)
    logits, labels = sequences(6, 10, 3)
    path = saved(tmp_path / "a.npz", np.moveaxis(logits, -1, 1).copy(), labels)
    with pytest.raises(AuditError, match="save the classes last"):
        audited(path)

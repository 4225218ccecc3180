"""Rows labelled -100, as torch's losses ignore them."""

import numpy as np
import pytest

from softtargets.audit.against import compare
from softtargets.audit.errors import AuditError
from softtargets.audit.files import open_predictions
from softtargets.audit.naming import Keys
from softtargets.audit.run import read
from tests.audit.conftest import draw, write_csv
from tests.audit.test_layouts import NAMES, audited, saved, sequences


def drawn(ignored=-100, rows=60):
    logits, labels = draw(rows)
    return logits, np.where(np.arange(rows) % 5 == 2, ignored, labels)


def test_rows_without_a_label_are_left_out_and_counted(tmp_path):
    logits, labels = (array.reshape(-1, *array.shape[2:]) for array in sequences())
    names = np.repeat(np.arange(60), 24)
    path = saved(tmp_path / "a.npz", logits, labels, seq=names)
    there = labels != -100
    found = audited(path)
    assert (found.num_samples, found.unit, found.row) == (there.sum(), "sample", "row")
    assert found.sampling.ignored == (~there).sum()
    expected = audited(saved(tmp_path / "b.npz", logits[there], labels[there]))
    for name in NAMES:
        one, other = getattr(found.measures, name), getattr(expected.measures, name)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-9)
    assert audited(path, ignore_index=-100).measures == found.measures
    clustered = audited(path, cluster="seq")
    whole = audited(saved(tmp_path / "c.npz", *sequences()))
    assert clustered.sampling.num_units == 59
    assert clustered.measures.gap.high == pytest.approx(whole.measures.gap.high)


def test_what_else_is_no_class_is_refused_with_the_way_out(tmp_path):
    names = np.arange(60) // 2
    logits, labels = drawn()
    cases = [
        (labels, {"group": "g"}, "got -100 in row 2; drop rows without a label"),
        (drawn(-1)[1], {}, "got -1 in row 2; if -1 marks what has no label, say --ignore-index -1"),
        (labels, {"ignore_index": -1}, "got -100 in row 2; if -100 marks what has no label, say"),
        (labels * 0 - 100, {}, "has no label: all 60 are -100"),
    ]
    for given, said, message in cases:
        path = saved(tmp_path / "a.npz", logits, given, g=names)
        with pytest.raises(AuditError, match=message):
            audited(path, **said)
    write_csv(tmp_path / "a.csv", logits, labels)
    with pytest.raises(AuditError, match="got -100 in row 2; drop rows without a label"):
        audited(tmp_path / "a.csv")


def test_models_are_compared_where_both_have_the_same_labels(tmp_path):
    logits, labels = drawn()
    with_all = draw(60)[1]
    some, every = (
        read(open_predictions(saved(tmp_path / name, logits, each), Keys()))
        for name, each in (("some.npz", labels), ("every.npz", with_all))
    )
    assert compare(some, some).differences.accuracy.value == 0
    message = r"{}\.npz: logits has labels in other rows than .*{}\.npz: logits; a comparison needs"
    with pytest.raises(AuditError, match=message.format("every", "some")):
        compare(some, every)
    with pytest.raises(AuditError, match=message.format("some", "every")):
        compare(every, some)

"""A column that says which rows belong together: to be averaged, or to be drawn together."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

import torch

from softtargets.audit.errors import AuditError
from softtargets.audit.groups import group_rows
from softtargets.audit.naming import Keys
from softtargets.audit.predictions import Predictions
from softtargets.audit.tally import BINS
from softtargets.audit.units import Units


def arranged(
    predictions: Predictions,
    keys: Keys,
    where: str,
    column: str,
    names: Iterable[Sequence[Hashable]],
) -> Predictions:
    """Return predictions that know which rows belong together.

    Args:
        predictions: of rows.
        keys: the column is that of `group` or of `cluster`.
        where: file and column, for messages.
        column: its name.
        names: the column's blocks.

    Raises:
        AuditError: a row names nothing, all rows name the same, or sums would not fit in memory.
    """
    num_classes = predictions.num_classes
    if keys.group is not None:
        grouping = group_rows(where, column, names, num_classes)
        return replace(predictions, grouping=grouping)
    index = group_rows(where, column, names, num_classes * BINS).index
    positions = predictions.positions
    if positions is not None:
        index = torch.unique(index[positions.flat], return_inverse=True)[1]
    if int(index.max()) == 0:
        raise AuditError(
            f"{where} puts all rows into one cluster; intervals are for drawing whole clusters, so "
            "name a column with several"
        )
    units = Units(name="cluster", index=index, where=where, column=column)
    return replace(predictions, units=units)

"""The network of a run."""

from torch import nn

from softtargets.lab.data import DataSet
from softtargets.lab.models import build
from softtargets.lab.spec import RunSpec, given


def network(spec: RunSpec, data: DataSet) -> nn.Module:
    """Return the network of a run with its initial weights.

    Args:
        spec: of the run.
        data: its data set.

    Raises:
        LabError: there is none of that name, or it does not suit the data.
    """
    name = given(spec.model, "mlp")
    return build(name, data.shape, data.num_classes, spec.seed, spec.hidden, data.num_words)

"""A run as a frozen value; its hash names its folder."""

import hashlib

import msgspec

Parameters = dict[str, float]


class RunSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that decides the numbers of a run.

    Attributes:
        data: name or path of the data set, as given.
        data_hash: hash of its contents and split.
        method: a name in `softtargets.lab.methods.METHODS`.
        parameters: the method's settings.
        seed: initial weights, data order and label noise.
        noise: rate at which training labels are flipped to another class.
        epochs: passes over the training data.
        teacher: run_id of the teacher, for methods that have one.
        hidden: widths of the hidden layers.
        batch_size: samples per step; the last batch of an epoch may be smaller.
        learning_rate: of SGD, at the start; it falls to 0 along a cosine.
        momentum: Nesterov momentum.
        weight_decay: L2 penalty.
        noise_kind: how labels are flipped, unless evenly to all other classes.
        noise_map: for asymmetric noise, which class to which.
        noisy_labels: hash of training labels given in a file.

    A field that is not set is not encoded, so that adding one changes no earlier run.
    """

    data: str
    data_hash: str
    method: str
    parameters: Parameters
    seed: int
    noise: float
    epochs: int
    teacher: str | None = None
    hidden: tuple[int, ...] = (128, 128)
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    noise_kind: str | msgspec.UnsetType = msgspec.UNSET
    noise_map: tuple[tuple[int, int], ...] | msgspec.UnsetType = msgspec.UNSET
    noisy_labels: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def run_id(self) -> str:
        """A readable name with a hash of every field; the place of the data plays no part."""
        fields = msgspec.structs.replace(self, data="")
        digest = hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()
        return f"{self.method}-seed{self.seed}-{digest[:12]}"

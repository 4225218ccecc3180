"""The same translation model in transformers: one function, two libraries to decode it with."""

from typing import Any

import torch
from torch import Tensor, nn

from softtargets.lab.translation.beam import LengthPenalty
from softtargets.lab.translation.model import Transformer, sinusoids
from softtargets.lab.translation.vocabulary import END, PAD, START

PLACES = 512
OFFSET = 2  # of its learned positions

ATTENTION = {"query": "q_proj", "output": "out_proj"}
FEED_FORWARD = {"feed_forward.0": "fc1", "feed_forward.2": "fc2"}
ENCODER = {
    "attention_norm": "self_attn_layer_norm",
    "feed_forward_norm": "final_layer_norm",
    **FEED_FORWARD,
}
DECODER = {**ENCODER, "source_norm": "encoder_attn_layer_norm"}


def twin(model: Transformer) -> Any:
    """Return mBART, pre-norm as ours is, with our weights; its extra norm is taken out."""
    from transformers import MBartConfig, MBartForConditionalGeneration

    size = model.size
    other = MBartForConditionalGeneration(
        MBartConfig(
            vocab_size=size.vocabulary,
            d_model=size.width,
            encoder_layers=size.layers,
            decoder_layers=size.layers,
            encoder_attention_heads=size.heads,
            decoder_attention_heads=size.heads,
            encoder_ffn_dim=size.feed_forward,
            decoder_ffn_dim=size.feed_forward,
            activation_function="relu",
            scale_embedding=True,
            max_position_embeddings=PLACES,
            pad_token_id=PAD,
            bos_token_id=START,
            eos_token_id=END,
            decoder_start_token_id=START,
            forced_eos_token_id=None,
        )
    ).eval()
    weights = {"shared.weight": model.embedding.weight}
    for part, names in (("encoder", ENCODER), ("decoder", DECODER)):
        getattr(other.model, part).layernorm_embedding = nn.Identity()
        for kind in ("weight", "bias"):
            weights[f"{part}.layer_norm.{kind}"] = getattr(getattr(model, f"{part}_norm"), kind)
        for number, layer in enumerate(getattr(model, part)):
            for name, tensor in _layer(layer, names).items():
                weights[f"{part}.layers.{number}.{name}"] = tensor
        places = sinusoids(0, PLACES, size.width)
        weights[f"{part}.embed_positions.weight"] = nn.functional.pad(places, (0, 0, OFFSET, 0))
    own = other.model.state_dict()
    tied = {f"{part}.embed_tokens.weight" for part in ("encoder", "decoder")}
    if set(own) - tied != set(weights):
        raise SystemExit(f"its weights have other names: {set(own) ^ set(weights)}")
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(tensor)
    return other


def _layer(layer: nn.Module, names: dict[str, str]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in layer.state_dict().items():
        place, _, kind = name.rpartition(".")
        first, _, last = place.partition(".")
        if place in names:
            found[f"{names[place]}.{kind}"] = tensor
            continue
        attention = "encoder_attn" if first == "source" else "self_attn"
        if last == "key_value":
            keys, values = tensor.chunk(2)
            found |= {f"{attention}.k_proj.{kind}": keys, f"{attention}.v_proj.{kind}": values}
        else:
            found[f"{attention}.{ATTENTION[last]}.{kind}"] = tensor
    return found


def generated(
    other: Any,
    source: Tensor,
    limit: int,
    *,
    width: int,
    penalty: LengthPenalty,
    early_stopping: bool | str = "never",
) -> tuple[list[list[int]], list[float]]:
    """Return what `generate` finds: tokens without the end, and scores."""
    if penalty.offset:
        raise ValueError(f"`penalty` must have the offset 0 here, as generate has, got {penalty}")
    beams: dict[str, Any] = {"num_beams": width}
    if width > 1:
        beams |= {"length_penalty": penalty.exponent, "early_stopping": early_stopping}
    with torch.no_grad():
        found = other.generate(
            input_ids=source,
            attention_mask=(source != PAD).long(),
            do_sample=False,
            max_new_tokens=limit,
            suppress_tokens=[PAD, START],
            return_dict_in_generate=True,
            output_scores=width > 1,
            **beams,
        )
    sequences = []
    for row in found.sequences[:, 1:].tolist():
        sequences.append(row[: row.index(END)] if END in row else row)
    scores = found.sequences_scores.tolist() if width > 1 else []
    return sequences, scores

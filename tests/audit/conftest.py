import json
import struct

import numpy as np
import pytest
import torch


def draw(rows=400, classes=5, *, sharpness=1.0, seed=0):
    """Logits and labels: calibrated at sharpness 1, over-confident above, under-confident below."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, classes, generator=generator)
    labels = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)
    return (sharpness * logits).numpy(), labels.numpy()


def write_safetensors(path, tensors):
    """The format by hand: the length of a JSON header, the header, the numbers."""
    names = {"float32": "F32", "float64": "F64", "float16": "F16", "int64": "I64", "uint8": "U8"}
    header, content = {"__metadata__": {"made": "by hand"}}, b""
    for name, array in tensors.items():
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": names[str(array.dtype)],
            "shape": list(array.shape),
            "data_offsets": [len(content), len(content) + len(data)],
        }
        content += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def write_csv(path, logits, labels, prefix="logit", separator=","):
    classes = range(logits.shape[1])
    lines = [separator.join(["name", "label", *(f"{prefix}_{k}" for k in classes)])]
    for place, (row, label) in enumerate(zip(logits, labels, strict=True)):
        lines.append(separator.join([f'"no. {place}"', str(label), *(repr(float(v)) for v in row)]))
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def drawn():
    return draw()

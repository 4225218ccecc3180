"""Small label maps as files: a bright disc and a bar on a ground, with a void frame."""

import io
import tarfile

import numpy as np
from PIL import Image

WIDTH, HEIGHT, CLASSES, VOID = 20, 16, 3, 11
PARTS = {"train": 6, "val": 3, "test": 3}


def scene(seed, width=WIDTH, height=HEIGHT):
    """An image `(H, W, 3)` and its mask `(H, W)`."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[:, generator.integers(2, width - 4) :][:, :3] = 1
    at = generator.integers(4, height - 4), generator.integers(4, width - 4)
    mask[(rows - at[0]) ** 2 + (columns - at[1]) ** 2 < 12] = 2
    colours = np.array([[30, 60, 30], [200, 40, 40], [90, 90, 240]])
    image = colours[mask] + generator.integers(-25, 25, (height, width, 3))
    mask[:2] = VOID
    return image.clip(0, 255).astype(np.uint8), mask


def encoded(array):
    """An array as the content of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def files(layout="annot", parts=PARTS):
    """Content by path: folders PART with PARTannot, or PART/images with PART/masks."""
    held = {}
    for number, (part, count) in enumerate(parts.items()):
        images, masks = (
            (part, f"{part}annot") if layout == "annot" else (f"{part}/images", f"{part}/masks")
        )
        for i in range(count):
            image, mask = scene(100 * number + i)
            held[f"{images}/{i:03}.png"] = encoded(image)
            held[f"{masks}/{i:03}.png"] = encoded(mask)
    return held


def written(folder, held):
    """Write files below a folder, which is returned."""
    for name, content in held.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def packed(path, held):
    """Write files into a tar archive, whose path is returned."""
    with tarfile.open(path, "w") as archive:
        for name, content in held.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path

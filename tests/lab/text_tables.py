"""Small tables of texts that can be told apart by their words."""

import json

RINGS = {"animal": ("cat", "dog", "fox"), "tool": ("saw", "axe", "nail"), "tree": ("oak", "elm")}


def rows(each, start=0):
    """`each` texts of every class, all different, and their labels."""
    made = []
    for number in range(start, start + each):
        for label, words in RINGS.items():
            word = words[number % len(words)]
            made.append((label, f"Is the {word} number{number} {'very ' * (number % 3)}old ?"))
    return made


def written(path, given, header="label\ttext"):
    """Write label and text, tab-separated, and return the path."""
    lines = [header, *("\t".join(row) for row in given)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def folder(root, train=24, test=8):
    """A folder with a table for training and one for testing."""
    root.mkdir(exist_ok=True)
    written(root / "rings_train.tsv", rows(train))
    written(root / "rings_test.tsv", rows(test, start=100))
    return root


def objects(path, given):
    """Write label and text as JSON lines."""
    lines = [json.dumps({"label": label, "text": text}) for label, text in given]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path

"""What a smaller table costs online label smoothing: the error of top-k rows, and peak memory.

The error: a model that reads three words of the Multi30k English captions and says the next is
trained with dense online label smoothing; the same logits feed top-k sums of several sizes. After
each epoch their rows are compared with the exact ones by L1 distance, at most 2: what lies in
keeping k entries at all (truncation), what in having lost mass on the way (accumulation), and both.

The memory: fresh processes, two epochs of one batch each, the peak beyond what was there before.
"""

import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, nn

import softtargets as st
from benchmarks.costs import RECORDS
from softtargets.bench import record
from softtargets.smoothing.class_tables import RowRules, Rows
from softtargets.smoothing.observing import picked_rows
from softtargets.smoothing.top_k_table import TopKTable

VOCABULARY, CONTEXT, EPOCHS, BATCH, TOKENS = 8000, 3, 3, 1024, 120_000
ENTRIES, MULTIPLES = (8, 16, 32, 64), (1, 2, 4)
RULES = RowRules(momentum=0.0, min_count=1, max_confidence=1.0)
MEMORY = {
    "dense, 8,000 classes": (8000, {"storage": "dense"}),
    "bfloat16, 8,000 classes": (8000, {"storage": "bfloat16"}),
    "bfloat16, 21,841 classes": (21841, {"storage": "bfloat16"}),
    "top_k, k = 32, 128,256 classes": (128256, {"storage": "top_k", "top_k": 32}),
}


def captions() -> tuple[Tensor, Tensor]:
    """Return the contexts `(N, 3)` and the words after them `(N)`, most frequent words first."""
    folder = os.environ.get("SOFTTARGETS_DATA")
    if not folder:
        raise SystemExit("name a folder that holds multi30k/train.en.gz in SOFTTARGETS_DATA")
    with gzip.open(Path(folder) / "multi30k" / "train.en.gz", "rt") as file:
        sentences = [line.lower().split() for line in file]
    counts = Counter(word for sentence in sentences for word in sentence)
    # 0 begins and ends a sentence, 1 is every rarer word.
    numbers = {word: i + 2 for i, (word, _) in enumerate(counts.most_common(VOCABULARY - 2))}
    windows = []
    for sentence in sentences:
        ids = [0] * CONTEXT + [numbers.get(word, 1) for word in sentence] + [0]
        windows += [ids[i : i + CONTEXT + 1] for i in range(len(ids) - CONTEXT)]
    chosen = torch.tensor(windows)[:TOKENS]
    return chosen[:, :-1], chosen[:, -1]


def model() -> nn.Module:
    torch.manual_seed(0)
    width = 64
    return nn.Sequential(
        nn.Embedding(VOCABULARY, width),
        nn.Flatten(),
        nn.Linear(CONTEXT * width, 128),
        nn.ReLU(),
        nn.Linear(128, VOCABULARY),
    )


def exact_rows(matrix: Tensor, k: int) -> Rows:
    """The k largest entries of each exact row: what top-k rows could be at best."""
    weights, classes = matrix.topk(k)
    return classes.int(), weights


def distances(one: Tensor, other: Tensor, counts: Tensor) -> dict[str, float]:
    each, share = (one - other).abs().sum(-1).double(), counts.double()
    return {
        "mean": round(float(each.mean()), 5),
        "mean over samples": round(float((each * share).sum() / share.sum()), 5),
        "max": round(float(each.max()), 5),
    }


def loss(table: TopKTable, rows: Rows, logits: Tensor, labels: Tensor) -> float:
    target = st.Target.from_labels(labels, VOCABULARY)
    soft = 0.5 * target + 0.5 * table.soft(rows, target, None)
    return float(st.cross_entropy(logits, soft))


def compare(
    matrix: Tensor, tables: dict[int, TopKTable], counts: Tensor, logits: Tensor, labels: Tensor
) -> dict[str, object]:
    """Compare the rows of this epoch with the exact ones, for every k and number of slots."""
    target = st.Target.from_labels(labels, VOCABULARY)
    dense = float(st.cross_entropy(logits, 0.5 * target + 0.5 * target.map_classes(matrix)))
    results: dict[str, object] = {"loss with exact rows": round(dense, 5)}
    learned = counts > 0
    matrix, counts = matrix[learned], counts[learned]
    for k in ENTRIES:
        best = TopKTable(VOCABULARY, k, "uniform")
        cut = best.matrix(exact_rows(matrix, k))
        results[f"k = {k}, truncation"] = distances(cut, matrix, counts)
        for multiple in MULTIPLES:
            table = TopKTable(VOCABULARY, k, "uniform", slots=multiple * k)
            table.sums = tables[multiple * k].sums
            rows = table.renewed(table.initial_rows(torch.float32), RULES)
            got = table.matrix(tuple(part[learned] for part in rows))
            results[f"k = {k}, {multiple} k slots"] = {
                "accumulation": distances(got, cut, counts),
                "both": distances(got, matrix, counts),
                "difference of the loss": round(loss(table, rows, logits, labels) - dense, 6),
            }
    return results


def errors() -> dict[str, object]:
    """Train, and compare after every epoch."""
    contexts, words = captions()
    network = model()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    policy = st.OnlineLabelSmoothing(VOCABULARY)
    sizes = sorted({k * multiple for k in ENTRIES for multiple in MULTIPLES})
    tables = {slots: TopKTable(VOCABULARY, slots, "uniform", slots=slots) for slots in sizes}
    generator = torch.Generator().manual_seed(0)
    epochs = []
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(words), generator=generator).split(BATCH):
            logits, labels = network(contexts[batch]), words[batch]
            optimizer.zero_grad()
            st.cross_entropy(logits, labels, smoothing=policy).backward()
            optimizer.step()
            z = logits.detach()
            single = torch.ones_like(labels, dtype=torch.bool)
            right = picked_rows(z, torch.softmax(z, -1), labels, single, True)
            for table in tables.values():
                table.sums.add(right)
        counts = tables[sizes[0]].sums.counts()
        policy.end_epoch()
        with torch.no_grad():
            held = network(contexts[:BATCH])
            epochs.append(
                {
                    "right samples": int(counts.sum()),
                    "classes learned": int((counts > 0).sum()),
                    **compare(policy.matrix, tables, counts, held, words[:BATCH]),
                }
            )
        for table in tables.values():
            table.sums.clear()
        print(json.dumps(epochs[-1]), file=sys.stderr)
    problem = {"classes": VOCABULARY, "tokens": len(words), "epochs": EPOCHS, "batch": BATCH}
    return {"problem": problem, "after each epoch": epochs}


def _status(field: str) -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) / 1024


def memory(name: str) -> dict[str, float]:
    """Megabytes that a policy takes, and its peak, both beyond the logits of the batch."""
    classes, arguments = MEMORY[name]
    torch.manual_seed(0)
    torch.logsumexp(torch.randn(64, 1000), -1).sort()
    logits = torch.randn(64, classes)
    labels = logits.argmax(-1)
    target = st.Target.from_labels(labels, classes)
    before = _status("VmRSS")
    policy = st.OnlineLabelSmoothing(classes, **arguments)
    for _ in range(2):
        Path("/proc/self/clear_refs").write_text("5")
        policy(target, logits)
        learned = _status("VmHWM")
        policy.end_epoch()
    return {
        "peak of learning": round(learned - before, 1),
        "peak with the end of an epoch": round(_status("VmHWM") - before, 1),
        "held afterwards": round(_status("VmRSS") - before, 1),
    }


def main() -> None:
    """Measure and write the record."""
    torch.set_num_threads(2)
    if len(sys.argv) > 1:
        print(json.dumps(memory(sys.argv[1])))
        return
    used = {}
    for name in MEMORY:
        command = [sys.executable, "-m", "benchmarks.online_storage", name]
        done = subprocess.run(command, capture_output=True, check=True)
        used[name] = json.loads(done.stdout)
    results = {"megabytes": used, "error of top-k rows": errors()}
    content = {
        "command": "python -m benchmarks.online_storage",
        "machine": record.machine(),
        "results": results,
    }
    print(record.as_text(content))
    record.write(RECORDS, "online_storage.json", content)


if __name__ == "__main__":
    main()

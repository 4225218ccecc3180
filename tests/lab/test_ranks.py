"""Two processes compute what one computes."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch

from softtargets.cli.app import run

# The last of 15 batches has two samples, for four parts in two processes.
COMMAND = [
    "compare", "--methods", "ols,mixup", "--seeds", "1", "--epochs", "2",
    "--learning-rate", "0.05", "--accumulate", "2", "--augment", "shift",
]  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The folder of a comparison by two processes, started by this project's own launcher."""
    if not torch.distributed.is_available():
        pytest.skip("this build of torch has no torch.distributed")
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "softtargets", *COMMAND, "--ranks", "2", "--out", str(folder)]
    return folder, subprocess.run(command, capture_output=True, text=True, timeout=240)


def records(folder):
    found = [json.loads(path.read_text()) for path in folder.glob("runs/*/record.json")]
    return {record["spec"]["method"]: record for record in found}


def test_two_processes_have_the_loss_curves_of_one(shared, tmp_path):
    folder, done = shared
    assert done.returncode == 0, done.stderr
    assert run([*COMMAND, "--out", str(tmp_path)]) == 0
    ours, theirs = records(folder), records(tmp_path)
    assert set(ours) == set(theirs) == {"ols", "mixup"}
    for method, record in ours.items():
        assert record["spec"]["ranks"] == 2
        for row, expected in zip(record["history"], theirs[method]["history"], strict=True):
            assert row == pytest.approx(expected, abs=1e-5)
    # What OLS has learnt is what all ranks have seen.
    for ours_, theirs_ in zip(ours["ols"]["examples"], theirs["ols"]["examples"], strict=True):
        assert ours_["target"] == pytest.approx(theirs_["target"], abs=1e-5)


def test_one_process_alone_speaks_and_writes(shared):
    folder, done = shared
    assert done.stderr == ""
    assert done.stdout.count("2 runs to compute, 0 already there") == 1
    assert done.stdout.count("Report: ") == 1
    assert not list(folder.rglob("checkpoint.pt"))


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_the_processes_end_with_their_launcher(tmp_path, stop):
    command = ["compare", "--methods", "hard", "--epochs", "3000", "--ranks", "2", "--out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "softtargets", *command, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/checkpoint.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(stop)
    _, error = process.communicate(timeout=60)  # ends when the last process has closed its end
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert error.startswith("softtargets: interrupted")
        assert error.count("\n") == 1
        assert not list(tmp_path.glob("runs/*/.lock"))

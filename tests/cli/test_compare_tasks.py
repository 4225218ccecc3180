"""`softtargets compare` and `report` on translation and segmentation."""

import json
import shutil
from dataclasses import asdict

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("sacrebleu")

from softtargets.cli.app import run
from softtargets.cli.tasks import segmentation, translation
from softtargets.lab.kinds import MODULES, kind_of_data
from softtargets.lab.segmentation.spec import SegmentationSpec
from softtargets.lab.study import studied_kind
from softtargets.lab.translation.spec import TranslationSpec
from tests.lab.segmentation.scenes import files, written
from tests.lab.translation.made_corpus import write_corpus

OUTPUTS = ("report.html", "summary.json")
TINY = ["--vocabulary", "330", "--width", "16", "--heads", "2", "--layers", "1"]
TINY += ["--feed-forward", "16", "--beams", "1,2"]
SMALL = ["--width", "4", "--depth", "2", "--pixels", "30"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return f"translation:{write_corpus(tmp_path_factory.mktemp('texts') / 'made')}"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return f"camvid:{written(tmp_path_factory.mktemp('pictures') / 'made', files())}"


def command(data, out, methods, options):
    given = ["compare", "--data", data, "--methods", methods, "--seeds", "2", "--epochs", "1"]
    return [*given, *options, "--out", str(out)]


@pytest.fixture(scope="module")
def translated(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("translated")
    assert run(command(corpus, out, "hard,ls", TINY)) == 0
    return out


@pytest.fixture(scope="module")
def segmented(scenes, tmp_path_factory):
    out = tmp_path_factory.mktemp("segmented")
    assert run(command(scenes, out, "ce,ce-ls", SMALL)) == 0
    return out


@pytest.fixture(params=["translated", "segmented"])
def copied(request, tmp_path):
    return shutil.copytree(request.getfixturevalue(request.param), tmp_path / "copy")


def test_tables_summary_and_page_agree(copied, capsys):
    assert run(["report", str(copied)]) == 0
    printed = capsys.readouterr().out
    summary = json.loads((copied / "summary.json").read_text())
    page = (copied / "report.html").read_text()
    assert len(summary["rows"]) == 2
    for row in summary["rows"]:
        for key in ("negative_log_likelihood",):
            for state in ("plain", "scaled"):
                value = f"{row[state][key]['value']:.3f}"
                assert value in printed
                assert value in page
    for reference in summary["references"]:
        assert reference["title"] in printed
        assert reference["summary"] in page
    assert "paired by seed, mean of 2 seeds" in printed


def test_the_signature_and_the_baselines_are_beside_bleu(translated, capsys):
    assert run(["report", str(translated)]) == 0
    printed = capsys.readouterr().out
    summary = json.loads((translated / "summary.json").read_text())
    record = json.loads(next(translated.glob("runs/hard-*/record.json")).read_text())
    assert all(each in "".join(printed.split()) for each in record["signatures"])
    assert [each["title"] for each in summary["references"]] == ["copying", "unigrams"]
    assert set(summary["rows"][0]["plain"]) >= {"bleu_1", "bleu_2", "chrf", "accuracy"}
    assert "no better than copying" in " ".join(printed.split())


def test_the_report_is_made_again_from_records_alone(copied, capsys):
    before = {name: (copied / name).read_bytes() for name in OUTPUTS}
    for name in OUTPUTS:
        (copied / name).unlink()
    assert run(["report", str(copied)]) == 0
    assert {name: (copied / name).read_bytes() for name in OUTPUTS} == before


def test_nothing_is_computed_twice(corpus, translated, capsys):
    before = (translated / "study.json").read_bytes()
    assert run(command(corpus, translated, "hard,ls", TINY)) == 0
    assert "0 runs to compute, 4 already there" in capsys.readouterr().out
    assert (translated / "study.json").read_bytes() == before


def test_of_an_unfinished_comparison_complete_seeds_are_shown(copied, capsys):
    last = next((copied / "runs").glob("*ls-seed1*"))
    shutil.rmtree(last)
    assert run(["report", str(copied)]) == 0
    told = "1 run is not finished; the seeds that lack one are left out."
    assert told in " ".join(capsys.readouterr().out.split())
    page = (copied / "report.html").read_text()
    assert told in page
    assert "One seed cannot tell a better method from a lucky run." in page
    assert json.loads((copied / "summary.json").read_text())["settings"]["seeds"] == 1
    shutil.rmtree(next((copied / "runs").glob("*ls-seed0*")))
    assert run(["report", str(copied)]) == 2
    assert "2 of 4 runs are missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda study: study | {"kind": "segmentation"}, "it is not the file that was written"),
        (lambda study: study | {"runs": {}}, "it is not the file that was written"),
        (lambda study: study | {"format": 99}, "it belongs to another version"),
        (lambda study: {"kind": "translation"}, "missing required field"),
    ],
)
def test_a_study_that_was_changed_is_one_line(change, message, translated, tmp_path, capsys):
    study = json.loads((translated / "study.json").read_text())
    (tmp_path / "study.json").write_text(json.dumps(change(study)))
    assert run(["report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_the_last_comparison_of_a_folder_is_reported(translated, tmp_path, capsys):
    folder = shutil.copytree(translated, tmp_path / "copy")
    quick = ["compare", "--methods", "ls", "--seeds", "1", "--epochs", "1", "--out", str(folder)]
    assert run(quick) == 0
    assert studied_kind(folder) == "classification"
    assert run(["report", str(folder)]) == 0
    assert "digits" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--noise", "0.2"], "Unknown option: --noise"),
        (["--noise", "0.2"], "a comparison in translation: its options are those of --data transl"),
        (["--model", "mlp"], "Unknown option: --model"),
        (["--augment=flip"], "Unknown option: --augment"),
        (["--ranks", "2"], "Unknown option: --ranks"),
        (["--optimizer", "sgd"], "Unknown option: --optimizer"),
        (["--batch-size", "64"], "Unknown option: --batch-size"),
        (["--methods", "hard,ils"], "unknown method ils: for translation, choose from hard, ls"),
        (["--methods", "hard,hard"], "a method is named twice in hard,hard"),
        (["--beams", "1,x"], "--beams must be whole numbers, as 1,4, got 1,x"),
        (["--beams", "0"], "--beams must be widths from 1"),
        (["--beams", "2,2"], "--beams must name each width once"),
        (["--vocabulary", "9"], "--vocabulary must be at least 259"),
        (["--vocabulary", "100000"], "the training text has"),
        (["--width", "10"], "--width must be a multiple of 8"),
        (["--learning-rate", "-1"], "--learning-rate must be positive and finite"),
        (["--epochs", "1.5"], "--epochs: it must be a whole number, got '1.5'"),
        (["--seeds", "0"], "--seeds must be a whole number from 1"),
        (["--threads", "0"], "--threads must be a whole number from 1"),
    ],
)
def test_what_can_be_mended_is_one_line_and_status_2(options, message, corpus, tmp_path, capsys):
    assert run(["compare", "--data", corpus, "--out", str(tmp_path / "out"), *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("softtargets: ")
    assert not list(tmp_path.glob("out/runs/*"))


def test_data_that_are_not_there_are_one_line(capsys):
    for data in ("translation:no/such", "camvid:no/such", "segmentation:", "translation"):
        assert run(["compare", "--data", data]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "no/such is n" in error or "must be" in error or "is named" in error
    assert run(["compare", "--data", "camvid:x", "--beams", "1"]) == 2
    assert "Unknown option: --beams" in capsys.readouterr().err


def test_help_is_of_the_task(capsys):
    assert run(["compare", "--data", "translation:x", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "--beams" in printed
    assert "--noise" not in printed
    assert run(["compare", "--data=camvid:x", "--help"]) == 0
    assert "--depth" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "spec"),
    [(translation.Options(), TranslationSpec), (segmentation.Options(), SegmentationSpec)],
)
def test_what_is_usual_is_what_the_spec_says(options, spec):
    needed = {"data": "", "data_hash": "", "method": "", "parameters": {}, "seed": 0, "epochs": 1}
    given = asdict(options)
    if "beams" in given:
        given["beams"] = tuple(map(int, given["beams"]))
    assert spec(**needed, **given) == spec(**needed)


def test_every_kind_has_its_data():
    found = {kind_of_data(f"{word}:x") for word in ("translation", "segmentation", "camvid", "npz")}
    assert found == set(MODULES)

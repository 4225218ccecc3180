import json
import shutil

from softtargets.claims.record import read
from softtargets.claims.registry import CLAIMS
from softtargets.cli.app import run


def smoke(folder, *rest):
    return ["claims", *rest, "--budget", "smoke", "--out", str(folder)]


def test_without_names_the_claims_are_listed_with_their_rules(capsys):
    assert run(["claims"]) == 0
    printed = capsys.readouterr().out
    assert "mueller.calibration" in printed
    assert "maxsup.transfer" in printed
    assert "supported if the 95 % interval is" in printed


def test_claims_are_run_and_written(tmp_path, capsys):
    assert run(smoke(tmp_path, "xia.selective", "--plan")) == 0
    planned = capsys.readouterr().out
    assert "4 runs in all" in planned
    assert "4 to compute, 16 steps" in planned
    assert "no estimate of minutes: no run in classification is there yet" in planned
    assert not list((tmp_path / "runs").iterdir())
    assert run(smoke(tmp_path, "XIA,mueller.underconfident")) == 0
    printed = capsys.readouterr().out
    assert "4 runs to compute, 0 already there" in printed
    assert "2 undecided. Budget smoke: 2 seeds judged" in printed
    record = read(tmp_path / "claims.json")
    assert [claim.name for claim in record.claims] == ["mueller.underconfident", "xia.selective"]
    assert record.runs == 4
    assert "xia.selective" in (tmp_path / "claims.html").read_text()
    pictures = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert pictures == {"mueller.underconfident.svg", "xia.selective.svg"}
    assert run(smoke(tmp_path, "xia.selective", "--plan")) == 0
    planned = capsys.readouterr().out
    assert "4 are there, 0 to compute" in planned
    assert "about 0 minutes at the speed of the runs that are there" in planned
    assert run(smoke(tmp_path, "xia.selective")) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "claims.json had verdicts of mueller.underconfident too, which this" in printed
    assert run(smoke(tmp_path, "xia,mueller.underconfident")) == 0
    assert "had verdicts" not in capsys.readouterr().out


def test_what_is_printed_as_json(tmp_path, capsys):
    assert run(["claims", "--json"]) == 0
    claims = json.loads(capsys.readouterr().out)
    assert [claim["name"] for claim in claims] == list(CLAIMS)
    assert claims[0]["tests"][1]["rule"] == {"above": None, "below": -0.01, "seeds": 5}
    assert run(smoke(tmp_path, "wei", "--plan", "--json")) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["minutes"] is None
    assert plan["unmeasured"] == ["classification"]
    assert run(smoke(tmp_path, "xia.selective", "--json")) == 0
    printed = capsys.readouterr()
    assert printed.out == (tmp_path / "claims.json").read_text()
    assert "4 runs to compute" in printed.err
    assert f"Report: {tmp_path / 'claims.html'}" in printed.err


def test_a_report_is_made_again_from_the_record_alone(tmp_path, capsys):
    assert run(smoke(tmp_path, "xia.selective")) == 0
    printed = capsys.readouterr().out
    outputs = [tmp_path / "claims.html", tmp_path / "pictures" / "xia.selective.svg"]
    written = [path.read_bytes() for path in outputs]
    for path in outputs:
        path.unlink()
    shutil.rmtree(tmp_path / "runs")
    assert run(["report", str(tmp_path)]) == 0
    assert printed.endswith(capsys.readouterr().out)
    assert [path.read_bytes() for path in outputs] == written
    shutil.rmtree(tmp_path / "pictures")
    (tmp_path / "pictures").touch()
    assert run(["report", str(tmp_path)]) == 2
    assert "pictures (File exists); choose another place" in capsys.readouterr().err
    (tmp_path / "claims.json").write_text("{")
    assert run(["report", str(tmp_path)]) == 2
    assert "claims.json is no record of claims" in capsys.readouterr().err


def test_what_users_can_mend_is_one_line(tmp_path, capsys):
    for arguments, message in (
        (smoke(tmp_path, "mueler"), "there is no claim 'mueler'; choose from mueller.calibration"),
        (smoke(tmp_path, "xia", "--on", "moon"), "unknown --on moon"),
        (["claims", "xia", "--budget", "huge"], "huge"),
        (smoke(tmp_path, "xia", "--data-root", str(tmp_path / "no")), "no is no folder; leave it"),
    ):
        assert run(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_a_corrupt_file_of_the_synthetic_benchmark_is_named(tmp_path, capsys):
    path = tmp_path / "synthetic" / "surface-2-draws.json"
    path.parent.mkdir()
    for content in (b'{"command": ', b"\xff{}", b'{"draws": 2}'):
        path.write_bytes(content)
        assert run(smoke(tmp_path, "ils.surface")) == 2
        error = capsys.readouterr().err
        assert f"the earlier result {path} cannot be used: " in error
        assert error.endswith("; delete the file to compute it again\n")
        assert path.read_bytes() == content
    path.unlink()
    assert run(smoke(tmp_path, "ils.surface")) == 0

import pytest

from softtargets.cli import methods
from softtargets.cli.app import run


def test_every_method_has_a_line_with_its_class(capsys):
    assert run(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list(methods.read_cards())) >= 9
    for line in lines:
        name, cls, summary = line.split(None, 2)
        assert cls.startswith("st.")
        assert summary.endswith(".")
        assert name.replace("-", "") == cls.removeprefix("st.").lower()
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    "name", ["online-label-smoothing", "OLS", "st.OnlineLabelSmoothing", "online_label_smoothing"]
)
def test_a_card_is_printed_whole(name, capsys):
    assert run(["methods", name]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# Online label smoothing\n")
    assert "**Reference.**" in printed
    assert printed.endswith("2021.\n")


def test_no_name_stands_for_two_methods():
    known = {}
    for card in methods.read_cards():
        for name in {card.name, card.cls.removeprefix("st."), *card.aliases}:
            owner = known.setdefault(methods._plain(name), card.name)
            assert owner == card.name, f"{name} is {owner} and {card.name}"


def test_an_unknown_method_is_one_line_and_status_2(capsys):
    assert run(["methods", "nope"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "unknown method nope: choose from bootstrapping, class-matrix-smoothing" in error


def test_an_installed_package_reads_its_own_cards(tmp_path, monkeypatch, capsys):
    cards = tmp_path / "cards"
    cards.mkdir()
    (cards / "a-b.md").write_text("# A\n\nDoes a.\n\n`st.AB` · also called: x, y z\n\n**Idea.** A")
    monkeypatch.setattr(methods, "files", lambda package: tmp_path)
    assert run(["methods"]) == 0
    assert capsys.readouterr().out == "a-b  st.AB  Does a.\n"
    assert run(["methods", "Y-Z"]) == 0
    assert capsys.readouterr().out.startswith("# A\n")


def test_without_cards_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(methods, "files", lambda package: tmp_path)
    monkeypatch.setattr(methods, "__file__", str(tmp_path / "a" / "b" / "c" / "methods.py"))
    assert run(["methods"]) == 2
    assert "no method cards in" in capsys.readouterr().err

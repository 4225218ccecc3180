import pytest

from softtargets.cli import methods
from softtargets.cli.app import run
from softtargets.lab.errors import LabError


def test_every_method_has_a_line_in_its_group(capsys):
    assert run(["methods"]) == 0
    groups = capsys.readouterr().out.strip().split("\n\n")
    headings, bodies = groups[::2], groups[1::2]
    assert headings == list(methods.GROUPS.values())
    cards = {card.name: card for card in methods.read_cards()}
    listed = []
    for group, body in zip(methods.GROUPS, bodies, strict=True):
        lines = body.splitlines()
        assert lines == sorted(lines)
        for line in lines:
            name, cls, summary = line.split(None, 2)
            assert cards[name].group == group
            assert (cls, summary) == (cards[name].cls, cards[name].summary)
            assert name.replace("-", "") == cls.removeprefix("st.").lower().replace("_", "")
            listed.append(name)
    assert sorted(listed) == sorted(cards)
    assert len(cards) >= 22


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
    assert "unknown method nope: choose from acls-penalty, " in error


def test_an_installed_package_reads_its_own_cards(tmp_path, monkeypatch, capsys):
    cards = tmp_path / "cards"
    cards.mkdir()
    (cards / "a-b.md").write_text(
        "# A\n\nDoes a.\n\n`st.AB` · penalty · also called: x, y z\n\n**Idea.** A"
    )
    monkeypatch.setattr(methods, "files", lambda package: tmp_path)
    assert run(["methods"]) == 0
    assert capsys.readouterr().out == f"{methods.GROUPS['penalty']}\n\n  a-b  st.AB  Does a.\n\n"
    assert run(["methods", "Y-Z"]) == 0
    assert capsys.readouterr().out.startswith("# A\n")


def test_a_card_of_no_group_is_an_error():
    with pytest.raises(LabError, match="of no group: hat is none of smoothing policy, penalty"):
        methods.parse_card("a", "# A\n\nDoes a.\n\n`st.A` · hat · also called: x\n\nA")


def test_without_cards_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(methods, "files", lambda package: tmp_path)
    monkeypatch.setattr(methods, "__file__", str(tmp_path / "a" / "b" / "c" / "methods.py"))
    assert run(["methods"]) == 2
    assert "no method cards in" in capsys.readouterr().err

"""`detour compare` as a user calls it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from detour.errors import DetourError
from detour.launch.compare import command
from detour.ledger.workspace import Workspace
from tests.reporting.fabricate import make_twins
from tests.support.invoking import invoke

call = partial(invoke, command)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_twins(Workspace(tmp_path_factory.mktemp("twins"))).workspace.root


def test_a_tilde_that_the_shell_left_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "scores.csv").write_text("model,task,seed,value\na,t,1,74.8\nb,t,1,73\n")
    call(tmp_path / "scores.csv", "--out=~/table.txt", "-w", tmp_path)
    assert "74.8" in (tmp_path / "table.txt").read_text()


def test_a_dash_is_refused_as_an_output(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("quickstart", "-w", workspace, "--out", "-")
    assert result.exit_code == 2
    assert "'-' is not standard input or output here" in result.output
    assert not list(tmp_path.iterdir())


def test_two_chains_are_compared_and_a_difference_without_spread_is_not_tested(workspace: Path) -> None:
    text = " ".join(call("quickstart*", "-w", workspace).output.split())
    assert "quickstart and quickstart-mlm differ by +1.80 points on icd10-chapters, alike on every seed" in text
    assert "no test over tasks: it takes 5 of them or more, there is 1" in text


def test_a_chain_and_a_file_share_one_table(workspace: Path, tmp_path: Path) -> None:
    others = tmp_path / "others.csv"
    others.write_text("model,icd10-chapters\npublished,70.0\n")
    shown = call("quickstart", others, "-w", workspace, "--format", "markdown").output
    assert shown.splitlines()[0] == "| Model | icd10-chapters |"
    assert shown.splitlines()[-1] == "| published | 70.0 |"


def test_json_holds_every_figure(workspace: Path) -> None:
    found = json.loads(call("quickstart", "quickstart-mlm", "-w", workspace, "--json").stdout)
    assert found["pairs"][0]["by_task"][0]["over_seeds"]["signs"]["wins"] == 3
    assert found["cells"]["quickstart"]["icd10-chapters"]["n"] == 3


def test_of_many_pairs_only_the_verdicts_are_shown(tmp_path: Path) -> None:
    table = tmp_path / "many.csv"
    table.write_text("model,a,b,c,d,e\n" + "".join(f"m{n},{n},{n},{n},{n},{n}\n" for n in range(6)))
    text = " ".join(call(table).output.split())
    assert text.count("are not distinguishable on average over 5 tasks") == 15
    assert "sign test" not in text
    assert "15 pairs are compared" in text


def test_models_can_be_compared_with_one_of_them_on_the_tasks_that_all_have(tmp_path: Path) -> None:
    table = tmp_path / "three.csv"
    table.write_text("model,a,b\nbase,50,60\nlonger,52,61\nwider,51,\n")
    found = json.loads(call(table, "--against", "base", "--common", "--json").stdout)
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == [("longer", "base"), ("wider", "base")]
    assert [list(cells) for cells in found["cells"].values()] == [["a"]] * 3


def test_a_table_can_be_written_to_a_file(workspace: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.tex"
    assert call("quickstart*", "-w", workspace, "--format", "latex", "-o", table).output == ""
    assert table.read_text().startswith(r"\begin{tabular}{lr}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "nothing"),
        (["quickstart"], "nothing to compare quickstart with"),
        (["quickstart", "none.csv"], "none.csv: no such file"),
        (["quickstart", "scores/none.csv"], "scores/none.csv: no such file"),
        (["quickstart*", "--metric", "em"], "icd10-chapters has no metric 'em'; it has macro_f1, accuracy"),
    ],
)
def test_mistakes_are_one_message(workspace: Path, arguments: list[str], message: str) -> None:
    error = call("-w", workspace, *arguments).exception
    assert isinstance(error, DetourError)
    assert error.exit_code == 2
    assert message in str(error)


def test_missing_scores_are_in_the_json(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("model,task,seed,value\na,t,1,0.5\na,t,2,0.6\nb,t,1,0.7\n")
    shown = json.loads(call(tmp_path / "s.csv", "--json", "-w", tmp_path).stdout)
    assert shown["gaps"] == [{"model": "b", "task": "t", "seeds": [2]}]


def test_a_malformed_result_is_named(tmp_path: Path) -> None:
    root = make_twins(Workspace(tmp_path / "twins")).workspace.root
    result = next(root.rglob("result.json"))
    result.write_text(json.dumps(json.loads(result.read_bytes()) | {"primary_metric": ["micro_f1"]}))
    assert "has no metric" in str(call("quickstart*", "-w", root).exception)


def test_long_names_stay_distinguishable_in_the_table(tmp_path: Path) -> None:
    models = [f"a-very-long-name-of-a-chain-that-fits-no-column-{letter}" for letter in "ab"]
    scores = {model: {f"a-task-of-many-letters-{task}": 60 + task for task in range(2)} for model in models}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    header, first, second = call(tmp_path / "scores.json").output.splitlines()[1:4]
    assert header.split()[:3] == ["model", "a-task-o…letters-0", "a-task-o…letters-1"]
    assert (first.split()[0][-3:], second.split()[0][-3:]) == ("n-a", "n-b")

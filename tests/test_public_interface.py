"""The public interface: names, parameters, and docs/python.md, whose examples are run unchanged."""

from __future__ import annotations

import inspect
import json
import pkgutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import detour
from detour.config.fields import WITH_UNITS
from detour.config.loading import load_recipe
from detour.errors import UserError
from tests.support.chains import SMALL
from tests.support.page import PAGE, examples

ROOT = Path(__file__).parents[1]
SIGNATURES = {
    "plan": "recipe *overrides",
    "price": "plan cluster gpus= workspace=",
    "report": "*chains workspace= cluster= period= project= site_figure=",
    "run": "plan cores= gpus= cluster= workspace= retry= over_budget= on_caps= on_refresh= on_stop=",
    "status": "*chains workspace= offline=",
    "submit": "plan cluster gpus= qos= account= wall_s= segments= parallelism= workspace= retry= over_budget= "
    "on_wait= finish_interrupted=",
}
"""Public name -> its parameters, optional ones with `=`. To change one breaks programs."""


def parameters(function: object) -> str:
    assert callable(function)
    marks: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*{}", inspect.Parameter.KEYWORD_ONLY: "{}="}
    given = inspect.signature(function).parameters.values()
    return " ".join(marks.get(each.kind, "{}").format(each.name) for each in given)


def test_these_are_the_public_names() -> None:
    assert sorted(detour.__all__) == sorted(SIGNATURES)


@pytest.mark.parametrize("name", SIGNATURES)
def test_each_public_function_has_these_parameters(name: str) -> None:
    assert parameters(getattr(detour, name)) == SIGNATURES[name]


@pytest.mark.parametrize("name", SIGNATURES)
def test_each_public_function_is_documented_on_the_page(name: str) -> None:
    assert f"`detour.{name}(" in PAGE.read_text()


def test_no_room_hides_a_public_name() -> None:
    """Importing a package `detour.plan` would replace the function; so the room is called `planning`."""
    assert not {module.name for module in pkgutil.iter_modules(detour.__path__)} & set(detour.__all__)


def test_importing_the_package_loads_no_room_and_no_other_package() -> None:
    code = "import sys; before = set(sys.modules); import detour; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names] == ["detour"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'plans'"):
        _ = detour.plans


def test_a_run_outside_the_main_thread_is_refused(tmp_path: Path) -> None:
    raised: list[Exception] = []

    def call() -> None:
        try:
            detour.run(detour.plan("quickstart"), workspace=tmp_path)
        except UserError as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "main thread" in str(raised[0])


def test_the_examples_of_the_page_run_without_a_terminal_and_without_click(tmp_path: Path) -> None:
    """In a fresh interpreter, from plan to report; `quickstart` is a small recipe of that name in ./configs."""
    recipes = tmp_path / "configs" / "recipes"
    recipes.mkdir(parents=True)
    (recipes / "quickstart.yaml").write_text(small_quickstart())
    shown = {heading: code for heading, code in examples().items() if heading != "Submit"}
    assert len(shown) == 6
    code = "\n".join([*shown.values(), "import sys", "assert 'click' not in sys.modules"])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "('quickstart',) 4 ()"
    assert "0 stages left" in lines
    assert sum(" done " in line for line in lines) == 4
    assert (tmp_path / "report.html").exists()
    mistake = next(line for line in lines if line.startswith("2 "))
    assert "phases.mlm.token" in mistake


def small_quickstart() -> str:
    """One phase and no benchmark: four stages, trained for seconds."""
    recipe = load_recipe(ROOT / "configs/recipes/quickstart.yaml", SMALL)
    written = recipe.model_dump(mode="json", context=WITH_UNITS, exclude_none=True)
    return json.dumps({**written, "phases": written["phases"][1:], "benchmark": None})


def test_a_plan_finds_a_wrong_column_before_anything_runs() -> None:
    with pytest.raises(UserError, match="no column `lang`"):
        detour.plan("quickstart", "data.sources.icd10-labels.column=lang")


def test_a_price_is_refused_for_impossible_numbers_of_gpus() -> None:
    with pytest.raises(UserError, match="4 or 8"):
        detour.price(detour.plan("quickstart"), "jean-zay", gpus=5)


def test_a_run_creates_files_with_the_group_of_a_shared_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o2770)
    monkeypatch.setattr("detour.orchestration.local_run.run_here", lambda *_, **__: (tmp_path / "new").touch())
    detour.run(detour.plan("quickstart"), workspace=tmp_path)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640

"""A class's notebooks: each is run by itself, and what it claims of itself counts for nothing."""

import csv
from pathlib import Path

import nbformat
import pytest

from sdlearn import cli
from sdlearn.course import checks
from sdlearn.course.grading import find_answers, grade_folder, judge_answers

RIGHT = {
    "add_noise": """def add_noise(latents, noise, alpha_bar):
    a = alpha_bar.view(-1, 1, 1, 1)
    return a.sqrt() * latents + (1 - a).sqrt() * noise""",
    "predict_original": """def predict_original(noisy_latents, model_pred, alpha_bar):
    return (noisy_latents - (1 - alpha_bar).sqrt() * model_pred) / alpha_bar.sqrt()""",
    "ddim_step": """def ddim_step(noisy_latents, model_pred, alpha_bar, alpha_bar_prev):
    x = predict_original(noisy_latents, model_pred, alpha_bar)
    return alpha_bar_prev.sqrt() * x + (1 - alpha_bar_prev).sqrt() * model_pred""",
    "half_gone": "half_gone = 354",
}
ASKED = "from sdlearn.course import checks"


def write(path: Path, *code: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [nbformat.v4.new_code_cell(text) for text in code]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def test_answers_are_found_by_their_checks_whatever_they_are_called():
    code = f"{ASKED}\ndef mine(a): pass\nchecks.add_noise(mine)\nthis is not Python"
    answers = find_answers(code)
    assert answers["add_noise"] == ["mine"]
    assert answers["half_gone"] == ["half_gone"]
    assert list(answers) == [check.__name__ for check in checks.CHAPTERS["02"]]
    assert find_answers("print('hello')") == {}


def test_options_are_named_as_typed_and_a_home_folder_is_found(tmp_path, monkeypatch, capsys):
    assert cli.main(["grade", str(tmp_path), "--cell-seconds", "0"]) == 2
    assert "--cell-seconds is 0.0: give a number above 0" in capsys.readouterr().err
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "class" / "empty.ipynb", "print('hello')")
    assert cli.main(["grade", "~/class", "--output", "~/marks/grades.csv"]) == 0
    assert str(tmp_path / "marks" / "grades.csv") in capsys.readouterr().out
    assert (tmp_path / "marks" / "grades.csv").is_file()


def test_an_answer_that_breaks_out_of_every_rule_only_costs_its_points():
    scope: dict = {"half_gone": 354}
    exec("def add_noise(latents, noise, alpha_bar):\n    raise SystemExit", scope)
    verdicts = judge_answers({name: [name] for name in ("add_noise", "half_gone")}, scope)
    assert verdicts["add_noise"]["points"] == 0
    assert verdicts["half_gone"]["points"] == 1


@pytest.mark.slow
def test_a_class_is_marked_by_its_answers_alone(tmp_path, capsys):
    folder = tmp_path / "class"
    every = list(RIGHT.values())
    write(folder / "alice.ipynb", ASKED, *every, *[f"checks.{n}({n})" for n in RIGHT])
    write(folder / "bob" / "late.ipynb", *every[:3], "half_gone = ...", "1 / 0")
    cheat = "checks.add_noise = lambda answer: checks.Right('add_noise', 99, 'trust me')"
    write(folder / "carol.ipynb", ASKED, cheat, "add_noise = 1", "print('5 of 5')")
    write(folder / "dave.ipynb", RIGHT["half_gone"], "import time; time.sleep(60)")
    (folder / "eve.ipynb").write_text("not a notebook")
    output = tmp_path / "grades.csv"
    words = ["grade", str(folder), "--output", str(output), "--cell-seconds", "20"]
    assert cli.main([*words, "--seconds", "40"]) == 0

    with output.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    points: dict = {}
    for row in rows:
        points[row["notebook"]] = points.get(row["notebook"], 0) + int(row["points"])
    assert points == {
        "alice.ipynb": 5,
        "bob/late.ipynb": 4,
        "carol.ipynb": 0,
        "dave.ipynb": 1,
        "eve.ipynb": 0,
    }
    reasons = {(row["notebook"], row["check"]): row["reason"] for row in rows}
    assert "not callable" in reasons["carol.ipynb", "add_noise"] or (
        "takes your function itself" in reasons["carol.ipynb", "add_noise"]
    )
    assert reasons["bob/late.ipynb", "half_gone"] == "not answered"
    assert "cannot be read" in reasons["eve.ipynb", ""]
    assert "alice.ipynb: 5 of 5" in capsys.readouterr().out


def test_a_folder_without_notebooks_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"holds no notebooks"):
        grade_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        grade_folder(tmp_path / "none")

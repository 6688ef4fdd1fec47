"""Every option says in `--help` what it is, in words for people."""

import re
from pathlib import Path

import pytest

import sdlearn
from sdlearn import cli

COMMANDS = ["demo", "generate", "plan", "pretrain", "evaluate", "grade"]
COMMANDS += ["train textual-inversion", "train dreambooth", "train imagic", "train lora"]
COMMANDS += ["train full", "character"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_that_speaks_of_no_code(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        cli.main([*command.split(), "--help"])
    shown = "\n".join(line.strip("│ ") for line in capsys.readouterr().out.splitlines())
    assert shown.count("\n--") > 2
    assert not re.findall(r"^(--\S+)(?: \S+)*(?: {2,}|\n)\((?:default|required)", shown, re.M)
    assert not re.findall(r"Raises|ValueError|`[A-Z]\w+Config`|see `[a-z_]+`", shown)


def test_no_help_goes_on_where_it_is_not_shown():
    """The comment behind a field is its help; what stands in the next line would be left out."""
    folder = Path(sdlearn.__file__).parent
    for path in [*folder.rglob("*config.py"), *folder.glob("commands/*.py")]:
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"^    (\w+): .*  # .*\n    # ", text, re.M), path.name

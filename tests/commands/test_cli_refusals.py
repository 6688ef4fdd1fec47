"""What configurations refuse reaches a person as one sentence that names options as typed."""

import pytest

from sdlearn import cli


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["train", "lora", "x", "--output", "o", "--learning-rate", "nan"],
            "--learning-rate is nan: give a number above 0",
        ),
        (
            ["train", "full", "x", "--output", "o", "--resume"],
            "--resume needs an --output-dir: name the folder with the checkpoints",
        ),
        (["demo", "--class-seeds", "0"], "--class-seeds is 0: give at least 1"),
        (
            ["demo", "--pictures", "seed_a", "--seed", "4"],
            "--seed says how to draw a character: leave it out with pictures",
        ),
        (["pretrain", "--vae-batch", "0"], "--vae-batch is 0: give at least 1"),
        (["pretrain", "--pictures", "2"], "--pictures 2 are too few: 16 at least"),
        (["plan", "lora", "--pictures", "0"], "--pictures is 0: give at least 1"),
    ],
)
def test_a_refused_value_is_told_in_one_sentence_with_the_option_as_typed(words, sentence, capsys):
    assert cli.main(words) == 2
    assert capsys.readouterr() == ("", f"sdlearn: {sentence}\n")


def test_where_a_value_was_refused_is_shown_to_who_asks_for_it(capsys):
    with pytest.raises(ValueError, match="class_seeds is 0"):
        cli.main(["demo", "--class-seeds", "0", "--debug"])


@pytest.mark.parametrize("words", [["demo", "--seed", "four"], ["demo", "--colour", "red"]])
def test_what_cannot_be_read_is_still_told_with_the_words_that_were_typed(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    assert words[-1] in capsys.readouterr().err

"""The character maker: what is chosen is drawn, and what is kept can be learnt from."""

import pytest

from sdlearn.course.character_maker import (
    NUMBER,
    SHOWN,
    SHOWN_SIZE,
    make_character,
    maker,
    own_character,
    render,
    save_character,
)
from sdlearn.data.characters import draw_character
from sdlearn.data.folder import read_pictures


def parts(folder):
    picture, controls, bottom = maker(folder).children
    return picture, {c.description: c for c in controls.children}, *bottom.children


def test_the_picture_is_a_row_that_the_settings_alone_decide():
    row = render(style="lorelei", seed=3, glasses="round")
    assert row.shape == (SHOWN_SIZE, SHOWN * SHOWN_SIZE, 3)
    assert (row == render(style="lorelei", seed=3, glasses="round")).all()
    assert (row != render(style="lorelei", seed=3, glasses="none")).any()
    assert (row != render(style="lorelei", seed=4, glasses="round")).any()


def test_what_a_style_cannot_have_is_left_out_and_an_unknown_style_is_named():
    assert (render("critters", 0, glasses="round") == render("critters", 0)).all()
    assert (render("lorelei", 0, glasses="any") == render("lorelei", 0)).all()
    with pytest.raises(ValueError, match="'manga' does not exist"):
        render("manga")


def test_a_control_redraws_and_only_shows_what_the_style_has(tmp_path):
    picture, controls, *_ = parts(tmp_path / "mine")
    before = picture.value
    controls["glasses"].value = "round"
    assert picture.value != before
    controls["style"].value = "critters"
    assert controls["glasses"].layout.display == "none"
    assert controls["glasses"].value == "any"
    assert controls["body color"].layout.display == ""


def test_the_button_keeps_the_character_that_is_shown_and_replaces_an_earlier_one(tmp_path):
    folder = tmp_path / "mine"
    _, controls, button, said = parts(folder)
    button.click()
    assert said.value == f"{NUMBER} pictures are in the folder {folder}"
    controls["glasses"].value = "round"
    button.click()
    kept = read_pictures(folder)
    assert len(kept) == NUMBER
    assert {picture.attributes["glasses"] for picture in kept} == {"round"}
    assert all(p.license == "CC0-1.0" and p.author and "round glasses" in p.text for p in kept)


def test_where_nothing_can_be_written_the_button_says_why(tmp_path):
    (tmp_path / "file").write_text("no folder")
    _, _, button, said = parts(tmp_path / "file")
    button.click()
    assert "cannot write to the folder" in said.value


def test_a_sheet_stays_behind_and_nothing_is_written_unasked(tmp_path):
    assert len(make_character(tmp_path / "mine").axes) == 6
    assert not (tmp_path / "mine").exists()
    assert save_character(tmp_path / "mine", "adventurer", 2)


def test_later_chapters_take_what_was_kept_and_somebody_unknown_to_mini_otherwise(tmp_path, capsys):
    folder = tmp_path / "mine"
    nobody = own_character(folder)
    assert [picture.text for picture in nobody] == [p.text for p in draw_character("lorelei", 0)]
    assert "mine here (chapter 0 makes it): 5 pictures in lorelei style" in capsys.readouterr().out
    save_character(folder, style="micah", seed=3)
    kept = own_character(folder)
    assert {picture.attributes["style"] for picture in kept} == {"micah"}
    said = capsys.readouterr().out
    assert said == "your own character: 5 pictures in micah style, which mini was shown\n"
    (folder / "metadata.jsonl").unlink()
    with pytest.raises(ValueError, match=r"0000\.png does not say its style and expression and"):
        own_character(folder)


def test_somebody_kept_without_a_choice_is_the_one_that_results_ship_for(tmp_path):
    save_character(tmp_path / "mine")
    kept = [picture.text for picture in own_character(tmp_path / "mine")]
    assert kept == [picture.text for picture in own_character(tmp_path / "none")]

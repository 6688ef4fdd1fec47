"""Nothing of unclear licence comes in."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from sdlearn.data.characters import STYLES, draw_character
from sdlearn.data.licenses import ALLOWED, FIELDS, license_of, manifest
from sdlearn.data.styles import BASE_STYLES
from sdlearn.data.subjects import SUBJECT_STYLES

ROOT = Path(__file__).parents[2]
SPDX = {"CC0 1.0": "CC0-1.0", "CC BY 4.0": "CC-BY-4.0", "MIT": "MIT"}
WEIGHTS_AND_PICTURES = (".safetensors", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".npy")


def test_every_style_says_what_its_artist_says() -> None:
    for style in STYLES:
        meta = json.loads(files("dicebear_styles").joinpath(f"{style}.json").read_text("utf-8"))
        rights = license_of(style)
        assert rights["license"] == SPDX[meta["meta"]["license"]["name"]]
        assert rights["author"] == meta["meta"]["creator"]["name"]
        assert rights["source"] == meta["meta"]["source"]["url"]


def test_every_entry_is_complete_and_of_an_allowed_licence() -> None:
    for name, rights in manifest().items():
        assert rights["license"] in ALLOWED, name
        assert all(rights[field] for field in FIELDS), name


def test_nothing_is_used_that_the_manifest_does_not_name() -> None:
    with pytest.raises(ValueError, match="'avataaars' has no entry"):
        license_of("avataaars")
    with pytest.raises(ValueError, match="style 'avataaars' does not exist"):
        draw_character("avataaars", 0)


def test_base_and_subject_styles_share_nothing() -> None:
    assert not set(BASE_STYLES) & set(SUBJECT_STYLES)
    assert {"lorelei", "adventurer"} <= set(SUBJECT_STYLES)


def test_every_weight_and_picture_belongs_to_an_entry() -> None:
    tracked = [*(ROOT / "data").rglob("*"), *(ROOT / "book").rglob("*"), *ROOT.glob("*")]
    made = ROOT / "book" / "_build"  # of what has an entry
    tracked = [path for path in tracked if made not in path.parents]
    found = [path for path in tracked if path.suffix in WEIGHTS_AND_PICTURES]
    assert found
    for path in found:
        name = path.relative_to(ROOT)
        entries = [name.parts[1], name.as_posix(), *(p.as_posix() for p in name.parents)]
        assert any(entry in manifest() for entry in entries), name

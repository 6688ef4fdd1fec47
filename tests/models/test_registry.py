"""Where models come from: named with revision, mirrors and licence, and told by `sdlearn info`."""

import re
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from sdlearn import cli
from sdlearn.models import SOURCES, StableDiffusionXL, load
from sdlearn.models.registry import public_name


def test_every_model_of_the_hub_has_a_revision_a_mirror_and_a_licence():
    for source in SOURCES.values():
        assert source.license
        if source.repo is not None:
            assert re.fullmatch(r"[0-9a-f]{40}", source.revision), source.name
            assert source.mirrors
            assert source.repo not in source.mirrors


def test_info_tells_where_each_model_comes_from_and_its_licence(capsys):
    assert cli.main(["info"]) == 0
    shown = capsys.readouterr().out
    for source in SOURCES.values():
        (line,) = (line for line in shown.splitlines() if line.startswith(f"  {source.name} "))
        assert f"({source.license})" in line
        if source.repo is not None:
            assert f"{source.repo} at {source.revision[:8]}" in line
            assert all(mirror in line for mirror in source.mirrors)


def test_a_mirror_is_asked_where_the_first_place_does_not_answer(tiny_xl_folder, monkeypatch):
    asked = []

    def snapshot_download(repo, *, revision, allow_patterns, ignore_patterns):
        asked.append((repo, revision))
        if len(asked) == 1:
            raise OSError("no such repository")
        return str(tiny_xl_folder)

    monkeypatch.setattr("sdlearn.models.loading.snapshot_download", snapshot_download)
    sd = load("sdxl", device="cpu")
    source = SOURCES["sdxl"]
    assert asked == [(source.repo, source.revision), (source.mirrors[0], None)]
    assert isinstance(sd, StableDiffusionXL)
    assert sd.name == "sdxl"


def test_where_no_place_answers_all_are_named(monkeypatch):
    def snapshot_download(repo, **settings):
        raise OSError("no network")

    monkeypatch.setattr("sdlearn.models.loading.snapshot_download", snapshot_download)
    with pytest.raises(ConnectionError, match=r"xl-base-1\.0: OSError; YuCollection.*OSError"):
        load("sdxl", device="cpu")


@pytest.mark.parametrize(
    ("kind", "status", "told", "words"),
    [
        (RepositoryNotFoundError, 401, FileNotFoundError, "check the name"),
        (RevisionNotFoundError, 404, FileNotFoundError, "check the name"),
        (GatedRepoError, 403, PermissionError, "accepted their licence"),
        (HfHubHTTPError, 403, PermissionError, "accepted their licence"),
        (HfHubHTTPError, 500, ConnectionError, "check the network"),
        (LocalEntryNotFoundError, None, ConnectionError, "check the network"),
    ],
)
def test_why_a_model_could_not_be_fetched_is_told(kind, status, told, words, monkeypatch):
    """A mistyped hub id was answered with "check the network"."""
    answer = SimpleNamespace(status_code=status, headers={}, request=None)

    def snapshot_download(repo, **settings):
        if status is None:
            raise kind("no network")
        raise kind("no", response=answer)

    monkeypatch.setattr("sdlearn.models.loading.snapshot_download", snapshot_download)
    with pytest.raises(told, match=f"somebody/nix: {kind.__name__}.*{words}"):
        load("somebody/nix", device="cpu")


def test_any_sdxl_takes_the_learning_rates_of_sdxl(tiny_xl, tiny):
    assert tiny_xl.learning_rates == SOURCES["sdxl"].learning_rates
    assert not tiny.learning_rates


def test_a_model_on_this_machine_is_called_by_its_name_and_never_for_one_that_is_known(
    tmp_path, monkeypatch
):
    (tmp_path / "ada" / "my-model").mkdir(parents=True)
    (tmp_path / "sdxl").mkdir()
    monkeypatch.chdir(tmp_path)
    assert public_name(str(tmp_path / "ada" / "my-model")) == "my-model"
    assert public_name("./sdxl") == "./sdxl"  # whatever it is, and not under the known one's terms
    assert public_name("sdxl") == "sdxl"
    assert public_name("somebody/their-model") == "somebody/their-model"

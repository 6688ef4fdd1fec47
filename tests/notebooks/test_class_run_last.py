"""Chapters 6 to 12 as a class gets them: a file of its own, as a file's tests run one by one."""

import pytest
from class_run import by_chapter, check_class_run


@pytest.mark.slow
@by_chapter("0[6-9]|1.")
def test_with_stubs_and_loaded_results_a_chapter_raises_nothing_else_than_not_implemented(
    source, tmp_path, monkeypatch
):
    check_class_run(source, tmp_path, monkeypatch)

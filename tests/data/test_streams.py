"""Streams: what shards give, in what order, and where they go on."""

import json
from itertools import islice

import pytest
from archives import png, write_archive, write_archives

from sdlearn.data import stream_archives, stream_dataset
from sdlearn.data.shards import WebDatasetShards
from sdlearn.data.streams import PictureStream, StreamRow

pytest.importorskip("webdataset")


def texts(row: StreamRow, count: int, start: int = 0) -> list[str]:
    return [picture.text for _, picture in islice(row.read(start), count)]


def test_pictures_come_with_the_captions_in_text_and_json_files(tmp_path):
    entry = {"text_ja": "赤", "attributes": {"hair": "pixie"}, "url": "elsewhere"}
    path = write_archive(
        tmp_path / "a.tar",
        {
            "x/1.JPG": png(),
            "x/1.txt": b"\xef\xbb\xbfa red person\n",
            "x/1.json": json.dumps(entry).encode(),
            "x/2.png": png(),
            "x/2.json": b'{"caption": "blue"}',
            "x/3.txt": b"no picture",
            "x/4.png": png(),
            "x/4.json": b"{broken",
            "x/5.png": b"no picture either",
        },
    )
    first, second, *others = WebDatasetShards(path).read(0)
    assert (first.text, first.text_ja, first.attributes) == (
        "a red person",
        "赤",
        entry["attributes"],
    )
    assert first.path == path / "x" / "1.jpg"
    assert first.size() == (40, 40)
    assert (second.text, second.text_ja) == ("blue", "")
    reasons = ["no picture with this name", "x/4.*Expecting", "5.png cannot be read as a picture"]
    for broken, words in zip(others, reasons, strict=True):
        with pytest.raises(ValueError, match=words):
            broken.size()


def test_archives_are_named_by_a_folder_braces_or_a_list(tmp_path):
    write_archives(tmp_path)
    names = [str(tmp_path / f"{number:03d}.tar") for number in range(4)]
    for urls in (tmp_path, f"{tmp_path}/{{000..003}}.tar", names):
        assert stream_archives(urls).shards.names == names
    assert stream_archives(names).fingerprint == stream_archives(tmp_path).fingerprint
    assert stream_archives(names[:2]).fingerprint != stream_archives(tmp_path).fingerprint
    with pytest.raises(FileNotFoundError, match=r"there is no archive .*004\.tar"):
        stream_archives(f"{tmp_path}/{{000..004}}.tar")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no archives"):
        stream_archives(tmp_path / "empty")
    with pytest.raises(ValueError, match="no archives are named"):
        stream_archives([])
    with pytest.raises(ValueError, match="shuffle_buffer is 0"):
        stream_archives(tmp_path, shuffle_buffer=0)


def test_archives_from_elsewhere_are_read_through_a_pipe(tmp_path):
    write_archives(tmp_path)
    shards = WebDatasetShards(f"pipe:cat {tmp_path}/{{000,001}}.tar")
    assert [picture.text for picture in shards.read(1)] == ["4", "5", "6"]
    assert shards.count(1) == 3


def test_counting_by_headers_agrees_with_reading_also_of_a_broken_archive(tmp_path):
    whole = WebDatasetShards(write_archives(tmp_path))
    assert [whole.count(number) for number in range(4)] == [4, 3, 5, 2]
    path = tmp_path / "002.tar"
    path.write_bytes(path.read_bytes()[:3000])
    row = StreamRow(whole, seed=0)
    with pytest.warns(UserWarning, match=r"skipped, 1 so far: .*002\.tar is broken") as warned:
        read = texts(row, 24)
    assert len([one for one in warned if one.category is UserWarning]) == 1
    assert len(set(read)) == 10  # 4 of the broken one's pictures are gone
    fresh = StreamRow(whole, seed=0)
    assert texts(fresh, 8, start=16) == read[16:]


def test_each_epoch_shows_every_picture_once_shards_in_another_order(tmp_path):
    row = StreamRow(WebDatasetShards(write_archives(tmp_path)), seed=0)
    read = [(epoch, picture.text) for epoch, picture in islice(row.read(0), 42)]
    epochs = [[text for epoch, text in read if epoch == number] for number in range(3)]
    assert all(sorted(texts, key=int) == [str(i) for i in range(14)] for texts in epochs)
    assert len({tuple(texts) for texts in epochs}) > 1


@pytest.mark.parametrize("start", [0, 1, 4, 13, 14, 15, 31, 100])
def test_a_row_can_be_entered_anywhere_and_reads_no_picture_before(start, tmp_path, monkeypatch):
    shards = WebDatasetShards(write_archives(tmp_path))
    straight = texts(StreamRow(shards, seed=3), 110)
    opened = []
    read = shards.read
    monkeypatch.setattr(shards, "read", lambda number: opened.append(number) or read(number))
    assert texts(StreamRow(shards, seed=3), 5, start=start) == straight[start : start + 5]
    assert len(opened) <= 4  # shards of five pictures, not those before


@pytest.mark.parametrize("processes", [2, 3, 4, 5, 6])
def test_processes_together_show_every_picture_once_an_epoch(processes, tmp_path):
    shards = WebDatasetShards(write_archives(tmp_path))
    for epoch in (0, 1):
        seen = []
        for process in range(processes):
            row = StreamRow(shards, seed=1, process=process, processes=processes)
            for number, picture in row.read(0):
                if number > epoch:
                    break
                seen += [picture.text] if number == epoch else []
        assert sorted(seen, key=int) == [str(i) for i in range(14)]


def test_a_process_without_pictures_says_so_instead_of_waiting_for_ever(tmp_path):
    shards = WebDatasetShards(write_archives(tmp_path, counts=(2,)))
    with pytest.raises(
        ValueError, match=r"no pictures for process 2 in .*give more shards, or fewer"
    ):
        next(StreamRow(shards, seed=0, process=2, processes=3).read(0))
    empty = write_archive(tmp_path / "empty.tar", {"1.md": b"text"})
    with pytest.raises(ValueError, match="no pictures for process 0"):
        next(StreamRow(WebDatasetShards(write_archive(empty, {})), seed=0).read(0))


@pytest.mark.slow
def test_datasets_stream_by_their_files_and_are_not_decoded(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"picture": datasets.Image(), "words": datasets.Value("string")})
    for number in range(3):
        rows = {
            "picture": [{"bytes": png(10 * number + i), "path": None} for i in range(4)],
            "words": [f"{number}{i}" for i in range(4)],
        }
        table = datasets.Dataset.from_dict(rows, features=features)
        table.to_parquet(tmp_path / f"{number}.parquet")
    files = sorted(map(str, tmp_path.glob("*.parquet")))
    data = datasets.load_dataset(
        "parquet", data_files=files, split="train", streaming=True, cache_dir=str(tmp_path)
    )
    stream = stream_dataset(data, image="picture", text="words")
    assert len(stream.shards.names) == 3
    assert [stream.shards.count(number) for number in range(3)] == [4, 4, 4]
    first = stream.first()
    assert (first.text, first.data) == ("00", png(0))
    row = StreamRow(stream.shards, seed=0)
    straight = texts(row, 30)
    assert sorted(straight[:12]) == [f"{n}{i}" for n in range(3) for i in range(4)]
    assert texts(StreamRow(stream.shards, seed=0), 9, start=21) == straight[21:]
    with pytest.raises(ValueError, match='no column "image": it has picture, words'):
        stream_dataset(data)
    with pytest.raises(ValueError, match='the column "words" holds no pictures'):
        stream_dataset(data, image="words", text="words")


def test_a_package_that_is_not_there_is_named_with_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sdlearn.data.shards.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the package webdataset: .*sdlearn\[streams\]"):
        stream_archives(tmp_path)
    with pytest.raises(ValueError, match="needs the package datasets"):
        stream_dataset(None)


def test_an_empty_stream_is_refused(tmp_path):
    write_archive(tmp_path / "0.tar", {"1.md": b"words"})
    stream = stream_archives(tmp_path)
    assert isinstance(stream, PictureStream)
    assert stream.first().problem
    write_archive(tmp_path / "0.tar", {})
    with pytest.raises(ValueError, match="holds no pictures"):
        stream_archives(tmp_path).first()

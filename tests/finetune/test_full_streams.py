"""Full fine-tuning on streams: any number of pictures, exactly resumed, in little memory."""

import weakref
from dataclasses import replace
from itertools import count, pairwise

import pytest
from archives import png, write_archive, write_archives
from runs import same, weights

from sdlearn.data import LazyFolder, stream_archives, write_pictures
from sdlearn.data.encoded import EncodedPicture
from sdlearn.finetune import DreamBooth, FitConfig, FullFineTuning, fit, run
from sdlearn.training.batches import ProcessRank
from sdlearn.training.sources import BatchPlan, ListSource, LoadedBatches, StreamSource

pytest.importorskip("webdataset")
CONFIG = FitConfig(max_train_steps=7, train_batch_size=2, learning_rate=1e-3, use_ema=True)
SQUARE = [(32, 32)]


def cut(batch_size=2, parts=1, process=0, processes=1):
    place = ProcessRank(process=process, processes=processes)
    return BatchPlan(batch_size=batch_size, parts=parts, seed=0, rank=place)


def captions(row, steps, parts=1):
    """The captions of steps, by step and batch."""
    return [
        [p.text for p in row.items(step, part).items] for step in steps for part in range(parts)
    ]


@pytest.fixture
def archives(tmp_path):
    return write_archives(tmp_path / "archives", size=(48, 40))


class PlainLoader:
    """A loader that gives captions; those in `broken` cannot be used."""

    def __init__(self, broken=()):
        self.broken = broken

    def load(self, picture, size):
        if picture.text in self.broken:
            raise ValueError(f"{picture.text} is broken")
        return picture


def test_a_stream_trains_and_goes_on_bit_for_bit_where_it_stopped(loaded_tiny, archives, tmp_path):
    def stream():
        return stream_archives(archives, shuffle_buffer=6)

    straight = FullFineTuning(loaded_tiny)
    losses = run(fit(straight, stream(), CONFIG))
    config = replace(CONFIG, output_dir=tmp_path / "out", checkpointing_steps=5)
    stopped = fit(FullFineTuning(loaded_tiny), stream(), config)
    for step in stopped:
        if step.step == 6:
            break
    stopped.close()
    resumed = FullFineTuning(loaded_tiny)
    config = replace(config, resume=True)
    assert run(fit(resumed, stream(), config)) == losses[5:]
    assert same(weights(resumed), weights(straight))
    with pytest.raises(ValueError, match=r"of a run with other settings \(pictures was"):
        fit(FullFineTuning(loaded_tiny), stream_archives(archives, shuffle_buffer=8), config)


def test_moments_kept_on_disk_train_as_fresh_ones_and_are_made_once(
    loaded_tiny, archives, tmp_path, monkeypatch
):
    losses = run(fit(FullFineTuning(loaded_tiny), stream_archives(archives), CONFIG))
    kept = {"cache_dir": tmp_path / "cache"}
    first = run(fit(FullFineTuning(loaded_tiny, **kept), stream_archives(archives), CONFIG))
    assert first == pytest.approx(losses, rel=1e-4)
    monkeypatch.setattr(EncodedPicture, "decode", lambda _: pytest.fail("decoded"))
    second = run(fit(FullFineTuning(loaded_tiny, **kept), stream_archives(archives), CONFIG))
    assert second == pytest.approx(losses, rel=1e-4)


@pytest.mark.parametrize("step", [0, 3, 4, 11, 30])
def test_what_comes_when_follows_from_the_step(step, archives):
    stream = stream_archives(archives, shuffle_buffer=8)
    straight = captions(StreamSource(stream, cut(), SQUARE, 8), range(33))
    entered = StreamSource(stream, cut(), SQUARE, 8)
    assert captions(entered, range(step, step + 3)) == straight[step : step + 3]


def test_a_stream_shows_every_picture_once_an_epoch_and_shuffles(archives):
    stream = stream_archives(archives, shuffle_buffer=14)
    shown = captions(StreamSource(stream, cut(), SQUARE, 8), range(14))
    for epoch in (shown[:7], shown[7:]):
        assert sorted(int(text) for texts in epoch for text in texts) == list(range(14))
    assert shown[:7] != shown[7:]
    straight = [int(text) for texts in shown[:7] for text in texts]
    assert sum(b == a + 1 for a, b in pairwise(straight)) < 5


def test_two_batches_of_a_step_are_one_of_twice_the_size(archives):
    stream = stream_archives(archives)
    whole = captions(StreamSource(stream, cut(batch_size=4), SQUARE, 8), range(5))
    halves = captions(StreamSource(stream, cut(parts=2), SQUARE, 8), range(5), parts=2)
    assert [halves[i] + halves[i + 1] for i in range(0, 10, 2)] == whole


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_a_stream_without_a_picture_twice(processes, archives):
    shown = []
    for process in range(processes):
        stream = stream_archives(archives, shuffle_buffer=1)
        own = cut(batch_size=1, process=process, processes=processes)
        row = StreamSource(stream, own, SQUARE, 8)
        for step in count():
            items = row.items(step, 0).items
            if row.epoch(0) == 1:
                break
            shown += [picture.text for picture in items]
    assert sorted(shown, key=int) == [str(i) for i in range(14)]


def test_a_block_makes_groups_of_one_shape_of_all_its_pictures(tmp_path):
    sizes = [(40, 40)] * 5 + [(80, 40)] * 4 + [(40, 80)] * 3
    files = {f"{i:02d}.png": png(i, size) for i, size in enumerate(sizes)}
    stream = stream_archives(write_archive(tmp_path / "0.tar", files), shuffle_buffer=12)
    row = StreamSource(stream, cut(batch_size=4), [(32, 32), (24, 40), (40, 24)], 8)
    items = [row.items(step, 0) for step in range(3)]
    shown = sorted(picture.path.name for item in items for picture in item.items)
    assert shown == sorted(files)
    shapes = {item.size: {p.size() for p in item.items} for item in items}
    assert shapes[32, 32] == {(40, 40)} or len(shapes[32, 32]) == 2
    assert {(40, 80)} in shapes.values()


def test_a_broken_picture_is_named_once_and_another_takes_its_place(archives):
    files = {"90.png": b"no picture", "90.txt": b"90", "91.png": png()[:60], "91.txt": b"91"}
    write_archive(archives / "000.tar", files)  # one is found out when it is opened, one later
    stream = stream_archives(archives, shuffle_buffer=4)
    row = StreamSource(stream, cut(), SQUARE, 8)
    batches = LoadedBatches(row, cut(), PlainLoader(broken={"91"}), workers=2)
    with pytest.warns(UserWarning, match="90.png cannot be read") as warned:
        shown = [[p.text for p in batches.batch(number).loaded] for number in range(24)]
    messages = [str(one.message) for one in warned if one.category is UserWarning]
    assert len(messages) == 2
    assert messages[1].startswith("skipped, 2 so far")
    assert all(len(texts) == 2 for texts in shown)
    assert {text for texts in shown for text in texts} == {str(i) for i in range(4, 14)}
    again = LoadedBatches(StreamSource(stream, cut(), SQUARE, 8), cut(), PlainLoader({"91"}), 1)
    with pytest.warns(UserWarning, match="skipped"):
        assert [[p.text for p in again.batch(n).loaded] for n in range(9, 24)] == shown[9:]


def test_where_nothing_can_be_used_the_run_stops_and_says_so(archives):
    everything = {str(i) for i in range(14)}
    row = StreamSource(stream_archives(archives), cut(), SQUARE, 8)
    batches = LoadedBatches(row, cut(), PlainLoader(broken=everything), workers=1)
    with (
        pytest.warns(UserWarning, match="skipped, 14 so far"),
        pytest.raises(ValueError, match="no picture of 100 batches in turn can be used"),
    ):
        batches.batch(0)
    for number in range(4):
        write_archive(archives / f"{number:03d}.tar", {"1.png": b"no picture"})
    row = StreamSource(stream_archives(archives, shuffle_buffer=4), cut(), SQUARE, 8)
    with (
        pytest.warns(UserWarning, match="cannot be read"),
        pytest.raises(ValueError, match="none of 4 pictures in turn can be used"),
    ):
        row.items(0, 0)


def test_however_long_the_stream_only_two_blocks_are_in_memory(tmp_path, monkeypatch):
    write_archives(tmp_path, counts=(40, 40, 40))
    alive: list[weakref.ref] = []
    create = EncodedPicture.__init__

    def counted(self, **fields):
        create(self, **fields)
        if tmp_path in self.path.parents:  # not one that another test's thread still reads
            alive.append(weakref.ref(self))

    monkeypatch.setattr(EncodedPicture, "__init__", counted)
    row = StreamSource(stream_archives(tmp_path, shuffle_buffer=8), cut(), SQUARE, 8)
    batches = LoadedBatches(row, cut(), PlainLoader(), workers=2)
    most = 0
    for number in range(90):
        batches.batch(number)
        most = max(most, sum(reference() is not None for reference in alive))
    assert len(alive) > 150
    assert most <= 2 * 8 + 6  # two blocks, a batch, the next one, and what is just being read


def test_a_folder_read_as_it_comes_keeps_no_picture_either(pictures, tmp_path):
    write_pictures(tmp_path, pictures * 5)
    folder = LazyFolder(tmp_path)
    batches = LoadedBatches(ListSource(folder, SQUARE * 20, cut()), cut(), PlainLoader(), workers=2)
    seen = [weakref.ref(p) for number in range(10) for p in batches.batch(number).loaded]
    assert sum(reference() is not None for reference in seen) <= 4
    assert batches.epoch(20) == 1


def test_methods_that_take_no_stream_and_streams_without_captions_are_refused(
    loaded_tiny, archives, tmp_path
):
    with pytest.raises(ValueError, match="dreambooth takes no stream"):
        fit(DreamBooth(loaded_tiny), stream_archives(archives))
    bare = stream_archives(write_archive(tmp_path / "bare.tar", {"1.png": png()}))
    with pytest.raises(ValueError, match=r'bare\.tar/1\.png has no "text"'):
        fit(FullFineTuning(loaded_tiny), bare)

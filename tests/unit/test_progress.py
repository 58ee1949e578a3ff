"""How far a copy is: from the lines that pg_basebackup and rsync of every age print."""

import pytest

from remote.progress import READERS, Pace, Progress, RsyncFiles, lines_of

KB = 1024


@pytest.mark.parametrize(
    ("line", "progress"),
    [
        ("  1030/19340 kB (5%) 0/1 tablespaces (base/1/2608                   )", Progress(1030 * KB, 19340 * KB, "base/1/2608")),
        (
            "3040/29000 kB (10%), 0/1 tablespace (/var/lib/pg (new)/base/1/1)",
            Progress(3040 * KB, 29000 * KB, "/var/lib/pg (new)/base/1/1"),
        ),
        ("23520/23520 kB (100%), 1/1 tablespace", Progress(23520 * KB, 23520 * KB)),
        ("23521/23520 kB (100%), 0/1 tablespace (...ong/path)", Progress(23521 * KB, 23521 * KB, "...ong/path")),
        ("     72 kB, 0/2 tablespaces (/srv/data/base/5/2608)", Progress(72 * KB, 0, "/srv/data/base/5/2608")),
        ("  72 kB, 2/2 tablespaces", Progress(72 * KB)),
    ],
)
def test_every_line_of_pg_basebackup_is_understood(line: str, progress: Progress) -> None:
    assert READERS["pg_basebackup"](line) == progress


@pytest.mark.parametrize(
    ("line", "done"),
    [
        ("      1,234,567  45%   12.34MB/s    0:00:12 (xfr#5, to-chk=10/20)", 1234567),
        ("         32,768   0%    0.00kB/s    0:00:00", 32768),
        ("        1234567  45%   12.34MB/s    0:00:12 (xfr#5, ir-chk=10/20)", 1234567),
        ("          1.23G  99%  112.34MB/s    0:00:12  ", 1230000000),
        ("      1.234.567  45%   12,34MB/s    0:00:12", 1234567),
    ],
)
def test_every_line_of_rsync_progress2_is_understood(line: str, done: int) -> None:
    assert READERS["rsync"](line) == Progress(done)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "line",
    [
        "",
        "waiting for checkpoint",
        "pg_basebackup: error: 3040/29000 kB",
        "base/5/2608",
        "sent 12 bytes  received 34 bytes  92.00 bytes/sec",
    ],
)
def test_a_line_that_tells_something_else_is_not_taken_for_progress(name: str, line: str) -> None:
    assert READERS[name](line) is None


def test_our_own_scripts_say_it_in_bytes() -> None:
    assert READERS["bytes"]("1048576 of 73400320 bytes: base/16384") == Progress(1048576, 73400320, "base/16384")


def test_rsync_per_file_adds_up_the_files_that_are_done() -> None:
    read = RsyncFiles()
    lines = [
        "    100  50%    1.00kB/s    0:00:01",
        "    200 100%    1.00kB/s    0:00:00 (xfr#1, to-chk=1/2)",
        "     40  10%    1.00kB/s    0:00:09",
        "    400 100%    1.00kB/s    0:00:00 (xfr#2, to-chk=0/2)",
    ]
    assert [progress.done_bytes for line in lines if (progress := read(line))] == [100, 200, 240, 600]


def test_a_carriage_return_ends_a_progress_line() -> None:
    assert lines_of("10%\r20%\r\ndone\n30") == (["10%", "20%", "done"], "30")


def test_a_line_end_cut_in_two_is_one_line_end() -> None:
    lines, rest = lines_of("10%\r")
    more, rest = lines_of(rest + "\n20%\n")
    assert (lines, more, rest) == (["10%"], ["20%"], "")


def test_a_steady_copy_has_its_pace_and_the_time_that_is_left() -> None:
    pace = Pace()
    for second in range(31):
        pace.seen(second, second * 1000)
    assert pace.bytes_per_second == pytest.approx(1000)
    assert pace.eta_seconds(60_000) == pytest.approx(30)


def test_a_pace_follows_a_change_within_the_time_it_is_smoothed_over_and_does_not_jump() -> None:
    pace = Pace()
    for second in range(31):
        pace.seen(second, second * 1000)
    assert 1000 < pace.seen(31, 32_000) < 1500
    for second in range(32, 72):
        pace.seen(second, 32_000 + (second - 31) * 2000)
    assert pace.bytes_per_second == pytest.approx(2000, rel=0.05)


def test_the_time_that_is_left_is_not_told_before_it_is_known() -> None:
    pace = Pace()
    assert pace.eta_seconds(100) is None
    pace.seen(0, 10)
    assert pace.eta_seconds(100) is None
    pace.seen(1, 20)
    assert pace.eta_seconds(0) is None
    assert pace.eta_seconds(100) == pytest.approx(8)


def test_another_attempt_forgets_the_pace_of_the_first() -> None:
    pace = Pace()
    pace.seen(0, 0)
    pace.seen(1, 5000)
    assert pace.seen(2, 0) == 0
    assert pace.seen(3, 10) == pytest.approx(10)

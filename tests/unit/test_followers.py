"""Who commits wait for when roles change, whom a standby follows, and what setup was told: the pure parts."""

import pytest

from jobs.blocks.following import synchronous_names
from jobs.kinds.remove_standby import without_name
from remote.config import conninfo_words


@pytest.mark.parametrize(
    ("value", "after"),
    [
        ("", ""),
        ("pg2", "pg1"),
        ("*", "*"),
        ("FIRST 1 (pg2, pg3)", "FIRST 1 (pg1, pg3)"),
        ('ANY 2 ("pg2", pg3, pg22)', "ANY 2 (pg1, pg3, pg22)"),
        ("ANY 1 (pg1, pg2, pg3)", "ANY 1 (pg1, pg2, pg3)"),
        ("elsewhere", "elsewhere"),
    ],
)
def test_the_old_primary_takes_the_place_of_the_new_one_among_the_synchronous(value: str, after: str) -> None:
    assert synchronous_names(value, "pg2", "pg1") == after


def test_a_name_that_needs_quotes_gets_them() -> None:
    assert synchronous_names('FIRST 1 ("db-2")', "db-2", "db-1") == 'FIRST 1 ("db-1")'
    assert synchronous_names("db2", "db2", "db-1") == '"db-1"'


@pytest.mark.parametrize(
    ("value", "after"),
    [
        ("", ""),
        ("pg3", ""),
        ("pg2, pg3", "pg2"),
        ("2 (pg2, pg3)", "1 (pg2)"),
        ('any 2 (pg1, "pg3", pg2)', "ANY 2 (pg1, pg2)"),
        ("FIRST 3 (pg1, pg2, pg3)", "FIRST 2 (pg1, pg2)"),
        ("ANY 1 (pg3)", ""),
        ("pg33", "pg33"),
        ("*", "*"),
    ],
)
def test_no_more_confirmations_are_asked_for_than_standbys_are_left(value: str, after: str) -> None:
    assert without_name(value, "pg3") == after


def test_a_conninfo_is_read_with_its_quotes() -> None:
    words = conninfo_words("host=10.0.0.1 port=5432 passfile='/srv/with space/it\\'s' application_name=pg2")
    assert words == {"host": "10.0.0.1", "port": "5432", "passfile": "/srv/with space/it's", "application_name": "pg2"}
    assert conninfo_words("postgresql://10.0.0.1/") == {}

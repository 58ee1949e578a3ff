import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote import config

LINES = ("wal_level = replica", "max_wal_senders = 10")
values = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\n\r\0"))
# Hypothesis also tries constants that it finds in the code: a marker in the text is another test's
plain_text = st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.just("\n")).filter(lambda text: "pgpanel" not in text)


@given(values)
def test_a_quoted_value_reads_back_as_itself(value: str) -> None:
    word = config.quoted(value)
    assert config.unquoted(word) == value


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z_]{0,20}", fullmatch=True), values.filter(lambda value: value.isprintable()), max_size=5
    )
)
def test_settings_written_read_back_the_same(settings: dict[str, str]) -> None:
    wanted = {name: value for name, value in settings.items() if not name.startswith("include")}
    assert config.parse_settings("\n".join(config.setting_lines(wanted))) == wanted


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"])
def test_a_value_that_would_break_its_line_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        config.quoted(value)


@given(plain_text)
def test_a_block_put_in_and_taken_out_leaves_the_text_as_it_was(text: str) -> None:
    whole = text if text.endswith("\n") or not text else text + "\n"
    for at in ("start", "end"):
        blocked = config.with_block(whole, LINES, "job-1", at)
        block = config.block_of(blocked)
        assert block is not None
        assert block.lines == LINES
        assert config.without_block(blocked) == whole


@given(plain_text)
def test_putting_the_same_block_in_again_changes_nothing_whoever_asks(text: str) -> None:
    once = config.with_block(text, LINES, "job-1")
    assert config.with_block(once, LINES, "job-2") == once


def test_other_lines_replace_the_block_and_name_who_changed_it() -> None:
    once = config.with_block("port = 5432\n", LINES, "job-1")
    twice = config.with_block(once, ("wal_level = logical",), "job-2")
    assert twice.count(config.BLOCK_START) == 1
    assert "job-2" in twice
    assert "job-1" not in twice
    assert config.parse_settings(twice) == {"port": "5432", "wal_level": "logical"}


def test_a_setting_written_behind_the_block_moves_before_it_again() -> None:
    """The last line of a name wins: what somebody appended would win over the block."""
    text = config.with_block("", LINES, "job-1") + "max_wal_senders = 0\n"
    mended = config.with_block(text, LINES, "job-2")
    assert config.parse_settings(mended)["max_wal_senders"] == "10"
    assert "max_wal_senders = 0" in mended


def test_a_block_whose_end_is_missing_is_refused_and_not_guessed() -> None:
    damaged = config.with_block("", LINES, "job-1").replace(config.BLOCK_END, "")
    with pytest.raises(config.ConfigDamaged, match="line 1"):
        config.with_block(damaged, LINES, "job-2")


def test_two_blocks_are_refused() -> None:
    text = config.with_block("", LINES, "job-1") * 2
    with pytest.raises(config.ConfigDamaged, match="line 1, 4, 5, 8"):
        config.block_of(text)


def test_the_last_line_of_a_name_wins_and_names_ignore_case() -> None:
    text = "Port = 5432\nport 5433 # another way to write it\n#port = 1\n"
    assert config.parse_settings(text) == {"port": "5433"}


def test_strings_are_read_as_postgresql_reads_them() -> None:
    text = r"""
archive_command = 'test ! -f ''/a b/%f'' && cp %p \'/a b/%f\''
log_line_prefix = '%m [%p] # not a comment '   # a comment
custom.setting = 'C:\\tmp\040x'
checkpoint_timeout = 5min
"""
    settings = config.parse_settings(text)
    assert settings["archive_command"] == "test ! -f '/a b/%f' && cp %p '/a b/%f'"
    assert settings["log_line_prefix"] == "%m [%p] # not a comment "
    assert settings["custom.setting"] == r"C:\tmp x"
    assert settings["checkpoint_timeout"] == "5min"


def test_includes_are_seen_and_are_no_settings() -> None:
    text = "include_dir = 'conf.d'\ninclude_if_exists 'extra.conf'\nport = 1\n"
    assert [(item.name, item.value, item.line) for item in config.includes(text)] == [
        ("include_dir", "conf.d", 1), ("include_if_exists", "extra.conf", 2),
    ]  # fmt: skip
    assert config.parse_settings(text) == {"port": "1"}


def test_the_source_page_s_recovery_conf_is_read_with_its_line_that_postgresql_would_refuse() -> None:
    """The page writes two settings into one line; PostgreSQL stops there."""
    text = "standby_mode = 'on'\nprimary_conninfo = 'host=a';trigger_file = '/tmp/pgsql.trigger'\nrestore_command = 'cp x %p'\n"
    assert config.parse_settings(text) == {"standby_mode": "on", "restore_command": "cp x %p"}
    assert config.unreadable_lines(text) == (2,)


def test_alter_system_wins_over_the_block_and_is_told() -> None:
    auto = "# Do not edit\nmax_wal_senders = '3'\nwork_mem = '8MB'\n"
    assert config.overridden_by_auto(auto, ["max_wal_senders", "wal_level"]) == {"max_wal_senders": "3"}
    assert config.without_settings(auto, ["max_wal_senders"]) == "# Do not edit\nwork_mem = '8MB'\n"


@pytest.mark.parametrize(
    ("value", "unit", "count"),
    [
        ("16MB", "", 16 * 1024**2), ("16384", "8kB", 128 * 1024**2), ("64", "16MB", 1024**3), ("1", "MB", 1024**2),
        ("2TB", "", 2 * 1024**4),
        ("-1", "MB", -1), ("524288", "B", 524288), ("1.5GB", "", 1610612736), ("0", "kB", 0),
    ],
)  # fmt: skip
def test_sizes_are_bytes_whatever_their_unit(value: str, unit: str, count: int) -> None:
    assert config.setting_bytes(value, unit) == count


@pytest.mark.parametrize(
    ("value", "unit", "milliseconds"),
    [("5min", "", 300_000), ("300", "s", 300_000), ("60000", "ms", 60_000), ("1d", "", 86_400_000), ("-1", "s", -1)],
)
def test_durations_are_milliseconds_whatever_their_unit(value: str, unit: str, milliseconds: float) -> None:
    assert config.setting_milliseconds(value, unit or "ms") == milliseconds


def test_a_duration_is_no_size_and_a_word_is_neither() -> None:
    with pytest.raises(ValueError, match="not a size"):
        config.setting_bytes("5min")
    with pytest.raises(ValueError, match="not a duration"):
        config.setting_milliseconds("5MB")
    with pytest.raises(ValueError, match="not a number"):
        config.setting_bytes("plenty")


@pytest.mark.parametrize(
    ("one", "other", "unit"),
    [
        ("on", "true", ""),
        ("off", "no", ""),
        ("1GB", "1024MB", ""),
        ("1GB", "131072", "8kB"),
        ("30s", "30000", "ms"),
        ("5min", "300", "s"),
        ("x", "x", ""),
    ],
)
def test_two_spellings_of_one_value_are_the_same(one: str, other: str, unit: str) -> None:
    assert config.is_same_value(one, other, unit)


@pytest.mark.parametrize(
    ("one", "other", "unit"),
    [("on", "off", ""), ("1GB", "1MB", ""), ("replica", "logical", ""), ("10", "5", ""), ("*", "", ""), ("0.5", "0.9", "")],
)
def test_different_values_are_not_the_same(one: str, other: str, unit: str) -> None:
    assert not config.is_same_value(one, other, unit)


@pytest.mark.parametrize(
    "text",
    [
        "primary_conninfo = 'host=a user=b password=hunter2 port=1'",
        "primary_conninfo = 'host=a password=''hunter2 x'' port=1'",
        r"primary_conninfo = 'host=a password=\'hunter2 x\' port=1'",
        "primary_conninfo = 'host=a password = hunter2'",
        "host=a password='hunter2' port=1",
        r"host=a password='hun\'hunter2' port=1",
        "primary_conninfo = 'postgresql://b:hunter2@host/db'",
        "PASSWORD=hunter2",
    ],
)
def test_no_password_of_a_conninfo_is_left_however_it_is_quoted(text: str) -> None:
    clean = config.without_passwords(text)
    assert "hunter2" not in clean
    assert config.MASK in clean


def test_all_but_the_password_is_left() -> None:
    assert config.without_passwords("host=a password=x port=1") == f"host=a password={config.MASK} port=1"
    assert config.without_passwords("password_encryption = md5") == "password_encryption = md5"


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        (
            "host all all 10.0.0.0/8 ldap ldapbindpasswd=hunter2 ldapserver=x",
            "host all all 10.0.0.0/8 ldap ldapbindpasswd=******** ldapserver=x",
        ),
        ('host all all all ldap "ldapbindpasswd=hunter2 more" a=b', 'host all all all ldap "ldapbindpasswd=********" a=b'),
        ('host all all all radius radiussecrets="hunter2, more"', "host all all all radius radiussecrets=********"),
    ],
)
def test_passwords_to_ldap_and_radius_are_masked_too(line: str, clean: str) -> None:
    assert config.without_passwords(line) == clean


def test_a_file_whose_password_was_not_read_is_not_written_back() -> None:
    text = config.without_passwords("port = 1\nrestore_command = 'fetch password=hunter2'\n")
    with pytest.raises(config.ConfigDamaged, match="line 2 holds a password"):
        config.with_block(text, LINES, "job-1")


@pytest.mark.parametrize("character", "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
def test_only_a_newline_ends_a_line(character: str) -> None:
    said = f"x{character}y = 1"
    text = "\n".join(("port = 5432", *config.setting_lines({"archive_command": said}), "fsync = on"))
    assert config.parse_settings(text) == {"port": "5432", "archive_command": said, "fsync": "on"}
    assert config.lines_of(f"a\r\nb{character}b\n\nc") == ["a", f"b{character}b", "", "c"]
    assert "".join(config.lines_with_ends(text)) == text

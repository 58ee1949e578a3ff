import pytest

from remote import config, hba

BLOCK = ("hostssl  replication  pgpanel_replication  10.0.0.2/32  scram-sha-256",)


def test_every_column_is_read() -> None:
    text = """
# TYPE  DATABASE        USER            ADDRESS                 METHOD
local   all             postgres                                peer map=admins
host    replication     replicator      10.0.0.2/32             md5
host    all,"all"       +staff,"the boss"  10.0.0.0 255.0.0.0   ldap ldapserver=x "ldapprefix=cn="
hostssl "my db"         all             ::1/128                 cert  # a remark
"""
    local, replication, staff, quoted = hba.parse_hba(text)
    assert (local.kind, local.method, local.options) == ("local", "peer", ("map=admins",))
    assert (replication.line, replication.address, replication.method) == (4, "10.0.0.2/32", "md5")
    assert staff.address == "10.0.0.0/255.0.0.0"
    assert staff.databases == (hba.Name("all"), hba.Name("all", is_quoted=True))
    assert staff.users == (hba.Name("+staff"), hba.Name("the boss", is_quoted=True))
    assert staff.options == ("ldapserver=x", "ldapprefix=cn=")
    assert quoted.databases == (hba.Name("my db", is_quoted=True),)


def test_lines_that_postgresql_would_refuse_are_no_rules() -> None:
    assert hba.parse_hba("host all all\nnonsense\nhost all all 10.0.0.1/32\n") == ()


def test_a_line_that_ends_in_a_backslash_goes_on() -> None:
    (line,) = hba.parse_hba("host all all \\\n  10.0.0.0/8 \\\n  md5\n")
    assert (line.line, line.address, line.method) == (1, "10.0.0.0/8", "md5")


@pytest.mark.parametrize(
    ("rule", "is_covered"),
    [
        ("host replication pgpanel_replication 10.0.0.2/32 md5", True),
        ("host replication all 10.0.0.0/8 md5", True),
        ("host replication all 10.0.0.0 255.255.255.0 md5", True),
        ("host replication all all md5", True),
        ("host all all 0.0.0.0/0 md5", False),  # `all` does not take replication connections
        ('host "replication" all 0.0.0.0/0 md5', False),  # a database of that name
        ("host replication someone 10.0.0.2/32 md5", False),
        ("host replication all 10.0.0.3/32 md5", False),
        ("host replication all ::/0 md5", False),
        ("host replication /^pgpanel_ 10.0.0.2/32 md5", True),
        ("local replication all peer", False),
    ],
)
def test_a_rule_covers_the_connections_that_postgresql_would_give_it(rule: str, is_covered: bool) -> None:
    (line,) = hba.parse_hba(rule)
    assert line.covers("replication", "pgpanel_replication", "10.0.0.2") == is_covered


def test_a_group_covers_its_members() -> None:
    (line,) = hba.parse_hba("host all +staff 10.0.0.0/8 md5")
    assert line.covers("registry", "ann", "10.0.0.2", groups=["staff"])
    assert not line.covers("registry", "ann", "10.0.0.2")


def test_the_first_line_that_matches_decides_also_when_it_refuses() -> None:
    text = "host replication all 0.0.0.0/0 reject\n" + BLOCK[0] + "\n"
    decides = hba.first_match(text, "replication", "pgpanel_replication", "10.0.0.2")
    assert decides is not None
    assert decides.method == "reject"


def test_a_block_at_the_end_can_be_shadowed_and_one_at_the_start_cannot() -> None:
    text = "host replication all 0.0.0.0/0 reject\n"
    asked = ("replication", "pgpanel_replication", "10.0.0.2")
    shadow = hba.shadowing_line(config.with_block(text, BLOCK, "job-1"), *asked)
    assert shadow is not None
    assert shadow.line == 1
    assert hba.shadowing_line(config.with_block(text, BLOCK, "job-1", at="start"), *asked) is None


def test_a_block_moves_to_the_start_when_somebody_put_a_rule_before_it() -> None:
    text = "host replication all 0.0.0.0/0 reject\n" + config.with_block("local all all peer\n", BLOCK, "job-1", at="start")
    moved = config.with_block(text, BLOCK, "job-2", at="start")
    assert moved.startswith(config.BLOCK_START)
    assert moved.endswith("host replication all 0.0.0.0/0 reject\nlocal all all peer\n")


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("host all all 0.0.0.0/0 trust", "trust"),
        ("host replication replicator 10.0.0.2/32 trust", "trust"),
        ("host all all 10.0.0.0/8 password", "clear"),
        ("host replication all 0.0.0.0/0 md5", "wide"),
        ("host replication all all scram-sha-256", "wide"),
        ("local all all trust", "local-trust"),
    ],
)
def test_lines_that_let_in_more_than_meant_are_found(rule: str, kind: str) -> None:
    assert [danger.kind for danger in hba.hba_dangers(rule)] == [kind]


@pytest.mark.parametrize(
    "rule",
    [
        "host all all 127.0.0.1/32 trust", "host all all ::1/128 trust", "host all all 0.0.0.0/0 reject",
        "hostssl all all 10.0.0.0/8 password",
        "host all all 0.0.0.0/0 scram-sha-256", "local all all peer",
    ],
)  # fmt: skip
def test_harmless_lines_are_not_called_dangerous(rule: str) -> None:
    assert hba.hba_dangers(rule) == ()

"""What a plan binds to: not only what runs, but as whom."""

from dataclasses import replace

from jobs.recipe import Plan, Step, World, planned
from remote.command import Command, Detached, WriteFile
from remote.facts import Facts


def plan_with(*actions) -> Plan:
    step = Step("host.do", "pg1", "Do it", done=lambda _world: False, actions=lambda _world: actions)
    return Plan("small", "Small", (), (planned(step, World({"pg1": Facts("pg1")})),), {})


def test_the_same_command_as_another_account_is_another_plan():
    command = Command(("systemctl", "restart", "postgresql"), user="postgres")
    assert plan_with(command).steps[0].shown == plan_with(command.as_user("root")).steps[0].shown
    assert plan_with(command).hash != plan_with(command.as_user("root")).hash


def test_each_command_is_shown_with_its_account_and_a_file_with_its_owner():
    copy = Detached(Command(("pg_basebackup",), user="postgres"))
    step = plan_with(Command(("true",)), copy, WriteFile("/etc/x", "text", "postgres")).steps[0]
    assert step.commands == (("", "true"), ("postgres", "pg_basebackup"), ("", "write /etc/x (postgres, 0600)"))


def test_what_is_volatile_does_not_change_the_hash():
    plan = plan_with(Command(("true",)))
    assert replace(plan, summary=("12 GB free",), estimate_seconds=3.0).hash == plan.hash

"""What an operator may not bring along: programs of his own for the hosts. An administrator of the cluster sets them."""

from __future__ import annotations

import pytest
from api_world import Api, token_of
from cluster_world import person
from cryptography.fernet import Fernet
from operation_world import three

from jobs import own_commands, services
from jobs.models import Job
from jobs.recipe import ParamsError

pytestmark = pytest.mark.django_db(transaction=True)
UP, DOWN = "/opt/address up", "/opt/address down"


@pytest.fixture(autouse=True)
def world(settings, monkeypatch):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    monkeypatch.setattr(services.tasks, "enqueue_planning", lambda job_id: None)


@pytest.fixture
def cluster(world):
    return three()


@pytest.fixture
def operator(cluster):
    return person("olga", "operator", cluster)


@pytest.fixture
def administrator(cluster):
    return person("ada", "administrator", cluster)


def hook(command: str, node: str = "pg2") -> list[dict]:
    return [{"node": node, "command": command, "timeout_seconds": 30}]


def switchover(cluster, by, **hooks) -> Job:
    return services.job_plan(cluster, "switchover", {"candidate": "pg2", **hooks}, by, "a test")


def test_an_operator_runs_the_commands_that_an_administrator_has_set_and_no_other(cluster, operator, administrator):
    with pytest.raises(ParamsError, match="no administrator has set this command: /opt/address up"):
        switchover(cluster, operator, after=hook(UP))
    switchover(cluster, administrator, after=hook(UP))
    assert switchover(cluster, operator, after=hook(UP, "pg3")).planned_by == operator
    for others in ({"before": hook(UP)}, {"after": hook(f"{UP}; id")}, {"after": hook(UP) + hook(DOWN)}):
        with pytest.raises(ParamsError, match="no administrator has set"):
            switchover(cluster, operator, **others)


def test_what_an_operator_planned_sets_nothing(cluster, operator, administrator):
    Job.objects.create(cluster=cluster, kind="switchover", params={"after": hook(UP)}, planned_by=operator)
    with pytest.raises(ParamsError):
        switchover(cluster, operator, after=hook(UP))


def test_with_the_role_of_who_set_it_goes_the_command(cluster, operator, administrator):
    switchover(cluster, administrator, after=hook(UP))
    administrator.grants.update(role="operator")
    with pytest.raises(ParamsError):
        switchover(cluster, operator, after=hook(UP))


def test_what_was_set_on_another_cluster_counts_for_nothing_here(cluster, operator):
    switchover(three("other"), person("otto", "administrator"), after=hook(UP))
    switchover(cluster, None, before=hook(DOWN))  # manage.py, on the panel's machine
    with pytest.raises(ParamsError):
        switchover(cluster, operator, after=hook(UP))
    switchover(cluster, operator, before=hook(DOWN))


@pytest.mark.parametrize("role", ["operator", "administrator"])
def test_a_token_brings_no_command_that_its_role_may_not_set(cluster, administrator, role):
    api = Api(token_of(administrator, role))
    answer = api.post("/clusters/registry/plans", {"kind": "switchover", "params": {"candidate": "pg2", "after": hook(UP)}})
    if role == "administrator":
        assert answer.status_code == 202
        return
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert (fault["field"], fault["message"]) == ("params.after[0]", f"no administrator has set this command: {UP}")
    assert "have an administrator of the cluster plan it once" in fault["mend"]


def test_the_page_says_it_and_shows_what_was_typed(client, cluster, operator):
    client.force_login(operator)
    given = {"candidate": "pg2", "catch_up_seconds": "10", "after_0_node": "@new", "after_0_command": UP}
    page = client.post("/jobs/new/switchover/?cluster=registry", given)
    assert page.status_code == 422
    assert f"No administrator has set this command: {UP}: leave it out" in page.content.decode()
    assert not Job.objects.exists()


PROGRAMS = [
    "ssl_passphrase_command", "shared_preload_libraries", "Session_Preload_Libraries", " local_preload_libraries",
    "dynamic_library_path", "log_directory", "log_filename", "ssl_key_file", "jit_provider", "plperl.on_init",
    "extension_control_path", "pltcl.start_proc",
]  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_setting_that_names_a_program_or_a_file_is_an_administrators(cluster, operator, administrator, name):
    with pytest.raises(ParamsError, match="program, a library or files"):
        services.job_plan(cluster, "set_parameter", {"name": name, "value": "x"}, operator, "a test")
    assert services.job_plan(cluster, "set_parameter", {"name": name, "value": "x"}, administrator, "a test").pk


@pytest.mark.parametrize("name", ["work_mem", "max_connections", "log_min_duration_statement"])
def test_every_other_setting_is_an_operators_too(cluster, operator, name):
    assert services.job_plan(cluster, "set_parameter", {"name": name, "value": "1"}, operator, "a test").pk


@pytest.mark.parametrize("rows", ["x", 5, None, [5], [{}], [{"command": 5}]])
def test_what_has_not_the_form_of_commands_is_the_kinds_to_refuse(cluster, operator, rows):
    own_commands.refuse_unset(cluster, "switchover", {"after": rows}, operator)

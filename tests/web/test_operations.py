"""What can be done, on buttons: only what makes sense for the roles, in words, each leading to a plan."""

from __future__ import annotations

import re

import pytest
from cryptography.fernet import Fernet
from operation_world import all_kinds, primary_gone, seen, three

from accounts.models import User
from clusters.models import Grant, Quarantine
from clusters.offers import offers_of
from jobs import forms, offers, services
from jobs.kinds import KINDS
from jobs.models import Job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def every_kind_without_a_broker(settings, monkeypatch):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    for name, kind in all_kinds().items():
        monkeypatch.setitem(KINDS, name, kind)
    monkeypatch.setattr(services.tasks, "enqueue", lambda job_id: None)
    monkeypatch.setattr(services.tasks, "enqueue_planning", lambda job_id: None)


@pytest.fixture
def cluster():
    return three()


@pytest.fixture
def ana(cluster, client) -> User:
    user = User.objects.create_user("ana")
    Grant.objects.create(user=user, cluster=cluster, role="operator")
    client.force_login(user)
    return user


def text_of(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def offered(cluster) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for offer in offers_of(cluster, list(cluster.nodes.select_related("state", "cluster"))):
        found.setdefault(offer.kind, []).append(offer.text)
    return found


# -- which, and in what words ---------------------------------------------------------------------------------------------------


def test_the_buttons_name_the_operation_and_both_nodes(cluster):
    found = offered(cluster)
    assert found["switchover"] == [
        "Switch over: pg2 becomes primary, pg1 becomes its standby",
        "Switch over: pg3 becomes primary, pg1 becomes its standby",
    ]
    assert found["rehearse"][0] == "Rehearse the switchover to pg2"
    assert "repair" not in found
    assert "start" not in found
    assert found["rebuild"] == ["Rebuild pg2 as a standby of pg1", "Rebuild pg3 as a standby of pg1"]


def test_a_synchronous_standby_is_the_first_to_take_over(cluster):
    seen(cluster, "pg3", sample={"state": "streaming", "upstream": "pg1", "replay_bytes": 100, "sync_state": "sync"})
    assert offered(cluster)["switchover"][0].startswith("Switch over: pg3 becomes primary")


def test_nothing_is_switched_over_while_the_primary_does_not_answer(cluster):
    primary_gone(cluster)
    assert "switchover" not in offered(cluster)


def test_a_lost_primary_is_rebuilt_and_a_broken_standby_mended_before_anything_else(cluster):
    seen(cluster, "pg1", role="primary", sample={"state": "primary"}, timeline=3)
    Quarantine.objects.create(node=cluster.nodes.get(name="pg1"), reason="promoted away from")
    seen(cluster, "pg2", role="primary", sample={"state": "primary", "is_the_primary": True}, timeline=4)
    seen(cluster, "pg3", sample={"state": "disconnected", "upstream": "pg2"})
    first = offers_of(cluster, list(cluster.nodes.select_related("state", "cluster")))[:2]
    assert [(offer.text, offer.weight) for offer in first] == [
        ("Rebuild pg1 as a standby of pg2", "now"), ("Find out what is wrong with pg3 and mend it", "now"),
    ]  # fmt: skip


def test_a_stopped_node_is_started_unless_it_is_under_quarantine(cluster):
    seen(cluster, "pg3", sample={"state": "unreachable", "cause": "stopped", "upstream": "pg1"})
    assert offered(cluster)["start"] == ["Start PostgreSQL on pg3"]
    Quarantine.objects.create(node=cluster.nodes.get(name="pg3"), reason="was promoted away from")
    assert "start" not in offered(cluster)


def test_a_kind_that_is_not_there_is_not_offered(cluster, monkeypatch):
    monkeypatch.delitem(KINDS, "switchover")
    assert "switchover" not in offered(cluster)


def test_what_was_kept_by_a_rebuild_can_be_put_back_or_deleted_until_it_was(cluster):
    rebuilt = Job.objects.create(cluster=cluster, kind="rebuild", params={"node": "pg2", "keep_days": 3}, status="succeeded")
    assert offered(cluster)["undo_rebuild"] == ["Undo the rebuild of pg2"]
    assert offered(cluster)["forget_old"] == ["Delete the old data directory of pg2"]
    Job.objects.filter(pk=rebuilt.pk).update(ended_at=rebuilt.created_at)
    Job.objects.create(
        cluster=cluster,
        kind="forget_old",
        params={"node": "pg2"},
        status="succeeded",
        ended_at=rebuilt.created_at.replace(year=2999),
    )
    assert "undo_rebuild" not in offered(cluster)


def test_every_row_of_the_table_of_words_has_a_form():
    assert {row.kind for row in offers.ROWS} <= set(forms.FORMS)


# -- pages ----------------------------------------------------------------------------------------------------------------------


def test_the_cluster_page_offers_them_to_an_operator_and_none_to_a_viewer(client, cluster, ana):
    assert "Switch over: pg2 becomes primary, pg1 becomes its standby" in text_of(client.get("/c/registry/"))
    Grant.objects.filter(user=ana).update(role="viewer")
    assert "Switch over" not in text_of(client.get("/c/registry/"))


def test_the_node_page_offers_only_its_own(client, cluster, ana):
    text = text_of(client.get("/c/registry/n/pg3/"))
    assert "Restart PostgreSQL on pg3" in text
    assert "Restart PostgreSQL on pg2" not in text


def test_trouble_with_the_primary_leads_to_the_promote_page_in_one_click(client, cluster, ana):
    primary_gone(cluster)
    for page in ("/", "/c/registry/"):
        assert re.search(
            r'href="/c/registry/promote"[^>]*>What is proven, and who can take over', client.get(page).content.decode()
        ), page


def test_the_promote_page_is_always_one_click_from_the_cluster_page(client, cluster, ana):
    assert 'href="/c/registry/promote"' in client.get("/c/registry/").content.decode()


def test_a_running_job_is_told_with_its_person(client, cluster, ana):
    bo = User.objects.create_user("bo")
    Job.objects.create(cluster=cluster, kind="switchover", title="Switch over to pg2", status="running", started_by=bo)
    for page in ("/c/registry/", "/c/registry/n/pg2/", "/c/registry/promote"):
        assert "A job runs: Switch over to pg2, started by bo." in text_of(client.get(page)), page


# -- from the button to the plan --------------------------------------------------------------------------------------------------


def test_a_button_leads_to_a_plan_with_what_the_settings_page_would_have_sent(client, cluster, ana):
    response = client.post("/jobs/new/switchover/?cluster=registry", {"unasked": "yes", "candidate": "pg3"})
    job = Job.objects.get()
    assert response.url == f"/jobs/{job.pk}/plan/"
    assert job.params == {
        "candidate": "pg3", "catch_up_seconds": 10, "allow_long_transactions": False, "before": [], "after": [],
    }  # fmt: skip


def test_a_button_for_what_is_no_longer_so_shows_the_settings_instead(client, cluster, ana):
    response = client.post("/jobs/new/switchover/?cluster=registry", {"unasked": "yes", "candidate": "pg1"})
    assert response.status_code == 422
    assert not Job.objects.exists()


PARAMS = {
    "rehearse": ({"candidate": "pg2"}, {"candidate": "pg2"}),
    "rebuild": ({"node": "pg2"}, {"node": "pg2", "method": "auto", "keep_days": 7}),
    "undo_rebuild": ({"node": "pg2"}, {"node": "pg2"}),
    "repair": ({"node": "pg3"}, {"node": "pg3", "cure": "auto"}),
    "repoint": ({"node": "pg3", "upstream": "pg2"}, {"node": "pg3", "upstream": "pg2"}),
    "remove_standby": ({"node": "pg3"}, {"node": "pg3"}),
    "start": ({"node": "pg2"}, {"node": "pg2"}),
    "stop": ({"node": "pg2"}, {"node": "pg2"}),
    "restart": ({"node": "pg1"}, {"node": "pg1"}),
    "reload": ({"node": "pg1"}, {"node": "pg1"}),
    "rotate_password": ({"purpose": "monitoring"}, {"purpose": "monitoring"}),
}


@pytest.mark.parametrize("kind", PARAMS)
def test_each_form_makes_the_parameters_of_its_kind(client, cluster, ana, kind):
    given, params = PARAMS[kind]
    client.post(f"/jobs/new/{kind}/?cluster=registry", {"unasked": "yes"} | given)
    assert Job.objects.get().params == params


def test_a_setting_for_all_nodes_is_asked_for(client, cluster, ana):
    assert "Setting" in text_of(client.get("/jobs/new/set_parameter/?cluster=registry"))
    client.post("/jobs/new/set_parameter/?cluster=registry", {"name": "work_mem", "value": "64MB"})
    assert Job.objects.get().params == {"name": "work_mem", "value": "64MB"}


def test_the_old_directory_is_only_deleted_by_the_name_of_its_node(client, cluster, ana):
    response = client.post("/jobs/new/forget_old/?cluster=registry", {"node": "pg2", "typed": "pg3"})
    assert response.status_code == 422
    client.post("/jobs/new/forget_old/?cluster=registry", {"node": "pg2", "typed": "pg2"})
    assert Job.objects.get().params == {"node": "pg2"}


def test_a_node_cannot_follow_itself_or_who_follows_it(client, cluster, ana):
    seen(cluster, "pg3", sample={"state": "streaming", "upstream": "pg2"})
    response = client.post("/jobs/new/repoint/?cluster=registry", {"node": "pg2", "upstream": "pg3"})
    assert "pg3 is pg2 itself, or follows it." in text_of(response)


def test_commands_before_and_after_name_their_node_by_role(client, cluster, ana):
    ana.grants.update(role="administrator")
    given = {
        "candidate": "pg2", "catch_up_seconds": "20", "before_0_node": "@old", "before_0_command": "/opt/address down",
        "before_0_seconds": "5", "after_0_node": "@new", "after_0_command": "/opt/address up", "after_0_seconds": "",
    }  # fmt: skip
    client.post("/jobs/new/switchover/?cluster=registry", given)
    job = Job.objects.get()
    assert job.params["before"] == [{"node": "pg1", "command": "/opt/address down", "timeout_seconds": 5}]
    assert job.params["after"] == [{"node": "pg2", "command": "/opt/address up", "timeout_seconds": 30}]


def test_the_commands_of_the_last_switchover_serve_the_way_back_with_their_roles_turned_round(client, cluster, ana):
    hooks = {"before": [{"node": "pg2", "command": "/opt/address down", "timeout_seconds": 5}], "after": []}
    Job.objects.create(
        cluster=cluster, kind="switchover", status="succeeded", params={"candidate": "pg1", **hooks},
        plan={"identities": {"pg1": {"role": "standby"}, "pg2": {"role": "primary"}}},
    )  # fmt: skip
    client.post("/jobs/new/switchover/?cluster=registry", {"unasked": "yes", "candidate": "pg2"})
    assert Job.objects.first().params["before"] == [{"node": "pg1", "command": "/opt/address down", "timeout_seconds": 5}]


def test_the_plan_s_button_is_the_operation_by_the_roles_that_the_plan_found(client, cluster, ana):
    identities = {"pg1": {"role": "primary"}, "pg2": {"role": "standby"}}
    job = Job.objects.create(
        cluster=cluster, kind="switchover", status="planned", title="Switch over to pg2", params={"candidate": "pg2"},
        plan={"kind": "switchover", "title": "Switch over to pg2", "identities": identities}, plan_hash="a" * 64, planned_by=ana,
    )  # fmt: skip
    page = client.get(f"/jobs/{job.pk}/plan/").content.decode()
    assert (
        '<button type="submit" class="btn btn-primary">Switch over: pg2 becomes primary, pg1 becomes its standby</button>' in page
    )


REAL = {
    "switchover": {"candidate": "pg2"},
    "rehearse": {"candidate": "pg2"},
    "rebuild": {"node": "pg2"},
    "undo_rebuild": {"node": "pg2"},
    "forget_old": {"node": "pg2", "typed": "pg2"},
    "repair": {"node": "pg3"},
    "repoint": {"node": "pg3", "upstream": "pg2"},
    "remove_standby": {"node": "pg3"},
    "start": {"node": "pg2"},
    "stop": {"node": "pg2"},
    "restart": {"node": "pg2"},
    "reload": {"node": "pg2"},
    "set_parameter": {"name": "work_mem", "value": "64MB"},
    "rotate_password": {"purpose": "replication"},
}


@pytest.mark.parametrize("name", REAL)
def test_what_each_form_sends_is_what_its_kind_takes(cluster, monkeypatch, name):
    monkeypatch.undo()
    form_class = forms.FORMS[name]
    form = form_class(form_class.as_sent(cluster, REAL[name]), cluster=cluster)
    assert form.is_valid(), form.errors
    assert KINDS[name].title(KINDS[name].params(form.params()))


def test_the_setup_form_says_in_plain_words_what_zero_means(cluster, monkeypatch):
    from cluster_world import facts_of, postgres

    from remote.facts import facts_to_json

    seen(cluster, "pg1", role="primary", facts=facts_to_json(facts_of("pg1", postgres())))
    assert "at most 16,384 MB on pg1" in forms.kept_words(cluster, "pg1")
    assert "not a reservation" in forms.kept_words(cluster, "pg1")


def test_a_node_under_quarantine_takes_nothing_over_and_is_named_until_it_is_rebuilt(client, cluster, ana):
    Quarantine.objects.create(node=cluster.nodes.get(name="pg2"), reason="was promoted away from")
    found = offered(cluster)
    assert found["switchover"] == ["Switch over: pg3 becomes primary, pg1 becomes its standby"]
    assert found["rebuild"][0] == "Rebuild pg2 as a standby of pg1"
    assert "pg2 is under quarantine until it is rebuilt." in text_of(client.get("/c/registry/"))

"""People: the first administrator, the front door, and who gives which role."""

import stat

import pytest
from cluster_world import cluster_of_two, person
from django.core.cache import cache
from django.core.management import call_command

from accounts.models import User
from clusters.models import Grant
from clusters.rights import may

pytestmark = pytest.mark.django_db
GOOD = "a long enough passphrase"


def test_the_first_administrator_is_made_once_and_the_password_printed_once(capsys):
    call_command("first_administrator")
    said = capsys.readouterr().out
    password = said.rsplit(" ", 1)[1].strip()
    admin = User.objects.get()
    assert admin.username == "admin"
    assert admin.check_password(password)
    assert may(admin, "administrator", None)
    call_command("first_administrator")
    assert "nothing changed" in capsys.readouterr().out
    assert User.objects.count() == 1


def test_the_first_administrators_password_can_stand_in_a_file_for_its_owner_only(tmp_path, capsys):
    file = tmp_path / "password"
    call_command("first_administrator", "--password-file", str(file))
    password = file.read_text().strip()
    assert User.objects.get().check_password(password)
    assert password not in capsys.readouterr().out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_first_administrators_password_can_be_given_by_a_file(tmp_path, capsys):
    file = tmp_path / "password"
    file.write_text(f"{GOOD}\n")
    call_command("first_administrator", "--password-file", str(file))
    assert User.objects.get().check_password(GOOD)
    assert GOOD not in capsys.readouterr().out


def test_one_logs_in_by_name_and_lands_on_the_fleet(client):
    User.objects.create_superuser("admin", password=GOOD)
    answer = client.post("/accounts/login/", {"login": "admin", "password": GOOD}, follow=True)
    assert answer.redirect_chain[-1][0] == "/"
    assert "No cluster yet" in answer.content.decode()


def test_guessing_passwords_is_slowed_down(client):
    cache.clear()
    User.objects.create_superuser("admin", password=GOOD)
    for _guess in range(6):
        client.post("/accounts/login/", {"login": "admin", "password": "wrong"})
    answer = client.post("/accounts/login/", {"login": "admin", "password": GOOD})
    assert answer.status_code in (200, 429)
    assert "_auth_user_id" not in client.session


def test_nobody_signs_up(client):
    answer = client.post("/accounts/signup/", {"username": "eve", "password1": GOOD})
    assert answer.status_code in (200, 404)
    assert not User.objects.filter(username="eve").exists()


def test_an_administrator_lets_a_person_in_and_gives_a_role(client):
    cluster, *_nodes = cluster_of_two()
    client.force_login(person("boss", "administrator"))
    client.post("/people/", {"do": "person", "person-username": "bob", "person-password": GOOD})
    bob = User.objects.get(username="bob")
    assert not may(bob, "viewer", cluster)
    for role in ("viewer", "operator"):  # the second one replaces the first
        client.post("/people/", {"do": "grant", "grant-user": bob.pk, "grant-cluster": cluster.pk, "grant-role": role})
    assert may(bob, "operator", cluster)
    assert Grant.objects.filter(user=bob).count() == 1
    client.post(f"/people/grants/{Grant.objects.get(user=bob).pk}/remove/")
    assert not may(bob, "viewer", cluster)


def test_a_role_over_all_clusters_is_kept_once_however_often_it_is_given(client):
    client.force_login(person("boss", "administrator"))
    bob = person("bob")
    for role in ("viewer", "administrator"):
        client.post("/people/", {"do": "grant", "grant-user": bob.pk, "grant-cluster": "", "grant-role": role})
    assert [grant.role for grant in Grant.objects.filter(user=bob)] == ["administrator"]


@pytest.mark.parametrize(("password", "words"), [("short", "too short"), ("password1234", "too common")])
def test_a_weak_password_is_refused_with_the_reason(client, password, words):
    client.force_login(person("boss", "administrator"))
    page = client.post("/people/", {"do": "person", "person-username": "bob", "person-password": password}).content.decode()
    assert words in page
    assert not User.objects.filter(username="bob").exists()


def test_somebody_shut_out_is_out_and_nobody_shuts_himself_out(client):
    boss, bob = person("boss", "administrator"), person("bob")
    client.force_login(bob)
    other = client_of(boss)
    other.post(f"/people/{bob.pk}/active/")
    other.post(f"/people/{boss.pk}/active/")
    assert client.get("/").status_code == 302
    assert other.get("/").status_code == 200


def client_of(user):
    from django.test import Client

    made = Client()
    made.force_login(user)
    return made

"""People: the first administrator, the front door, and who gives which role."""

import re
import stat

import pytest
from cluster_world import cluster_of_two, person
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import AuditEntry, User
from clusters.models import Grant
from clusters.rights import may

pytestmark = pytest.mark.django_db
GOOD = "a long enough passphrase"


@pytest.fixture(autouse=True)
def passwords_are_hashed_fast(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


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


def link_in(page) -> str:
    """The one that the page shows, without its host."""
    return re.search(r"http://testserver(/accounts/password/reset/key/[^<]+/)</code>", page.content.decode()).group(1)


def choose(client, link: str, password: str):
    """As a person does who opens the link."""
    return client.post(client.get(link).url, {"password1": password, "password2": password})


def test_an_administrator_lets_a_person_in_and_gives_a_role(client):
    cluster, *_nodes = cluster_of_two()
    client.force_login(person("boss", "administrator"))
    page = client.post("/people/", {"do": "person", "person-username": "bob", "person-full_name": "Bob B. Builder"})
    bob = User.objects.get(username="bob")
    assert (bob.first_name, bob.last_name, bob.has_usable_password()) == ("Bob", "B. Builder", False)
    assert page["Cache-Control"] == "no-store"
    theirs = Client()
    choose(theirs, link_in(page), GOOD)
    theirs.post("/accounts/login/", {"login": "bob", "password": GOOD})
    assert theirs.get("/").status_code == 200
    assert not may(bob, "viewer", cluster)
    for role in ("viewer", "operator"):  # the second one replaces the first
        client.post("/people/", {"do": "grant", "grant-user": bob.pk, "grant-cluster": cluster.pk, "grant-role": role})
    assert may(bob, "operator", cluster)
    assert Grant.objects.filter(user=bob).count() == 1
    client.post(f"/people/grants/{Grant.objects.get(user=bob).pk}/remove/")
    assert not may(bob, "viewer", cluster)


def test_a_link_serves_once_and_not_for_long(client, settings):
    client.force_login(person("boss", "administrator"))
    bob = person("bob")
    link = link_in(client.post(f"/people/{bob.pk}/link/"))
    theirs = Client()
    choose(theirs, link, GOOD)
    bob.refresh_from_db()
    assert bob.check_password(GOOD)
    assert "This link is used up" in Client().get(link).content.decode()
    late = link_in(client.post(f"/people/{bob.pk}/link/"))
    settings.PASSWORD_RESET_TIMEOUT = -1
    assert "This link is used up" in Client().get(late).content.decode()


@pytest.mark.parametrize(
    ("password", "words"), [("short", "too short"), ("password1234", "too common"), ("bobbuilder-bob", "similar")]
)
def test_a_weak_password_is_refused_with_the_reason(client, password, words):
    client.force_login(person("boss", "administrator"))
    bob = person("bobbuilder-bob")
    link = link_in(client.post(f"/people/{bob.pk}/link/"))
    assert words in choose(Client(), link, password).content.decode()
    bob.refresh_from_db()
    assert not bob.check_password(password)


def test_a_new_password_by_link_ends_every_session(client):
    client.force_login(person("boss", "administrator"))
    bob = person("bob")
    theirs = client_of(bob)
    choose(Client(), link_in(client.post(f"/people/{bob.pk}/link/")), GOOD)
    assert theirs.get("/").status_code == 302


def test_a_program_is_listed_apart_and_never_signs_in(client):
    client.force_login(person("boss", "administrator"))
    client.post("/people/", {"do": "person", "person-username": "backup-job", "person-is_service": "on"})
    program = User.objects.get(username="backup-job")
    assert program.is_service
    page = client.get("/people/").content.decode()
    assert page.index("Programs") < page.index("backup-job")
    assert "reset/key" not in client.post(f"/people/{program.pk}/link/", follow=True).content.decode()


def test_an_administrator_signs_somebody_out_everywhere(client):
    client.force_login(person("boss", "administrator"))
    bob = person("bob")
    phone, desk = client_of(bob), client_of(bob)
    assert phone.get("/").status_code == desk.get("/").status_code == 200
    client.post(f"/people/{bob.pk}/sign-out/")
    assert phone.get("/").status_code == desk.get("/").status_code == 302
    assert AuditEntry.objects.get(action="session.end").detail == {"sessions": 2}


def test_somebody_let_in_again_has_no_old_session(client):
    client.force_login(person("boss", "administrator"))
    bob = person("bob")
    theirs = client_of(bob)
    assert theirs.get("/").status_code == 200
    for _turn in range(2):
        client.post(f"/people/{bob.pk}/active/")
    bob.refresh_from_db()
    assert bob.is_active
    assert theirs.get("/").status_code == 302


@pytest.mark.parametrize("what", ["active", "link", "sign-out", "forget-factors"])
def test_only_an_administrator_over_all_does_anything_to_people(client, what):
    cluster, *_nodes = cluster_of_two()
    client.force_login(person("eve", "administrator", cluster))
    bob = person("bob")
    assert client.post(f"/people/{bob.pk}/{what}/").status_code == 403
    assert client.get(f"/people/{bob.pk}/").status_code == 403
    assert not AuditEntry.objects.filter(action__startswith="person.").exists()


def test_the_people_page_says_what_somebody_last_did(client):
    boss = person("boss", "administrator")
    client.force_login(boss)
    client.post("/people/", {"do": "person", "person-username": "bob"})
    assert "person.link" in client.get("/people/").content.decode()
    assert "person.link" in client.get(f"/people/{boss.pk}/").content.decode()


def test_the_commands_let_back_in_whoever_is_locked_out(capsys):
    from allauth.mfa.models import Authenticator
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    root = User.objects.create_superuser("root", password=GOOD)
    TOTP.activate(root, generate_totp_secret())
    call_command("person", "forget-factors", "root")
    assert not Authenticator.objects.exists()
    call_command("person", "link", "root", "--url", "http://testserver")
    link = capsys.readouterr().out.split("http://testserver")[1].strip()
    choose(Client(), link, "quite another passphrase")
    root.refresh_from_db()
    assert root.check_password("quite another passphrase")
    with pytest.raises(CommandError, match="nobody"):
        call_command("person", "link", "nobody")


def test_a_role_over_all_clusters_is_kept_once_however_often_it_is_given(client):
    client.force_login(person("boss", "administrator"))
    bob = person("bob")
    for role in ("viewer", "administrator"):
        client.post("/people/", {"do": "grant", "grant-user": bob.pk, "grant-cluster": "", "grant-role": role})
    assert [grant.role for grant in Grant.objects.filter(user=bob)] == ["administrator"]


def test_somebody_shut_out_is_out_and_nobody_shuts_himself_out(client):
    boss, bob = person("boss", "administrator"), person("bob")
    client.force_login(bob)
    other = client_of(boss)
    other.post(f"/people/{bob.pk}/active/")
    other.post(f"/people/{boss.pk}/active/")
    assert client.get("/").status_code == 302
    assert other.get("/").status_code == 200


def client_of(user):
    made = Client()
    made.force_login(user)
    return made

"""Forms of the wizard's two first pages, of clusters and nodes, and of people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.tokens import networks_read
from clusters.drafts import cluster_name_free
from clusters.models import Cluster, Credential, Draft, Grant, Node, host_validator, name_validator, user_validator
from remote.layouts import LAYOUTS, LONGEST, OVERRIDABLE, why_not

LAYOUT_CHOICES = [(name, layout.label) for name, layout in LAYOUTS.items()]
OVERRIDE_LABELS = {
    "data_directory": _("data directory"),
    "config_directory": _("configuration directory"),
    "bin_directory": _("directory of the programs"),
    "wal_archive_directory": _("directory of archived WAL"),
    "log_file": _("server log"),
    "owner": _("operating system account of PostgreSQL"),
    "service": _("service"),
    "start_command": _("command that starts it"),
    "stop_command": _("command that stops it"),
    "restart_command": _("command that restarts it"),
}


ADDRESS_OF_HOST, ADDRESS_OF_JUMP_HOST = {"ssh_host", "ssh_port"}, {"jump_host", "jump_port"}
ADDRESS = ADDRESS_OF_HOST | ADDRESS_OF_JUMP_HOST


def _port(label: Any, initial: int, **options: Any) -> forms.IntegerField:
    return forms.IntegerField(label=label, min_value=1, max_value=65535, initial=initial, **options)


def override_field(name: str, **options: Any) -> forms.CharField:
    """A path, account, service or command that differs from the layout's own."""

    def check(value: str) -> None:
        if why := why_not(name, value):
            raise ValidationError(why[:1].upper() + why[1:] + ".")

    widget = forms.TextInput(attrs={"spellcheck": "false"})
    return forms.CharField(
        label=OVERRIDE_LABELS[name], required=False, max_length=LONGEST, widget=widget, validators=[check], **options
    )


class HostForm(forms.Form):
    """One host of page 1."""

    name = forms.CharField(label=_("Name"), max_length=39, validators=[name_validator])
    ssh_host = forms.CharField(label=_("SSH address"), max_length=253, validators=[host_validator])
    ssh_port = _port(_("SSH port"), 22)
    ssh_user = forms.CharField(label=_("SSH user"), max_length=63, initial="root", validators=[user_validator])
    postgres_port = _port(_("PostgreSQL port"), 5432)
    node_address = forms.CharField(
        label=_("Address for the other nodes"), max_length=253, required=False, validators=[host_validator],
        help_text=_("If they reach it by another one than the panel does."),
    )  # fmt: skip
    jump_host = forms.CharField(label=_("Jump host"), max_length=253, required=False, validators=[host_validator])
    jump_port = _port(_("SSH port of the jump host"), 22, required=False)
    jump_user = forms.CharField(label=_("User on the jump host"), max_length=63, required=False, validators=[user_validator])

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in self.fields:
            self.fields[name].widget.attrs |= {"autocomplete": "off", "spellcheck": "false"}

    def clean_jump_port(self) -> int:
        return self.cleaned_data.get("jump_port") or 22

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        cleaned["node_address"] = cleaned.get("node_address") or cleaned.get("ssh_host", "")
        return cleaned

    @property
    def has_more(self) -> bool:
        """Is anything set in the folded part (so that it stands open)?"""
        more = ("node_address", "jump_host", "jump_user")
        return any(self[name].value() or self[name].errors for name in more) or str(self["ssh_port"].value()) != "22"


if TYPE_CHECKING:  # Django's own forms take no type parameter at run time
    HostFormSetBase = forms.BaseFormSet[HostForm]
    ClusterFormBase = forms.ModelForm[Cluster]
    NodeFormBase = forms.ModelForm[Node]
else:
    HostFormSetBase, ClusterFormBase, NodeFormBase = forms.BaseFormSet, forms.ModelForm, forms.ModelForm


class HostFormSet(HostFormSetBase):
    def clean(self) -> None:
        seen: dict[str, set[Any]] = {"name": set(), "server": set()}
        for form in self.forms:
            row = form.cleaned_data
            server = (row.get("node_address"), row.get("postgres_port"))
            if row.get("name") and row["name"] in seen["name"]:
                form.add_error("name", _("Another host has this name already."))
            if row.get("ssh_host") and server in seen["server"]:
                form.add_error("ssh_host", _("Another host has this address and port already."))
            seen["name"].add(row.get("name"))
            seen["server"].add(server)

    def is_valid(self) -> bool:
        # BaseFormSet does not look at errors that its own clean() put on the forms
        return super().is_valid() and not any(form.errors for form in self.forms)


Hosts = forms.formset_factory(HostForm, formset=HostFormSet, extra=0, min_num=1, max_num=16, validate_min=True)


class AccessForm(forms.Form):
    """The cluster's name and how its hosts are logged into. Secrets are write-only: never rendered back."""

    cluster_name = forms.CharField(
        label=_("Name of the cluster"), max_length=39, validators=[name_validator],
        help_text=_("Small letters, digits and hyphens: registry-prod."),
    )  # fmt: skip
    access = forms.ChoiceField(
        label=_("Access"), choices=Draft.Access.choices, initial=Draft.Access.MADE_KEY, widget=forms.RadioSelect
    )
    key_text = forms.CharField(
        label=_("Private key"), required=False, strip=False,
        widget=forms.Textarea(attrs={"rows": 5, "autocomplete": "off", "spellcheck": "false", "class": "font-monospace"}),
    )  # fmt: skip
    password = forms.CharField(
        label=_("Password"), required=False, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "off"})
    )

    def __init__(self, *args: Any, draft: Draft, **options: Any) -> None:
        super().__init__(*args, **options)
        self.draft = draft
        if draft.cluster_id:
            del self.fields["cluster_name"]

    def clean_cluster_name(self) -> str:
        name: str = self.cleaned_data["cluster_name"]
        cluster_name_free(name)
        return name


class FoundForm(forms.Form):
    """What a person chooses for one host on page 2."""

    NONE = "none"

    data_directory = forms.ChoiceField(label=_("Database cluster"), widget=forms.RadioSelect)
    layout = forms.ChoiceField(label=_("Layout"), choices=LAYOUT_CHOICES)

    def __init__(self, *args: Any, found: list[tuple[str, str]], has_choice: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        choice = self.fields["data_directory"]
        assert isinstance(choice, forms.ChoiceField)
        choice.choices = [*found, (self.NONE, _("None of these: a new standby"))]
        if not has_choice:
            del self.fields["data_directory"]
        for name in OVERRIDABLE:
            self.fields[name if name != "data_directory" else "own_data_directory"] = override_field(name)

    @property
    def chosen(self) -> str:
        """The data directory of the chosen database cluster; "" for none."""
        wanted: str = self.cleaned_data.get("data_directory", "")
        return "" if wanted == self.NONE else wanted

    def overrides(self) -> dict[str, str]:
        values = {name: self.cleaned_data.get(name, "") for name in OVERRIDABLE if name != "data_directory"}
        return values | {"data_directory": self.cleaned_data.get("own_data_directory", "")}

    @property
    def override_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in ("data_directory", "layout")]


class NetworksField(forms.Field):
    """Networks in CIDR form, separated by commas; a list in Python."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:
        try:
            return networks_read(value if isinstance(value, list) else str(value or "").split(","))
        except ValidationError as error:
            raise ValidationError(error.message_dict["networks"]) from None


class ClusterForm(ClusterFormBase):
    class Meta:
        model = Cluster
        fields = ("name", "description", "sample_interval_seconds", "probe_networks")
        labels = {"sample_interval_seconds": _("Seconds between two looks")}

    probe_networks = NetworksField(
        label=_("Networks of load balancers"), required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text=_("From these anybody may ask who is primary without a token: 10.20.0.5, 10.30.0.0/24. Empty: nobody."),
    )  # fmt: skip


class NodeForm(NodeFormBase):
    """A node's addresses and layout. Its host key falls when the address changes: it has to be accepted again."""

    class Meta:
        model = Node
        fields = (
            "name", "ssh_host", "ssh_port", "ssh_user", "node_address", "postgres_port",
            "jump_host", "jump_port", "jump_user", "layout",
        )  # fmt: skip

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["layout"] = forms.ChoiceField(label=_("Layout"), choices=LAYOUT_CHOICES)
        if self.instance.host_key:
            self.fields["is_reinstalled"] = forms.BooleanField(
                label=_("The host was reinstalled: forget its host key, and show the new one to be accepted"), required=False
            )
        if self.instance.is_by_password:
            self.fields["password"] = forms.CharField(
                label=_("SSH password"), required=False, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
                help_text=_("Where the address changes: the kept one is not sent to another host unless you type it."),
            )  # fmt: skip
        for name in OVERRIDABLE:
            self.fields[f"own_{name}"] = override_field(name, initial=self.instance.overrides.get(name, ""))

    def clean(self) -> dict[str, Any]:
        """Whoever may edit a node, but does not know its password, must not be able to have it sent to a host of his own."""
        cleaned: dict[str, Any] = super().clean() or {}
        if "password" in self.fields and ADDRESS & set(self.changed_data) and not cleaned.get("password"):
            self.add_error("password", _("The address changes: type the password for it."))
        return cleaned

    @property
    def plain_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if not name.startswith("own_")]

    @property
    def override_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith("own_")]

    def save(self, commit: bool = True) -> Node:
        node = super().save(commit=False)
        node.overrides = {name: self.cleaned_data[f"own_{name}"] for name in OVERRIDABLE if self.cleaned_data[f"own_{name}"]}
        if {*ADDRESS_OF_HOST, "is_reinstalled"} & set(self.changed_data):
            node.host_key = ""
        if ADDRESS_OF_JUMP_HOST & set(self.changed_data):
            node.jump_host_key = ""
        if commit:
            node.save()
        return node


class RemoveForm(forms.Form):
    """The name of what is removed, typed."""

    name = forms.CharField(label=_("Its name"), widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}))

    def __init__(self, *args: Any, expected: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.expected = expected

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if name != self.expected:
            raise ValidationError(_("Type “%(name)s”.") % {"name": self.expected})
        return name


class CredentialForm(forms.Form):
    """A new secret in place of an old one; nothing is ever shown. Only a login can be by key."""

    def __init__(self, *args: Any, credential: Credential, **options: Any) -> None:
        super().__init__(*args, **options)
        self.is_of_role = credential.kind == Credential.Kind.DATABASE_ROLE
        if credential.purpose != "login":
            del self.fields["key_text"]
            self.fields["password"].required = True

    key_text = forms.CharField(
        label=_("New private key"), required=False, strip=False,
        widget=forms.Textarea(attrs={"rows": 5, "autocomplete": "off", "spellcheck": "false", "class": "font-monospace"}),
    )  # fmt: skip
    password = forms.CharField(
        label=_("New password"), required=False, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )

    def clean_password(self) -> str:
        """Of a database role: a verifier and a line of a password file. (SASLprep of other signs: remote/passwords.py)"""
        password: str = self.cleaned_data["password"]
        if self.is_of_role and not (password.isascii() and password.isprintable()):
            raise ValidationError(_("Letters without accents, digits and signs only: no other characters, no line breaks."))
        return password


class PersonForm(forms.Form):
    username = forms.CharField(label=_("Login name"), max_length=150, validators=[User.username_validator])
    full_name = forms.CharField(label=_("Name"), max_length=200, required=False)
    is_service = forms.BooleanField(
        label=_("A program's account"), required=False, help_text=_("It never signs in; it comes by an API token.")
    )

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        if User.objects.filter(username__iexact=name).exists():
            raise ValidationError(_("Somebody has this name already."))
        return name


class GrantForm(forms.Form):
    user = forms.ModelChoiceField(label=_("Person"), queryset=User.objects.filter(is_active=True))
    cluster = forms.ModelChoiceField(
        label=_("Cluster"), queryset=Cluster.objects.all(), required=False, empty_label=_("all clusters")
    )
    role = forms.ChoiceField(label=_("Role"), choices=Grant.Role.choices)

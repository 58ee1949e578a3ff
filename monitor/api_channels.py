"""The API of whom alerts wake, for administrators over all clusters, by the pages' own forms; and of a cluster's thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.forms import BaseForm
from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _
from ninja import Field, Router, Schema

from accounts.models import User
from clusters.models import Cluster
from clusters.rights import Role, require
from monitor import channel_services as services
from monitor.channel_forms import ChannelForms
from monitor.channels import CHANNELS, ChannelKind
from monitor.models import Channel, Message, Sending
from monitor.quiet import MOST_WINDOWS
from monitor.thresholds import THRESHOLDS, Threshold, own_of, thresholds_save
from pgpanel.rest.answers import answered
from pgpanel.rest.paging import After, Limit, Page, paged
from pgpanel.rest.problems import Fault, Problem, invalid
from pgpanel.rest.rules import Name, Number, Scope, needs, of_cluster, over_all, signed_in

router = Router(tags=["Channels"])
ROOT = "/api/v1/channels"
PRINTED = r"^[^\x00-\x1f\x7f]+$"
Kind = Literal["email", "slack", "mattermost", "teams", "ntfy", "pushover"]
Severity = Literal["warning", "critical"]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["22:00"])]
Text = Annotated[str, Field(max_length=1000)]


def _channel(user: User, role: Role, path: Mapping[str, Any]) -> Channel:
    require(user, role, None)
    found = Channel.objects.select_related("secret").filter(pk=path["channel"]).first()
    if found is None:
        raise Http404(_("No such channel."))
    return found


def _message(user: User, role: Role, path: Mapping[str, Any]) -> Message:
    rows = _channel(user, role, path).messages.select_related("channel", "cluster").prefetch_related("sendings")
    found = rows.filter(pk=path["message"]).first()
    if found is None:
        raise Http404(_("No such message."))
    return found


of_channel = Scope("all", _channel, {"channel": Number})
of_message = Scope("all", _message, {"channel": Number, "message": Number})


# -- kinds ------------------------------------------------------------------------------------------------------------------------


class FieldOut(Schema):
    name: str = Field(examples=["url"])
    label: str
    is_required: bool
    is_secret: bool = Field(description="Kept sealed; no answer ever holds it.")


class ChannelKindOut(Schema):
    kind: Kind
    label: str
    fields: list[FieldOut]

    @staticmethod
    def of(one: ChannelKind) -> ChannelKindOut:
        form = one.form()
        shown = [
            FieldOut(name=name, label=str(field.label), is_required=field.required, is_secret=name in form.secret_fields)
            for name, field in form.fields.items()
        ]
        return ChannelKindOut(kind=cast(Any, one.kind), label=str(one.label), fields=shown)


@router.get("/channel-kinds", response=Page[ChannelKindOut], summary="The ways to wake somebody, and what each asks for")
@needs(None, signed_in)
def channel_kind_list() -> object:
    return {"items": [ChannelKindOut.of(one) for one in CHANNELS.values()], "next": None}


# -- channels ---------------------------------------------------------------------------------------------------------------------


class QuietHours(Schema):
    """On each of these days, from `begins` until `ends`, of the next day where that is not later."""

    days: list[Annotated[int, Field(ge=0, le=6)]] = Field(min_length=1, max_length=7, description="0 = Monday.", examples=[[0, 1]])
    begins: Clock
    ends: Clock


class ChannelIn(Schema):
    name: str = Field(min_length=1, max_length=80, pattern=PRINTED, examples=["on call"])
    kind: Kind
    own: dict[str, Text | bool] = Field(
        description="What the kind asks for (`/channel-kinds`), secrets too.", examples=[{"addresses": "oncall@example.net"}]
    )
    least_severity: Severity = "warning"
    clusters: list[Name] | None = Field(None, description="Null: all, also those that are added later.")
    is_active: bool = True
    quiet_hours: list[QuietHours] = Field([], max_length=MOST_WINDOWS)
    time_zone: str = Field("", max_length=64, description="Empty: the panel's.", examples=["Pacific/Auckland"])
    critical_breaks_through: bool = Field(True, description="Critical alerts come in quiet hours too.")


class ChannelPatch(Schema):
    """What is left out stays as it is, each secret too."""

    name: str | None = Field(None, min_length=1, max_length=80, pattern=PRINTED)
    own: dict[str, Text | bool] = Field({}, description="Those of the kind's fields that change.")
    least_severity: Severity | None = None
    clusters: list[Name] | None = Field(None, description="Only these; see `is_for_all`.")
    is_for_all: bool | None = Field(None, description="true: all clusters, in place of the named ones.")
    is_active: bool | None = None
    quiet_hours: list[QuietHours] | None = Field(None, max_length=MOST_WINDOWS)
    time_zone: str | None = Field(None, max_length=64)
    critical_breaks_through: bool | None = None


class ChannelOut(Schema):
    id: Number
    name: str
    kind: Kind
    goes_to: str = Field(description="In a few words; never a secret.")
    least_severity: Severity
    clusters: list[Name] | None = Field(description="Null: all.")
    is_active: bool
    quiet_hours: list[QuietHours]
    time_zone: str
    critical_breaks_through: bool
    secret_changed_at: datetime | None = Field(description="When what is sealed was entered; null: it has none.")

    @staticmethod
    def of(one: Channel) -> ChannelOut:
        same = ("name", "kind", "least_severity", "is_active", "quiet_hours", "time_zone", "critical_breaks_through")
        return ChannelOut(
            id=one.pk, **{name: getattr(one, name) for name in same}, goes_to=CHANNELS[one.kind].shown(one.settings),
            clusters=None if one.is_for_all else sorted(cluster.name for cluster in one.clusters.all()),
            secret_changed_at=one.secret.changed_at if one.secret else None,
        )  # fmt: skip


@router.get("/channels", response=Page[ChannelOut], summary="Whom alerts wake")
@needs("administrator", over_all)
def channel_list(after: After = "", limit: Limit = 100) -> object:
    return paged(Channel.objects.select_related("secret").prefetch_related("clusters"), after, limit, ChannelOut.of)


@router.post("/channels", response={201: ChannelOut}, summary="Wake somebody")
@needs("administrator", over_all)
def channel_make(body: ChannelIn) -> HttpResponse:
    """Send a test then: only that shows that it arrives."""
    channel = Channel(kind=body.kind, time_zone=body.time_zone or settings.TIME_ZONE)
    made = _saved(channel, body.own, body.dict() | {"is_for_all": body.clusters is None, "time_zone": channel.time_zone})
    return answered(201, ChannelOut.of(made), location=f"{ROOT}/{made.pk}")


@router.get("/channels/{channel}", response=ChannelOut, summary="One of them")
@needs("administrator", of_channel)
def channel_read(channel: Channel) -> ChannelOut:
    return ChannelOut.of(channel)


@router.patch("/channels/{channel}", response=ChannelOut, summary="Change it, switch it off or on again")
@needs("administrator", of_channel)
def channel_change(channel: Channel, body: ChannelPatch) -> ChannelOut:
    now = ChannelOut.of(channel).dict() | {"is_for_all": channel.is_for_all and body.clusters is None}
    wanted = now | {name: value for name, value in body.dict().items() if value is not None}
    if wanted["is_for_all"] and body.clusters is not None:
        said = _("All clusters, or the named ones: not both.")
        raise Problem(422, "not-valid", said, [Fault(said, "clusters")])
    return ChannelOut.of(_saved(channel, CHANNELS[channel.kind].typed(channel.settings) | body.own, wanted))


@router.delete("/channels/{channel}", response={204: None}, summary="Wake nobody this way any more; what it was told goes with it")
@needs("administrator", of_channel)
def channel_remove(channel: Channel) -> HttpResponse:
    services.channel_remove(channel)
    return answered(204, None)


def _saved(channel: Channel, own: Mapping[str, Any], wanted: Mapping[str, Any]) -> Channel:
    """By the forms of the page, as if it had been typed there; their errors as a problem."""
    known = CHANNELS[channel.kind].form().fields
    if strange := sorted(set(own) - set(known)):
        said = _("This kind of channel does not ask for that.")
        raise Problem(422, "not-valid", said, [Fault(said, f"own.{strange[0]}")])
    windows = wanted["quiet_hours"]
    data = {name: wanted[name] for name in wanted if name not in ("own", "clusters", "quiet_hours")}
    data |= {"clusters": [] if data["is_for_all"] else [cluster.pk for cluster in _clusters(wanted["clusters"] or [])]}
    data |= {f"own-{name}": value for name, value in own.items()}
    data |= {"quiet-TOTAL_FORMS": len(windows), "quiet-INITIAL_FORMS": 0}
    data |= {f"quiet-{at}-{name}": value for at, window in enumerate(windows) for name, value in window.items()}
    forms = ChannelForms(channel, data)
    if not forms.is_valid():
        raise _refused(forms)
    try:
        return services.channel_save(forms)
    except ValidationError as error:
        raise invalid(error) from None


def _refused(forms: ChannelForms) -> Problem:
    faults = [*_faults("", forms.form), *_faults("own", forms.own)]
    faults += [fault for at, row in enumerate(forms.quiet.forms) for fault in _faults(f"quiet_hours.{at}", row)]
    faults += [Fault(str(text), "quiet_hours") for text in forms.quiet.non_form_errors()]
    return Problem(422, "not-valid", " ".join(fault.message for fault in faults), faults)


def _faults(place: str, form: BaseForm) -> list[Fault]:
    """The fields of a form by their names in the body; what is wrong with all of it, by `place`."""
    return [
        Fault(str(text), ".".join(part for part in (place, "" if name == "__all__" else name) if part))
        for name, texts in form.errors.items() for text in texts
    ]  # fmt: skip


def _clusters(names: list[Name]) -> list[Cluster]:
    found = list(Cluster.objects.filter(name__in=names))
    if missing := sorted(set(names) - {cluster.name for cluster in found}):
        said = _("No such cluster: %(names)s") % {"names": ", ".join(missing)}
        raise Problem(422, "not-valid", said, [Fault(said, "clusters")])
    return found


# -- messages ---------------------------------------------------------------------------------------------------------------------


class SendingOut(Schema):
    at: datetime
    seconds: float
    is_taken: bool | None = Field(description="Null: its worker died meanwhile; it may have arrived.")
    error: str

    @staticmethod
    def of(one: Sending) -> SendingOut:
        return SendingOut(**{name: getattr(one, name) for name in SendingOut.model_fields})


class MessageOut(Schema):
    id: Number
    message_id: UUID = Field(description="The same in every attempt: the Message-ID of a mail, ntfy's sequence_id.")
    cluster: Name | None = Field(description="Null: of many clusters at once, or a test.")
    is_test: bool
    title: str
    text: str = Field(description="As it was said last.")
    status: Literal["waiting", "sent", "given up", "dropped"]
    made_at: datetime
    due_at: datetime
    tries: int
    attempts: list[SendingOut]

    @staticmethod
    def of(one: Message) -> MessageOut:
        same = ("is_test", "title", "text", "status", "made_at", "due_at", "tries")
        return MessageOut(
            id=one.pk, message_id=one.uuid, cluster=one.cluster.name if one.cluster else None,
            attempts=[SendingOut.of(each) for each in one.sendings.all()], **{name: getattr(one, name) for name in same},
        )  # fmt: skip


@router.post("/channels/{channel}/test", response={200: MessageOut}, summary="Send a test now")
@needs("administrator", of_channel)
def channel_test(channel: Channel) -> HttpResponse:
    """The one attempt in the answer says whether it was taken, or why not."""
    return answered(200, MessageOut.of(services.channel_test(channel).message))


@router.get("/channels/{channel}/messages", response=Page[MessageOut], summary="What was sent, newest first")
@needs("administrator", of_channel)
def message_list(channel: Channel, after: After = "", limit: Limit = 100) -> object:
    rows = channel.messages.select_related("cluster").prefetch_related("sendings")
    return paged(rows, after, limit, MessageOut.of, newest_first=True)


@router.post("/channels/{channel}/messages/{message}/replay", response={202: MessageOut}, summary="Send one again")
@needs("administrator", of_message)
def message_replay(message: Message) -> HttpResponse:
    try:
        services.message_replay(message)
    except services.NothingToReplay as error:
        raise Problem(409, "nothing-to-replay", str(error), [Fault(str(error))]) from None
    message.refresh_from_db()
    return answered(202, MessageOut.of(message), location=f"{ROOT}/{message.channel_id}/messages")


# -- thresholds -------------------------------------------------------------------------------------------------------------------


class ThresholdOut(Schema):
    name: str = Field(examples=["lag_hard_seconds"])
    label: str
    value: float = Field(description="In seconds, bytes, percent, days or looks, as its name says.")
    default: float
    is_own: bool
    least: float
    most: float

    @staticmethod
    def of(one: Threshold, own: Mapping[str, float]) -> ThresholdOut:
        return ThresholdOut(
            name=one.name, label=str(one.label), value=own.get(one.name, one.default), default=one.default,
            is_own=one.name in own, least=one.least, most=one.most,
        )  # fmt: skip


class ThresholdsOut(Schema):
    cluster: Name
    thresholds: list[ThresholdOut]

    @staticmethod
    def of(cluster: Cluster) -> ThresholdsOut:
        own = own_of(cluster)
        return ThresholdsOut(cluster=cluster.name, thresholds=[ThresholdOut.of(one, own) for one in THRESHOLDS])


Bound = Annotated[float, Field(ge=0, le=2**50)]


class ThresholdsPatch(Schema):
    thresholds: dict[str, Bound | None] = Field(
        description="By name; null: the default again. What is left out stays as it is.", examples=[{"lag_hard_seconds": 1800}]
    )


@router.get("/clusters/{name}/thresholds", response=ThresholdsOut, summary="From when on something is an alert here")
@needs("viewer", of_cluster)
def thresholds_read(cluster: Cluster) -> ThresholdsOut:
    return ThresholdsOut.of(cluster)


@router.patch("/clusters/{name}/thresholds", response=ThresholdsOut, summary="Other limits for this cluster")
@needs("administrator", of_cluster)
def thresholds_change(cluster: Cluster, body: ThresholdsPatch) -> ThresholdsOut:
    wanted = own_of(cluster) | body.thresholds
    try:
        thresholds_save(cluster, {name: value for name, value in wanted.items() if value is not None})
    except ValidationError as error:
        raise invalid(error) from None
    return ThresholdsOut.of(cluster)

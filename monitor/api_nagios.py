"""The check for Nagios and Icinga (`bin/check_pgpanel`, docs/nagios.md): state, line and performance data."""

from __future__ import annotations

from typing import Annotated

from django.http import Http404
from django.utils.translation import gettext as _
from ninja import Field, Query, Router, Schema

from clusters.models import Cluster
from monitor.api_probes import probed_cluster
from monitor.api_probes import router as probes
from monitor.nagios import THRESHOLD, State, Threshold, checked
from monitor.standing import standing_of
from pgpanel.rest.rules import needs

router = Router(tags=["Who is primary?"], auth=probes.auth)

Limit = Annotated[str, Query("", pattern=THRESHOLD, description="Bytes or seconds behind, or both: 16MB, 30s, 16MB,30s.",
                             examples=["16MB,30s"])]  # fmt: skip
OneNode = Annotated[str, Query("", pattern=r"^([a-z][a-z0-9-]{0,38})?$", description="Only this node.")]


class CheckOut(Schema):
    state: State
    exit_code: int = Field(ge=0, le=3, description="0 ok, 1 warning, 2 critical, 3 unknown.")
    summary: str = Field(examples=["registry: pg1 primary; pg2 streaming, 0 B and 0 ms behind"])
    performance: str = Field(examples=["'pg2_lag'=0B;16777216;;0 'pg2_delay'=0s;30;300;0"])


@router.get("/clusters/{name}/check", response=CheckOut, summary="For Nagios and Icinga: state, line, performance data")
@needs("viewer", probed_cluster)
def cluster_check(cluster: Cluster, warning: Limit = "", critical: Limit = "", node: OneNode = "") -> object:
    """Of the last looks; one that is too old is `unknown`. The thresholds count for standbys, by what they have replayed."""
    standing = standing_of(cluster)
    if node and node not in {one.name for one in standing.nodes}:
        raise Http404(_("No such node."))
    found = checked(standing, Threshold.of(warning), Threshold.of(critical), node)
    return CheckOut(state=found.state, exit_code=found.exit_code, summary=found.summary, performance=found.performance)

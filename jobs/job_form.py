"""What every kind's settings form has: one cluster, its nodes' names, values that are there at first, parameters as plain JSON."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import QueryDict

from clusters.models import Cluster
from jobs.models import Job
from jobs.services import NODE_FIELDS


class JobForm(forms.Form):
    """A settings form for one cluster's nodes."""

    template = "jobs/plain_fields.html"
    shows_disks = False
    """Stands what is free on the hosts beside it?"""

    def __init__(self, *arguments: Any, cluster: Cluster, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cluster = cluster
        self.node_names = list(cluster.nodes.values_list("name", flat=True))
        for name in NODE_FIELDS:
            if name in self.fields:
                self.fields[name].choices = self.choices_of(name)  # type: ignore[attr-defined]

    def choices_of(self, field_name: str) -> list[tuple[str, str]]:  # noqa: ARG002
        """The nodes that a field may name."""
        return [(node, node) for node in self.node_names]

    @classmethod
    def proposed(cls, cluster: Cluster) -> dict[str, Any]:  # noqa: ARG003
        """Parameters that the panel knows better than a person: the same from the page and from the command line."""
        return {}

    @classmethod
    def first_values(cls, cluster: Cluster) -> dict[str, Any]:
        """What stands in the fields at first, by what was last seen of the nodes."""
        return cls.proposed(cluster)

    @classmethod
    def as_typed(cls, job: Job) -> dict[str, Any]:
        """An earlier job's parameters as a person would have typed them."""
        return dict(job.params)

    @classmethod
    def as_sent(cls, cluster: Cluster, given: dict[str, str]) -> QueryDict:
        """What a browser would send if a person changed nothing but `given`: a button that needs no settings page."""
        empty, initial = cls(cluster=cluster), cls.first_values(cluster) | given
        data = QueryDict(mutable=True)
        for name, field in empty.fields.items():
            value = initial.get(name, field.initial)
            if isinstance(field, forms.BooleanField):
                data.setlist(name, ["on"] if value not in (False, None, "", "false") else [])
            elif isinstance(value, list | tuple):
                data.setlist(name, [str(one) for one in value])
            elif value is not None:
                data[name] = str(value)
        return data

    def params(self) -> dict[str, Any]:
        """The parameters as plain JSON, for `Kind.params`."""
        return {name: value for name, value in self.cleaned_data.items() if value is not None}

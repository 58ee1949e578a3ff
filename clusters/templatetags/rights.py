"""Rights in templates: what is not offered, because it would be refused."""

from __future__ import annotations

from django import template

from clusters.rights import Person, clusters_for, may

register = template.Library()


@register.filter
def administers(user: Person) -> bool:
    """Anything at all: one cluster, or the whole panel (also one that has no cluster yet)."""
    return may(user, "administrator", None) or clusters_for(user, "administrator").exists()

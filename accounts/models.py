"""Who may: people. Roles per cluster are `clusters.Grant`."""

from django.contrib.auth.models import AbstractUser
from django.db import models

from accounts.trail import AuditEntry, AuditHead

__all__ = ["AuditEntry", "AuditHead", "CacheEntry", "User"]


class User(AbstractUser):
    """A person. A model of our own from the first migration on, because Django cannot swap it later."""


class CacheEntry(models.Model):
    """Django's database cache, as a table of a migration, so that nobody has to call `createcachetable`."""

    cache_key = models.CharField(max_length=255, primary_key=True)
    value = models.TextField()
    expires = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.cache_key

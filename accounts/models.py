"""Who may: people. Roles per cluster are `clusters.Grant`."""

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """A person. A model of our own from the first migration on, because Django cannot swap it later."""

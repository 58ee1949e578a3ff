from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Who may"

    def ready(self) -> None:
        from accounts import audit_signals  # noqa: PLC0415 — models must be loaded
        from accounts.sessions import begin  # noqa: PLC0415

        user_logged_in.connect(begin, dispatch_uid="accounts.sessions.begin")
        audit_signals.connect()

"""All settings, read from the environment once; `.env.example` explains every variable, `checks.py` refuses unsafe ones."""

import re
from pathlib import Path

from environs import Env

from pgpanel.limits import MOST_BODY_BYTES

env = Env()
BASE_DIR = Path(__file__).resolve().parent.parent
env.read_env(str(BASE_DIR / ".env"), recurse=False)

# -- where things live -----------------------------------------------------------------------------------------------------
VAR_DIR = Path(env.str("PGPANEL_VAR", str(BASE_DIR / "var")))
VAR_DIR.mkdir(parents=True, exist_ok=True)

# -- safety ----------------------------------------------------------------------------------------------------------------
DEBUG = env.bool("DEBUG", False)
PRODUCTION = env.bool("PGPANEL_PRODUCTION", False)
INSECURE_SECRET_KEY = "insecure-only-for-one-machine-without-PGPANEL_PRODUCTION"  # noqa: S105
SECRET_KEY = env.str("SECRET_KEY", INSECURE_SECRET_KEY)
ENCRYPTION_KEYS: list[str] = env.list("PGPANEL_ENCRYPTION_KEYS", [])
"""Fernet keys, newest first: the first encrypts, all decrypt (`clusters/secrets.py`)."""
ENCRYPTION_KEY_FILE = VAR_DIR / "encryption.key"
"""Where the keys stand on one machine, when the environment names none; made with the first secret, mode 0600."""
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])
BEHIND_TLS = env.bool("PGPANEL_BEHIND_TLS", False)
PANEL_URL = env.str("PGPANEL_URL", "").rstrip("/")
"""Where people reach the panel, "https://pgpanel.example": messages about alerts link there."""
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = BEHIND_TLS
if BEHIND_TLS:  # bound to this very host: no sibling of it can plant one
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
SESSION_COOKIE_AGE = env.int("PGPANEL_SESSION_HOURS", 12) * 3600
SESSION_IDLE_SECONDS = env.int("PGPANEL_SESSION_IDLE_MINUTES", 120) * 60
"""A session ends so long after its person was last seen, and `SESSION_COOKIE_AGE` after it began (`accounts/sessions.py`)."""
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if BEHIND_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = BEHIND_TLS
SILENCED_SYSTEM_CHECKS = ["security.W021"]
"""HSTS preload is asked for by the owner of a whole domain, not by one panel in it."""
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_TLS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = MOST_BODY_BYTES
DATA_UPLOAD_MAX_NUMBER_FIELDS = 500
DATA_UPLOAD_MAX_NUMBER_FILES = 0
FILE_UPLOAD_HANDLERS: list[str] = []
"""No page takes a file."""
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# -- the house -------------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "csp",
    "django_htmx",
    "template_partials",
    "ninja",
    "pgpanel",
    "accounts",
    "clusters",
    "jobs",
    "monitor",
    "webhooks",
]
MIDDLEWARE = [
    "pgpanel.headers.middleware",
    "django.middleware.security.SecurityMiddleware",
    "pgpanel.rest.problems.middleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.acting.middleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.sessions.SessionLife",
    "django_htmx.middleware.HtmxMiddleware",
    "pgpanel.lost_keys.SaidPlainly",
]
ROOT_URLCONF = "pgpanel.urls"
ASGI_APPLICATION = "pgpanel.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# -- database: SQLite for one machine, PostgreSQL by DATABASE_URL --------------------------------------------------------------
DATABASES = {"default": env.dj_db_url("DATABASE_URL", f"sqlite:///{VAR_DIR / 'pgpanel.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # a read that turns into a write ignores the busy timeout unless the transaction began as a write
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# rate limits must hold over all web processes and while Redis is away, so they stand in the database (table by accounts' migration)
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "accounts_cacheentry"},
    # how often a token calls is counted by each web process for itself: a call must not cost a write
    "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 5000}},
}
API_RATE = env.str("PGPANEL_API_RATE", "600/m")
"""Calls of one token (or person) to /api/v1/, by each web process; per address where many share one."""
API_RATE_PER_ADDRESS = env.str("PGPANEL_API_RATE_PER_ADDRESS", "1200/m")
API_FAILURES_PER_ADDRESS = env.str("PGPANEL_API_FAILURES_PER_ADDRESS", "20/m")
API_BODY_BYTES = 256 * 1024

# -- Redis and Celery ----------------------------------------------------------------------------------------------------------
REDIS_URL = env.str("REDIS_URL", "redis://127.0.0.1:6379/0")
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "jobs"
CELERY_TASK_ROUTES = {
    "jobs.tasks.run_job": {"queue": "jobs"},
    "jobs.tasks.plan_job": {"queue": "plans"},
    "clusters.tasks.*": {"queue": "plans"},
    "accounts.tasks.*": {"queue": "observe"},
    "jobs.tasks.sweep_lost_jobs": {"queue": "observe"},
    "monitor.tasks.send_notices": {"queue": "notify"},
    "monitor.tasks.send_to_channel": {"queue": "notify"},
    "monitor.tasks.forget_old_messages": {"queue": "notify"},
    "monitor.tasks.*": {"queue": "observe"},
    "webhooks.tasks.*": {"queue": "notify"},
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
HEARTBEAT_SECONDS = env.float("PGPANEL_HEARTBEAT_SECONDS", 1.0)
"""How often a running job says that it lives; after `LOST_AFTER_SECONDS` without it the sweep hands the job on."""
LOST_AFTER_SECONDS = env.float("PGPANEL_LOST_AFTER_SECONDS", 6.0)

# -- what is seen --------------------------------------------------------------------------------------------------------------
COLLECTOR_NODES = env.int("PGPANEL_COLLECTOR_NODES", 600)
"""So many nodes at one look a second does one worker on `observe` watch at most: about half a core; the rest is for bursts."""
MONITOR_HOST_SECONDS = env.float("PGPANEL_HOST_SECONDS", 60.0)
"""How often a host itself is looked at, through SSH: disks, waiting WAL, managed blocks, certificate."""

# -- webhooks ------------------------------------------------------------------------------------------------------------------
WEBHOOK_NETWORKS: list[str] = env.list("PGPANEL_WEBHOOK_NETWORKS", [])
"""Networks besides the public ones that webhooks and messages about alerts may go to (`pgpanel/outgoing`)."""
WEBHOOK_PORTS: list[int] = env.list("PGPANEL_WEBHOOK_PORTS", [443, 8443], subcast=int)
WEBHOOK_PLAIN_HTTP = env.bool("PGPANEL_WEBHOOK_PLAIN_HTTP", False)

# -- people ----------------------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "accounts.audit_signals.PasswordNoted"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_ADAPTER = "accounts.adapter.ClosedSignupAdapter"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_CHANGE_EMAIL = False
ACCOUNT_PREVENT_ENUMERATION = True
ALLAUTH_TRUSTED_PROXY_COUNT = env.int("PGPANEL_PROXY_COUNT", 1 if BEHIND_TLS else 0)
"""So many proxies stand before the panel: the address that rate limits count is taken from X-Forwarded-For accordingly."""
ACCOUNT_RATE_LIMITS = {
    "login": "30/m/ip",
    "login_failed": "10/m/ip,5/5m/key",
    "change_password": "5/m/user",
    "reauthenticate": "10/m/user",
}
ACCOUNT_REAUTHENTICATION_TIMEOUT = env.int("PGPANEL_CONFIRM_MINUTES", 15) * 60
"""Whoever signed in or confirmed longer ago is asked again before something dangerous (`accounts/reauthentication.py`)."""
APPROVAL_SECONDS = env.int("PGPANEL_APPROVAL_MINUTES", 30) * 60
"""So long a second person's approval of a plan lets it be started (`jobs/second_person.py`)."""
PASSWORD_RESET_TIMEOUT = env.int("PGPANEL_LINK_HOURS", 24) * 3600
"""So long a link serves by which somebody chooses a password; an administrator gives it (the people page)."""
REQUIRE_MFA = env.bool("PGPANEL_REQUIRE_MFA", False)
MFA_ADAPTER = "clusters.factors.SealedFactors"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "pgpanel"

OIDC_ISSUER = env.str("PGPANEL_OIDC_ISSUER", "").rstrip("/")
OIDC_ID = re.sub(r"[^A-Za-z0-9.]+", "-", OIDC_ISSUER.partition("://")[2])
"""Names the issuer in the callback's address and in the identities that are kept: those of another issuer are other people."""
OIDC_LABEL = env.str("PGPANEL_OIDC_LABEL", "single sign-on")
OIDC_NEW_ACCOUNTS = env.bool("PGPANEL_OIDC_NEW_ACCOUNTS", True)
OIDC_APP = {
    "provider_id": OIDC_ID,
    "name": OIDC_LABEL,
    "client_id": env.str("PGPANEL_OIDC_CLIENT_ID", ""),
    "secret": env.str("PGPANEL_OIDC_CLIENT_SECRET", ""),
    "settings": {"server_url": OIDC_ISSUER},
}
SOCIALACCOUNT_ADAPTER = "accounts.single_sign_on.SingleSignOnAdapter"
SOCIALACCOUNT_REAUTHENTICATION_REQUIRED = True
SOCIALACCOUNT_PROVIDERS = {
    "openid_connect": {
        "OAUTH_PKCE_ENABLED": True,
        "SCOPE": env.list("PGPANEL_OIDC_SCOPES", ["openid", "profile", "email"]),
        "APPS": [OIDC_APP] if OIDC_ISSUER else [],
    }
}
EMAIL_CONFIG = env.dj_email_url("EMAIL_URL", "console://")
vars().update({key: value for key, value in EMAIL_CONFIG.items() if key.startswith("EMAIL_")})

# -- language, time, files -------------------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_TZ = True
TIME_ZONE = env.str("TZ_SHOWN", "UTC")
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles" if PRODUCTION else None  # on one machine whitenoise serves from the finders
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage" if PRODUCTION
                    else "django.contrib.staticfiles.storage.StaticFilesStorage"},
}  # fmt: skip
WHITENOISE_USE_FINDERS = not PRODUCTION

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "pgpanel.logs.Line", "format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "INFO")},
    "loggers": {
        "paramiko": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        # Django and uvicorn bring handlers of their own: every line is of one form, so that none can be forged
        "django": {"handlers": [], "propagate": True},
        "django.server": {"handlers": [], "propagate": True},
        "uvicorn": {"handlers": [], "propagate": True},
        "uvicorn.error": {"handlers": [], "propagate": True},
    },
}

"""ASGI entry point: uvicorn serves pages and the live streams."""

import os

from django.core.asgi import get_asgi_application

from pgpanel.checks import refuse_unsafe_start
from pgpanel.limits import bounded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pgpanel.settings")

application = bounded(get_asgi_application())
refuse_unsafe_start()

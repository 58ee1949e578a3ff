"""Where each room's pages hang."""

from django.urls import include, path
from django.views.generic.base import RedirectView

from pgpanel import api
from pgpanel.streams import stream

urlpatterns = [
    path("accounts/sessions/", RedirectView.as_view(pattern_name="accounts:you")),
    path("accounts/", include("allauth.urls")),
    path("account/", include("accounts.urls")),
    path("", include("clusters.urls")),
    path("c/<slug:cluster_name>/", include("jobs.cluster_urls")),
    path("api/v1/", api.urls),
    path("live/", stream, name="live"),
    path("jobs/", include("jobs.urls")),
    path("monitor/", include("monitor.urls")),
    path("webhooks/", include("webhooks.urls")),
]

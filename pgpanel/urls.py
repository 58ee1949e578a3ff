"""Where each room's pages hang."""

from django.urls import include, path
from django.views.generic.base import RedirectView

from accounts.single_sign_on import leave
from accounts.views import no_reset_by_mail
from pgpanel import api
from pgpanel.streams import stream

handler429 = "accounts.audit_signals.too_many_requests"  # allauth asks for it here
urlpatterns = [
    # allauth's pages that another one stands for here: nobody recovers an account by mail
    path("accounts/sessions/", RedirectView.as_view(pattern_name="accounts:you")),
    path("accounts/email/", RedirectView.as_view(pattern_name="accounts:you")),
    path("accounts/password/reset/", no_reset_by_mail),
    path("accounts/oidc/<str:provider_id>/login/", leave),
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

"""Where each room's pages hang."""

from django.urls import include, path

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("", include("clusters.urls")),
    path("jobs/", include("jobs.urls")),
    path("monitor/", include("monitor.urls")),
]

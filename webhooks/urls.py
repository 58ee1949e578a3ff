"""Pages of webhooks."""

from django.urls import URLPattern, URLResolver, path

from webhooks import views

app_name = "webhooks"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.index, name="index"),
    path("new/", views.new, name="new"),
    path("<uuid:uuid>/", views.detail, name="detail"),
    path("<uuid:uuid>/edit/", views.edit, name="edit"),
    path("<uuid:uuid>/secret/", views.rotate, name="rotate"),
    path("<uuid:uuid>/test/", views.test, name="test"),
    path("<uuid:uuid>/replay/", views.replay_since, name="replay_since"),
    path("<uuid:uuid>/replay/<int:pk>/", views.replay, name="replay"),
    path("<uuid:uuid>/remove/", views.remove, name="remove"),
]

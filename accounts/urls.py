"""A person's own pages. Signing in and its factors are allauth's, under /accounts/."""

from django.urls import path

from accounts import views

app_name = "accounts"
urlpatterns = [
    path("", views.you, name="you"),
    path("sessions/end/", views.sessions_end_others, name="sessions_end_others"),
    path("sessions/<int:pk>/end/", views.session_end, name="session_end"),
]

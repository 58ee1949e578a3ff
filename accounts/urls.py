"""A person's own pages. Signing in and its factors are allauth's, under /accounts/."""

from django.urls import path

from accounts import views
from accounts.single_sign_on import ConfirmBySingleSignOn

app_name = "accounts"
urlpatterns = [
    path("", views.you, name="you"),
    path("confirm/", ConfirmBySingleSignOn.as_view(), name="confirm_by_single_sign_on"),
    path("sessions/end/", views.sessions_end_others, name="sessions_end_others"),
    path("sessions/<int:pk>/end/", views.session_end, name="session_end"),
]

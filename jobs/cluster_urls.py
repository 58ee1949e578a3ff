"""What is done with one cluster, under its own short address: /c/<cluster>/promote is what an alert links to."""

from django.urls import path

from jobs import promote_page, second_person_page

app_name = "operations"
urlpatterns = [
    path("promote", promote_page.promote, name="promote"),
    path("promote/look", promote_page.look, name="promote_look"),
    path("promote/plan", promote_page.plan, name="promote_plan"),
    path("second-person", second_person_page.second_person, name="second_person"),
]

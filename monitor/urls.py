from django.urls import path

from monitor import views

app_name = "monitor"
urlpatterns = [
    path("c/<slug:cluster>/topology/", views.topology, name="topology"),
    path("c/<slug:cluster>/nodes/", views.nodes, name="nodes"),
    path("c/<slug:cluster>/if-died/", views.if_died, name="if_died"),
    path("c/<slug:cluster>/card/", views.card, name="card"),
    path("c/<slug:cluster>/chart/", views.lag_chart, name="lag_chart"),
    path("c/<slug:cluster>/lag.json", views.lag_data, name="lag_data"),
]

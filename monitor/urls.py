from django.urls import path

from monitor import alert_pages, channel_pages, threshold_pages, views, watcher_pages

app_name = "monitor"
urlpatterns = [
    path("c/<slug:cluster>/topology/", views.topology, name="topology"),
    path("c/<slug:cluster>/stores/", views.stores, name="stores"),
    path("c/<slug:cluster>/nodes/", views.nodes, name="nodes"),
    path("c/<slug:cluster>/if-died/", views.if_died, name="if_died"),
    path("c/<slug:cluster>/card/", views.card, name="card"),
    path("c/<slug:cluster>/chart/", views.lag_chart, name="lag_chart"),
    path("c/<slug:cluster>/<slug:node>/log/", views.node_log, name="node_log"),
    path("c/<slug:cluster>/lag.json", views.lag_data, name="lag_data"),
    path("c/<slug:cluster>/alerts/", alert_pages.open_alerts, name="open_alerts"),
    path("cards/", views.cards, name="cards"),
    path("collector/", watcher_pages.collector, name="collector"),
    path("c/<slug:cluster>/thresholds/", threshold_pages.thresholds, name="thresholds"),
    path("alerts/", alert_pages.alerts, name="alerts"),
    path("alerts/<int:pk>/acknowledge/", alert_pages.acknowledge, name="acknowledge"),
    path("maintenance/", alert_pages.maintenance_begin, name="maintenance_begin"),
    path("maintenance/<int:pk>/end/", alert_pages.maintenance_end, name="maintenance_end"),
    path("channels/", channel_pages.channels, name="channels"),
    path("channels/new/<slug:kind>/", channel_pages.channel_new, name="channel_new"),
    path("channels/<int:pk>/", channel_pages.channel_edit, name="channel_edit"),
    path("channels/<int:pk>/messages/", channel_pages.channel_messages, name="channel_messages"),
    path("channels/<int:pk>/messages/<int:message>/replay/", channel_pages.message_replay, name="message_replay"),
    path("channels/<int:pk>/test/", channel_pages.channel_test, name="channel_test"),
    path("channels/<int:pk>/remove/", channel_pages.channel_remove, name="channel_remove"),
]

from django.urls import path

from jobs import views

app_name = "jobs"
urlpatterns = [
    path("", views.job_list, name="list"),
    path("new/<str:kind_name>/", views.job_new, name="new"),
    path("of/<str:cluster_name>/", views.jobs_of_cluster, name="of_cluster"),
    path("of/<str:cluster_name>/proven/", views.proven, name="proven"),
    path("kept/<str:cluster_name>/<str:node_name>/", views.kept, name="kept"),
    path("<int:job_id>/", views.job_detail, name="detail"),
    path("<int:job_id>/plan/", views.job_plan_page, name="plan"),
    path("<int:job_id>/start/", views.job_start, name="start"),
    path("<int:job_id>/approve/", views.job_approve, name="approve"),
    path("<int:job_id>/withdraw/", views.job_withdraw, name="withdraw"),
    path("<int:job_id>/cancel/", views.job_cancel, name="cancel"),
    path("<int:job_id>/resume/", views.job_resume, name="resume"),
    path("<int:job_id>/incident/", views.job_incident, name="incident"),
    path("<int:job_id>/incident.txt", views.job_incident_text, name="incident_text"),
    path("<int:job_id>/log", views.job_log, name="log"),
    path("<int:job_id>/runbook.sh", views.job_runbook, name="runbook"),
]

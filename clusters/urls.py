"""The pages of what we have."""

from django.urls import URLPattern, URLResolver, path, re_path

from clusters import audit_page, fence_page, people, token_pages, views, wizard

app_name = "clusters"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.fleet, name="fleet"),
    path("new/", wizard.wizard_new, name="wizard_new"),
    path("new/<uuid:draft_uuid>/discard/", wizard.wizard_discard, name="wizard_discard"),
    path("new/<uuid:draft_uuid>/<slug:page>/", wizard.wizard, name="wizard"),
    path("import/", wizard.import_new, name="import"),
    path("c/<slug:name>/", views.detail, name="detail"),
    path("c/<slug:name>/edit/", views.edit, name="edit"),
    path("c/<slug:name>/remove/", views.remove, name="remove"),
    path("c/<slug:name>/credentials/", views.credentials, name="credentials"),
    path("c/<slug:name>/credentials/<int:pk>/", views.credential_replace, name="credential_replace"),
    path("c/<slug:name>/add/", wizard.node_add, name="node_add"),
    path("c/<slug:name>/n/<slug:node_name>/", views.node, name="node"),
    path("c/<slug:name>/n/<slug:node_name>/look/", views.node_look, name="node_look"),
    path("c/<slug:name>/n/<slug:node_name>/accept/", views.node_accept, name="node_accept"),
    path("c/<slug:name>/n/<slug:node_name>/rekey/", views.node_rekey, name="node_rekey"),
    path("c/<slug:name>/n/<slug:node_name>/edit/", views.node_edit, name="node_edit"),
    path("c/<slug:name>/n/<slug:node_name>/remove/", views.node_remove, name="node_remove"),
    path("c/<slug:name>/n/<slug:node_name>/fence/", fence_page.fence, name="node_fence"),
    path("c/<slug:name>/n/<slug:node_name>/fence/test/", fence_page.fence_test, name="node_fence_test"),
    path("audit/", audit_page.audit, name="audit"),
    re_path(r"^audit/export\.(?P<format>csv|jsonl)$", audit_page.audit_export, name="audit_export"),
    path("audit/verify/", audit_page.audit_verify, name="audit_verify"),
    path("tokens/", token_pages.token_list, name="tokens"),
    path("tokens/<slug:public_id>/revoke/", token_pages.token_end, name="token_end"),
    path("people/", people.people, name="people"),
    path("people/<int:pk>/", people.person, name="person"),
    path("people/<int:pk>/link/", people.person_link, name="person_link"),
    path("people/<int:pk>/sign-out/", people.person_sign_out, name="person_sign_out"),
    path("people/<int:pk>/forget-factors/", people.person_forget_factors, name="person_forget_factors"),
    path("people/<int:pk>/active/", people.person_active, name="person_active"),
    path("people/grants/<int:pk>/remove/", people.grant_remove, name="grant_remove"),
]

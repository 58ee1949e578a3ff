"""Who may call what: one rule for every URL and method, read by `test_rights_table.py`. A URL without a rule fails it.

Endpoints of the API are not listed: they declare their rule themselves (`pgpanel.rest.rules`), and it is read from there.
A method that is not named here is refused (405).
"""

from __future__ import annotations

OPEN = "open"  # anybody on the network
ANY = "any"  # whoever is signed in; what is shown is theirs
SEE, OPERATE, ADMINISTER = "viewer", "operator", "administrator"  # on the cluster: else 403; without any right there: 404
OVER_ALL = "over all"  # administrators over all clusters: everybody else 403
SEE_THEN_OVER_ALL = "over all, of a cluster"  # the same, but 404 where the cluster may not even be seen
SOME_CLUSTER = "some cluster"  # administrators of at least one cluster, of which they are shown that one: else 403
OWN = "own"  # whoever made it: for everybody else it does not exist

GET_SEE, POST_OPERATE, POST_ADMINISTER = {"GET": SEE}, {"POST": OPERATE}, {"POST": ADMINISTER}
BOTH_ADMINISTER = {"GET": ADMINISTER, "POST": ADMINISTER}
BOTH_OVER_ALL = {"GET": OVER_ALL, "POST": OVER_ALL}

RULES: dict[str, dict[str, str]] = {
    # -- a person's own
    "accounts:you": {"GET": ANY},
    "accounts:sessions_end_others": {"POST": ANY},
    "accounts:session_end": {"POST": ANY},
    "accounts:confirm_by_single_sign_on": {"GET": ANY, "POST": ANY},
    # -- what we have
    "clusters:fleet": {"GET": ANY},
    "clusters:wizard_new": {"GET": OVER_ALL},
    "clusters:import": {"GET": OVER_ALL},
    "clusters:wizard": {"GET": OWN, "POST": OWN},
    "clusters:wizard_discard": {"POST": OWN},
    "clusters:detail": GET_SEE,
    "clusters:edit": BOTH_ADMINISTER,
    "clusters:remove": BOTH_ADMINISTER,
    "clusters:credentials": {"GET": ADMINISTER},
    "clusters:credential_replace": BOTH_ADMINISTER,
    "clusters:node_add": {"GET": ADMINISTER},
    "clusters:node": GET_SEE,
    "clusters:node_look": POST_OPERATE,
    "clusters:node_accept": POST_ADMINISTER,
    "clusters:node_rekey": POST_ADMINISTER,
    "clusters:node_edit": BOTH_ADMINISTER,
    "clusters:node_remove": BOTH_ADMINISTER,
    "clusters:node_fence": {"GET": OPERATE, "POST": SEE_THEN_OVER_ALL},
    "clusters:node_fence_test": POST_OPERATE,
    "clusters:tokens": {"GET": ANY, "POST": ANY},
    "clusters:token_end": {"POST": OWN},
    "clusters:people": BOTH_OVER_ALL,
    "clusters:person": {"GET": OVER_ALL},
    "clusters:person_active": {"POST": OVER_ALL},
    "clusters:person_link": {"POST": OVER_ALL},
    "clusters:person_sign_out": {"POST": OVER_ALL},
    "clusters:person_forget_factors": {"POST": OVER_ALL},
    "clusters:grant_remove": {"POST": OVER_ALL},
    "clusters:audit": {"GET": SOME_CLUSTER},
    "clusters:audit_export": {"GET": SOME_CLUSTER},
    "clusters:audit_verify": {"POST": OVER_ALL},
    # -- what we do
    "operations:promote": GET_SEE,
    "operations:promote_look": {"POST": SEE},
    "operations:promote_plan": POST_OPERATE,
    "operations:second_person": {"POST": SEE_THEN_OVER_ALL},
    "jobs:list": {"GET": ANY},
    "jobs:new": {"GET": OPERATE, "POST": OPERATE},
    "jobs:of_cluster": GET_SEE,
    "jobs:proven": GET_SEE,
    "jobs:kept": GET_SEE,
    "jobs:detail": GET_SEE,
    "jobs:plan": GET_SEE,
    "jobs:start": POST_OPERATE,
    "jobs:approve": POST_OPERATE,
    "jobs:withdraw": POST_OPERATE,
    "jobs:cancel": POST_OPERATE,
    "jobs:resume": POST_OPERATE,
    "jobs:incident": GET_SEE,
    "jobs:incident_text": GET_SEE,
    "jobs:log": GET_SEE,
    "jobs:runbook": GET_SEE,
    # -- what we see
    "monitor:topology": GET_SEE,
    "monitor:nodes": GET_SEE,
    "monitor:stores": GET_SEE,
    "monitor:node_log": {"GET": OPERATE, "POST": OPERATE},
    "monitor:if_died": GET_SEE,
    "monitor:card": GET_SEE,
    "monitor:lag_chart": GET_SEE,
    "monitor:lag_data": GET_SEE,
    "live": {"GET": SEE},
    "monitor:cards": {"GET": ANY},
    "monitor:collector": {"GET": ANY},
    "monitor:open_alerts": GET_SEE,
    "monitor:alerts": {"GET": ANY},
    "monitor:acknowledge": POST_OPERATE,
    "monitor:thresholds": BOTH_ADMINISTER,
    "monitor:maintenance_begin": {"POST": ANY},  # names its cluster in the form: only one that is operated can be chosen
    "monitor:maintenance_end": POST_OPERATE,
    "monitor:channels": {"GET": OVER_ALL},
    "monitor:channel_new": BOTH_OVER_ALL,
    "monitor:channel_edit": BOTH_OVER_ALL,
    "monitor:channel_messages": {"GET": OVER_ALL},
    "monitor:message_replay": {"POST": OVER_ALL},
    "monitor:channel_test": {"POST": OVER_ALL},
    "monitor:channel_remove": {"POST": OVER_ALL},
    # -- who is told
    "webhooks:index": {"GET": OVER_ALL},
    "webhooks:new": BOTH_OVER_ALL,
    "webhooks:detail": {"GET": OVER_ALL},
    "webhooks:edit": BOTH_OVER_ALL,
    "webhooks:rotate": {"POST": OVER_ALL},
    "webhooks:test": {"POST": OVER_ALL},
    "webhooks:replay_since": {"POST": OVER_ALL},
    "webhooks:replay": {"POST": OVER_ALL},
    "webhooks:remove": BOTH_OVER_ALL,
}

BY_ALLAUTH = ("account_", "mfa_", "socialaccount_", "openid_connect_", "usersessions_")
"""allauth's own pages, with its own rules and tests; seen here only to open without an error and to be closed to strangers."""
OPEN_OF_ALLAUTH = {
    "account_confirm_email", "account_confirm_login_code", "account_email_verification_sent", "account_inactive",
    "account_login", "account_logout", "account_reset_password", "account_reset_password_done",
    "account_reset_password_from_key", "account_reset_password_from_key_done", "account_signup", "mfa_authenticate",
    "mfa_login_webauthn", "openid_connect_callback", "openid_connect_login", "socialaccount_login_cancelled",
    "socialaccount_login_error", "socialaccount_signup",
}  # fmt: skip
API_DOCUMENTS = {"api-v1:openapi-json": OPEN, "api-v1:openapi-view": ANY, "api-v1:api-root": OPEN}

"""What the tests of the API share: tokens of each role, and short words for calling."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

from accounts.models import User
from clusters import tokens
from clusters.models import Cluster, Grant


def user(name: str, role: str = "", cluster: Cluster | None = None, **fields: Any) -> User:
    made = User.objects.create(username=name, **fields)
    if role:
        Grant.objects.create(user=made, cluster=cluster, role=role)
    return made


def token_of(person: User, role: str = "administrator", **more: Any) -> str:
    return tokens.token_create(person, person, "a test", role, **more)[1]


class Api:
    """Calls with a token; answers are Django's test responses."""

    def __init__(self, token: str = "", client: Client | None = None) -> None:
        self.client = client or Client(raise_request_exception=False)
        self.token = token

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            named["Authorization"] = f"Bearer {self.token}"
        data = "" if body is None else json.dumps(body)
        return self.client.generic(method, f"/api/v1{path}", data, content_type="application/json", headers=named)

    def get(self, path: str, **headers: str) -> Any:
        return self("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self("POST", path, body, **headers)

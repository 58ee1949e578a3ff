"""A real OpenID Connect issuer on this machine: discovery, authorization code with PKCE (S256), signed ID tokens, userinfo, keys.

It refuses what a real one refuses: an unknown client or redirect URI, a code used twice, a wrong verifier or secret. Whoever
"sits before it" is `person`; `prompt=login` and `max_age` make that person sign in anew, unless `asks_again` is off.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa


@dataclass
class Issuer:
    client_id: str = "pgpanel"
    client_secret: str = "the secret of the client"
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "4711", "preferred_username": "ana", "name": "Ana P."})
    signed_in_at: int = field(default_factory=lambda: int(time.time()))
    asks_again: bool = True
    tells_when: bool = True
    userinfo_of: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: dict[str, dict[str, Any]] = {}
        handler = type("Handler", (_Handler,), {"issuer": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/realms/ops"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo", "jwks_uri": f"{self.url}/keys", "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }  # fmt: skip

    def keys(self) -> dict[str, Any]:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [public | {"kid": "k1", "alg": "RS256", "use": "sig"}]}

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser is sent to; the person has signed in."""
        assert query["client_id"] == self.client_id
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        self.asked.append(query)
        if self.asks_again and ("login" in query.get("prompt", "") or "max_age" in query):
            self.signed_in_at = int(time.time())
        code = secrets.token_urlsafe()
        self.codes[code] = query | {"person": json.dumps(self.person)}
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        if authorization.startswith("Basic "):
            client_id, _, client_secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        else:
            client_id, client_secret = form.get("client_id", ""), form.get("client_secret", "")
        begun = self.codes.pop(form.get("code", ""), None)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).decode().rstrip("=")
        if begun is None or (client_id, client_secret) != (self.client_id, self.client_secret):
            return None
        if challenge != begun["code_challenge"] or form.get("redirect_uri") != begun["redirect_uri"]:
            return None
        person, now = json.loads(begun["person"]), int(time.time())
        claims = person | {"iss": self.url, "aud": self.client_id, "iat": now, "exp": now + 300}
        if self.tells_when:
            claims["auth_time"] = self.signed_in_at
        access = secrets.token_urlsafe()
        self.tokens[access] = person | ({"sub": self.userinfo_of} if self.userinfo_of else {})
        signed = jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "k1"})
        return {"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": signed}


class _Handler(BaseHTTPRequestHandler):
    issuer: Issuer

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        what = address.path.removeprefix("/realms/ops")
        if what == "/.well-known/openid-configuration":
            self._answer(200, self.issuer.discovery())
        elif what == "/keys":
            self._answer(200, self.issuer.keys())
        elif what == "/authorize":
            self._answer(302, {}, location=self.issuer.authorize(query))
        elif what == "/userinfo":
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            known = self.issuer.tokens.get(token)
            self._answer(200 if known else 401, known or {})
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        given = self.issuer.token(form, self.headers.get("Authorization", ""))
        self._answer(200 if given else 400, given or {"error": "invalid_grant"})

    def _answer(self, status: int, data: dict[str, Any], location: str = "") -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

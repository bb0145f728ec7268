# Ostiary with nginx and its Lua module, both of Debian. Runs as a user without rights, and with a read-only root.
# See docs/how-to/containers.md; `make test-image` builds it and starts it.
FROM debian:trixie-slim AS build
# Its version is Debian's, as that of the second stage.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY requirements requirements
RUN python3 -m venv /opt/ostiary \
    && /opt/ostiary/bin/pip install --no-cache-dir --require-hashes -r requirements/base.lock -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
# From nowhere: what the lock does not name is not installed. Nobody needs pip after that.
RUN /opt/ostiary/bin/pip install --no-cache-dir --no-index --no-build-isolation . \
    && /opt/ostiary/bin/pip uninstall --yes setuptools pip

FROM debian:trixie-slim
# Debian's security updates come with a new build.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libnginx-mod-http-lua lua-cjson nginx python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --home-dir /var/lib/ostiary --create-home --shell /usr/sbin/nologin ostiary \
    && chmod 0700 /var/lib/ostiary
COPY --from=build /opt/ostiary /opt/ostiary
ENV PATH=/opt/ostiary/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    OSTIARY_DATA=/var/lib/ostiary \
    OSTIARY_GATEWAY_BIND=0.0.0.0:8080 \
    OSTIARY_CONTROL_BIND=0.0.0.0:8000
USER 10001:10001
WORKDIR /var/lib/ostiary
VOLUME /var/lib/ostiary
# The gateway, and the console with the management API.
EXPOSE 8080 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["ostiary", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["ostiary"]
CMD ["up"]

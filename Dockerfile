ARG PYTHON=python:3.12-slim-trixie

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Each archive is checked against its hash here; all that follows takes from these alone.
COPY requirements.lock ./
RUN pip download --require-hashes --only-binary=:all: --requirement=requirements.lock --dest=/checked \
 && pip install --no-index --find-links=/checked hatchling
COPY LICENSE README.md hatch_build.py pyproject.toml ./
COPY config config
COPY scaleout_client scaleout_client
COPY tasks tasks
COPY workers workers
# The lock has the tools of development too. Asked for the project, pip picks what it needs at run time.
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir=/checked . \
 && python -m venv --without-pip /opt/scaleout \
 && pip --python=/opt/scaleout install --no-index --find-links=/checked ehpc-scaleout

FROM ${PYTHON}
LABEL org.opencontainers.image.title="ehpc-scaleout" \
      org.opencontainers.image.description="Adds nodes to QingCloud EHPC clusters: never twice, never lost, within quota." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/scaleout /opt/scaleout
ENV PATH=/opt/scaleout/bin:${PATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
# Of a worker, and of a gateway beside one. Compose and Kubernetes have their own.
HEALTHCHECK --interval=60s --timeout=20s --start-period=30s --retries=3 CMD ["scaleout", "health", "--within", "180"]
CMD ["celery", "-A", "workers", "worker"]

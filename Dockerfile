# The operator's image. Dependencies are pinned by hash; the base by version only: for a release, replace the tag by the
# digest that your registry shows for it (python@sha256:...).
FROM docker.io/library/python:3.11-slim-bookworm AS builder
COPY requirements/runtime.txt /build/
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --no-compile --only-binary :all: --require-hashes -r /build/runtime.txt
# The package needs no build step: its sources are what a wheel would hold.
COPY operator/rollback_operator /build/rollback_operator
# Compiled here, because the running container writes nothing; but for the client's typed models, which are not loaded.
RUN cp -r /build/rollback_operator "$(/opt/venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/" \
 && /opt/venv/bin/pip uninstall --quiet --yes pip setuptools \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash \
      -x 'kubernetes/(aio/)?client/(models|api)/' /opt/venv/lib

# Rolls releases of Helm back, those of Helm 3 as well; a static program.
FROM docker.io/alpine/helm:4.3.1 AS helm

FROM docker.io/library/python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="rollback-operator" \
      org.opencontainers.image.description="Kubernetes operator that rolls workloads back" \
      org.opencontainers.image.licenses="Apache-2.0"
# Asks repositories whether the hold of an Argo CD Application is over.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY --from=builder /opt/venv /opt/venv
COPY --from=helm /usr/bin/helm /usr/local/bin/helm
COPY LICENSE /licenses/LICENSE
# USER as a variable: the numeric user has no name, and Kopf asks for one where no POD_ID is set.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    USER=rollback-operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["python", "-m", "rollback_operator"]

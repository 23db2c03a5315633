# The image for clusters: Debian's Python 3.13, the packages of uv.lock with hashes verified, `ivr`. CUDA 13 comes with
# torch's packages; the driver, from the host. `make image` builds it; plain `docker build .` does as well.
#
# How the machine that builds reaches packages is its own matter and stays out of the image and its history:
#   secret `ca`       a bundle of certificates to trust while building
#   secret `index`    a shell file that exports PIP_INDEX_URL, UV_DEFAULT_INDEX and the like
#   secret `uv`       a uv.toml
#   context `wheelhouse`   a folder of wheels (`make wheelhouse`); with it nothing is downloaded but Debian's Python
ARG BASE_IMAGE=debian:trixie-slim

# empty unless --build-context wheelhouse=wheelhouse takes its place
FROM scratch AS wheelhouse

FROM ${BASE_IMAGE}
RUN --mount=type=secret,id=ca,target=/run/ca.crt \
    if [ -s /run/ca.crt ]; then set -- -o Acquire::https::CAInfo=/run/ca.crt; fi; \
    export DEBIAN_FRONTEND=noninteractive && apt-get -qq "$@" update && \
    apt-get -qq "$@" install -y --no-install-recommends ca-certificates python3 python3-venv && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log && \
    python3 -c 'import sys; assert sys.version_info[:2] == (3, 13), f"BASE_IMAGE brings Python {sys.version}"'

# uv installs the packages. It stays: a stage to take it from by a mount is empty for an older buildah that has the
# stage in its cache
RUN --mount=type=secret,id=ca,target=/run/ca.crt --mount=type=secret,id=index,target=/run/index.sh \
    --mount=type=bind,from=wheelhouse,target=/wheelhouse \
    if [ -s /run/ca.crt ]; then export PIP_CERT=/run/ca.crt; fi; \
    if [ -s /run/index.sh ]; then . /run/index.sh; fi; \
    if [ -n "$(ls -A /wheelhouse)" ]; then set -- --no-index --find-links /wheelhouse; fi; \
    python3 -m venv /opt/uv && /opt/uv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check "$@" 'uv>=0.9'

COPY pyproject.toml uv.lock /opt/ivr/source/
# one layer of several GB that changes with these two alone. Bytecode is compiled here, because nobody can write it
# later; a cache of uv's is used where the builder mounts one
RUN --mount=type=secret,id=ca,target=/run/ca.crt --mount=type=secret,id=index,target=/run/index.sh \
    --mount=type=secret,id=uv,target=/run/uv.toml --mount=type=bind,from=wheelhouse,target=/wheelhouse \
    if [ -s /run/ca.crt ]; then export SSL_CERT_FILE=/run/ca.crt; fi; \
    if [ -s /run/uv.toml ]; then export UV_CONFIG_FILE=/run/uv.toml; fi; \
    if [ -s /run/index.sh ]; then . /run/index.sh; fi; \
    if [ -n "$(ls -A /wheelhouse)" ]; then set -- --offline --no-index --find-links /wheelhouse; fi; \
    if [ -d /var/cache/uv ]; then export UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy; else export UV_NO_CACHE=1; fi; \
    export UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/ivr/venv && cd /opt/ivr/source && \
    /opt/uv/bin/uv venv --quiet --python /usr/bin/python3 /opt/ivr/venv && \
    /opt/uv/bin/uv export --quiet --frozen --no-dev --no-emit-project --no-header --no-annotate \
      --output-file /opt/ivr/requirements.txt && \
    /opt/uv/bin/uv pip sync --require-hashes --build-constraints /opt/ivr/requirements.txt --compile-bytecode "$@" \
      /opt/ivr/requirements.txt

# Nothing of the image is written to when it runs: mount a folder of yours at /work (artifacts/ lies in it) and,
# for everything that is compiled or downloaded on the way, one at /cache. Any user id will do.
RUN install -d -m 1777 /work /cache && useradd --uid 1000 --home-dir /tmp --no-create-home --shell /bin/bash ivr
ENV PATH=/opt/ivr/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/tmp LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/cache HF_HOME=/cache/huggingface TORCH_HOME=/cache/torch TORCH_EXTENSIONS_DIR=/cache/torch_extensions \
    TORCHINDUCTOR_CACHE_DIR=/cache/torchinductor TRITON_CACHE_DIR=/cache/triton MPLCONFIGDIR=/cache/matplotlib \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

COPY README.md LICENSE /opt/ivr/source/
COPY ivr /opt/ivr/source/ivr
# -I: apptainer and pyxis bring the host's environment along, and its PYTHONPATH or PYTHONHOME is for another Python
RUN VIRTUAL_ENV=/opt/ivr/venv /opt/uv/bin/uv pip install --quiet --offline --no-cache --no-deps --compile-bytecode \
    /opt/ivr/source && sed -E -i '1s|^(#!.*/python[0-9.]*)$|\1 -I|' /opt/ivr/venv/bin/ivr

USER 1000:1000
WORKDIR /work
CMD ["ivr", "--help"]

# last, because they differ from commit to commit
ARG VERSION=unknown
ARG COMMIT=unknown
ENV IVR_GIT_COMMIT=${COMMIT}
LABEL org.opencontainers.image.title="gpt2-ivr" \
      org.opencontainers.image.description="In-place vocabulary reassignment for GPT-2" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"

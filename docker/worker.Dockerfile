# A worker. On a GPU host build with --build-arg TORCH=torch==2.13.0 (PyPI's build brings CUDA).
FROM python:3.11-slim
ARG TORCH=torch==2.13.0
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN pip install --no-cache-dir -c constraints.txt "$TORCH" numpy
COPY search search
COPY generators generators
COPY verifiers verifiers
COPY service service
COPY bench bench
RUN pip install --no-cache-dir -c constraints.txt '.[torch,molecules]' && pip install --no-cache-dir -c constraints.txt --no-deps ccexam \
    && useradd --create-home winnow && mkdir /data && chown winnow /data
USER winnow
ENV WINNOW_DATA_DIR=/data HF_HUB_OFFLINE=1 \
    MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_TOP_PAD_=67108864
STOPSIGNAL SIGTERM
CMD ["winnow", "worker"]

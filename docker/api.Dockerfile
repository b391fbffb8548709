# The API and its feeder: no torch, no network weights.
FROM python:3.11.14-slim-bookworm
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY search search
COPY generators generators
COPY verifiers verifiers
COPY service service
COPY bench bench
RUN pip install --quiet --no-cache-dir -c constraints.txt '.[postgres,otel]'
RUN useradd --uid 10001 --create-home winnow && mkdir /data && chown 10001:10001 /data
USER 10001:10001
ENV WINNOW_DATA_DIR=/data WINNOW_LOG=json
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "import httpx; httpx.get('http://127.0.0.1:8000/readyz').raise_for_status()"]
# It starts once there is a key (winnow keys create NAME), or with --open.
CMD ["winnow", "api", "--host", "0.0.0.0"]

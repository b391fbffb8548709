# The API and its feeder: no torch, no network weights.
FROM python:3.11-slim
WORKDIR /app
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends bubblewrap && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY search search
COPY generators generators
COPY verifiers verifiers
COPY service service
COPY bench bench
RUN pip install --no-cache-dir -c constraints.txt . && useradd --create-home winnow && mkdir /data && chown winnow /data
USER winnow
ENV WINNOW_DATA_DIR=/data
EXPOSE 8000
HEALTHCHECK --interval=10s CMD ["python", "-c", "import httpx; httpx.get('http://127.0.0.1:8000/readyz').raise_for_status()"]
# Published on loopback only (docker-compose.yml); make keys before you open it: winnow keys create NAME
CMD ["winnow", "api", "--host", "0.0.0.0", "--open"]

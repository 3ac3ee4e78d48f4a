# The gateway in a container. Put gateway.toml into the data volume and give the process its serial devices:
#   docker run -v wattgate:/data --device /dev/ttyUSB0 --group-add dialout -p 8080:8080 wattgate
# The port is reachable from outside with [http] listen = "0.0.0.0:8080", for which [bank] enabled must be false: it is unsigned so far.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/wattgate
COPY requirements.lock ./
RUN /opt/wattgate/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY protocols protocols
COPY firmware_sim firmware_sim
COPY gateway gateway
COPY config config
RUN /opt/wattgate/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin wattgate \
 && install -d -o wattgate -g wattgate -m 0700 /data
COPY --from=build /opt/wattgate /opt/wattgate
ENV PATH=/opt/wattgate/bin:$PATH PYTHONUNBUFFERED=1 HEALTH_URL=http://127.0.0.1:8080/healthz
USER wattgate
WORKDIR /data
VOLUME /data
EXPOSE 8080
# 200 while it may take money and restore supply; HEALTH_URL follows [http] in gateway.toml where that names another port
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(os.environ['HEALTH_URL'], timeout=4)"]
ENTRYPOINT ["wattgate"]
CMD ["run", "-c", "/data/gateway.toml"]

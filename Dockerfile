# The service and its tempo workers; the broker has an image of its own (broker/Dockerfile).
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml hatch_build.py README.md ./
COPY service service
COPY devices devices
COPY broker broker
RUN pip wheel -q --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN pip install -q --no-cache-dir "$(ls /wheels/bandroom-*.whl)[server]" \
    && rm -r /wheels \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin bandroom \
    && install -d -o bandroom -g bandroom -m 0700 /data
ENV BANDROOM_HOME=/data \
    PYTHONDONTWRITEBYTECODE=1
USER bandroom
WORKDIR /data
VOLUME /data
EXPOSE 8080 8443
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
ENTRYPOINT ["bandroom"]
CMD ["up"]

# The image of both services: docker build -t cdc-pipeline .
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update \
 && apt-get install --no-install-recommends -y g++ make perl pkg-config libssl-dev zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The repository's history stays outside; what `cdc --version` names comes in as --build-arg CDC_COMMIT=….
ARG CDC_COMMIT=unknown
RUN CDC_COMMIT="$CDC_COMMIT" cargo build --locked --release -p cdc

FROM debian:12.11-slim
RUN apt-get update \
 && apt-get install --no-install-recommends -y ca-certificates libssl3 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home cdc \
 && install -d -o cdc -g cdc /var/lib/watcher
COPY --from=build /src/target/release/cdc /usr/local/bin/cdc
COPY deploy/container/*.yaml /usr/share/cdc/
COPY --chmod=755 deploy/container/cdc-container deploy/container/cdc-healthy /usr/local/bin/
USER 10001
# Where a token file lives, if Redis does not hold the token.
VOLUME /var/lib/watcher
# Inside a container nobody else reaches 127.0.0.1, so the services listen on all addresses: Watcher 9464, Syncer 9465.
EXPOSE 9464 9465
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/usr/local/bin/cdc-healthy"]
ENTRYPOINT ["/usr/local/bin/cdc-container"]

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
USER 10001
# Where a token file lives, if Redis does not hold the token.
VOLUME /var/lib/watcher
EXPOSE 9464 9465
ENTRYPOINT ["/usr/local/bin/cdc"]

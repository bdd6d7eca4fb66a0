# The image of Subgate: the binary on a base without a shell, for a user who is not root.
#
#   docker build --tag subgate .
#   podman build --format docker --tag subgate .    # the OCI format has no HEALTHCHECK
#
# The base images are arguments. Where images must not change under their tags, name them by digest:
#   docker build --build-arg RUST_IMAGE=docker.io/library/rust@sha256:… \
#     --build-arg RUNTIME_IMAGE=gcr.io/distroless/cc-debian12@sha256:… .

# The compiler of rust-toolchain.toml, on the Debian of the base below: both have the same C library.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-bookworm
# The C library, libgcc, the authorities of TLS, and the user 65532.
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
# Cargo's profile (release builds quicker, and serves slower) and features: jemalloc is the allocator for
# servers, otel sends traces.
ARG PROFILE=dist
ARG FEATURES=jemalloc
WORKDIR /source
COPY . .
# What `deploy/profile --image` has recorded, image.profdata, is used where it is there. It takes the name of its
# content, for Cargo looks at the name alone and target outlives the build.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,sharing=locked \
    set -- build --locked --profile "$PROFILE" --no-default-features --features "$FEATURES" --bin subgate && \
    made=target/$PROFILE && \
    if [ -e image.profdata ]; then \
        machine=$(rustc --print host-tuple) && made=target/$machine/$PROFILE && set -- "$@" --target "$machine" && \
        content=$(sha256sum image.profdata) && recorded=/profile/${content%% *}.profdata && \
        install -D image.profdata "$recorded" && export RUSTFLAGS="-Cprofile-use=$recorded"; \
    fi && \
    cargo "$@" && \
    install -D --target-directory /out/usr/local/bin "$made/subgate" && \
    install -D --mode 644 --target-directory /out/usr/share/doc/subgate LICENSE-APACHE LICENSE-MIT && \
    install --directory --owner 65532 --group 65532 --mode 700 /out/var/lib/subgate

FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="Subgate" \
      org.opencontainers.image.description="An S3 reverse proxy that makes a Bittensor hotkey an S3 identity" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /out/ /
# The configuration is mounted; paths in it start at its folder. What must outlive the container, such as
# chain.snapshot_file, goes to /var/lib/subgate: nothing else is written.
ENV SUBGATE_CONFIG=/etc/subgate/proxy.toml
WORKDIR /var/lib/subgate
# By its number, so that Kubernetes sees that it is not root.
USER 65532:65532
EXPOSE 8014
# Whether the process answers. Where it serves TLS, set SUBGATE_HEALTHCHECK_URL=https://127.0.0.1:8014.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/subgate", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/subgate"]
CMD ["serve"]

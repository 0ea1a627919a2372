# syntax=docker/dockerfile:1
# Three services and the page, one target each:
#   docker build --target trainer --tag mentorgrad-trainer:0.1.0 .
#   docker build --target predictor --tag mentorgrad-predictor:0.1.0 .
#   docker build --target mentor --tag mentorgrad-mentor:0.1.0 .
#   docker build --target ui --tag mentorgrad-ui:0.1.0 .
# Python packages are installed by version and SHA-256: those of deploy/hashes, which `make hashes` writes
# from constraints*.txt, or without these files those that the index has at the first build. Debian and Ubuntu packages are the newest of the base image's release. To pin a
# base image, too, give it with its digest: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
# torch's wheels contain the CUDA libraries, so the smallest CUDA base image is enough.
ARG CUDA_IMAGE=nvidia/cuda:13.0.2-base-ubuntu24.04

# --- which files are installed -------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS hashes
WORKDIR /src
COPY pyproject.toml README.md constraints.txt constraints-cuda.txt ./
COPY deploy deploy
RUN --mount=type=cache,target=/root/.cache/pip \
    test -e deploy/hashes/trainer.txt || python deploy/hash_requirements.py

# --- the package, built once ---------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /src
COPY --from=hashes /src/deploy/hashes/build.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes --no-deps -r build.txt
COPY pyproject.toml README.md ./
COPY protos protos
COPY client client
COPY service_common service_common
COPY run_store run_store
COPY trainer_service trainer_service
COPY mentor_service mentor_service
COPY ui_service ui_service
RUN python -m build --wheel --no-isolation --outdir /dist

# --- trainer and predictor: torch on an NVIDIA GPU, or on the CPU if there is none ---------------
FROM ${CUDA_IMAGE} AS cuda-python
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

FROM cuda-python AS trainer-build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/mentorgrad
ENV PATH=/opt/mentorgrad/bin:$PATH
WORKDIR /src
COPY --from=hashes /src/deploy/hashes/trainer.txt ./
# By far the largest layer; it is rebuilt only when its pins change.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes --no-deps -r trainer.txt
COPY --from=wheel /dist /dist
RUN pip install --no-cache-dir --no-deps --no-index /dist/*.whl

FROM cuda-python AS torch-runtime
RUN groupadd --gid 10001 mentorgrad \
    && useradd --uid 10001 --gid 10001 --create-home --home-dir /data mentorgrad
COPY --from=trainer-build /opt/mentorgrad /opt/mentorgrad
ENV PATH=/opt/mentorgrad/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/data/huggingface
USER 10001:10001
WORKDIR /data

FROM torch-runtime AS trainer
ENV MENTORGRAD_TRAINER_LISTEN=0.0.0.0:50551 \
    MENTORGRAD_TRAINER_CACHE_DIR=/data/cache
EXPOSE 50551
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 \
    CMD ["mentorgrad", "health", "--server", "localhost:50551"]
ENTRYPOINT ["mentorgrad", "serve", "trainer"]

# All layers are the trainer's.
FROM torch-runtime AS predictor
ENV MENTORGRAD_PREDICTOR_LISTEN=0.0.0.0:50553 \
    MENTORGRAD_PREDICTOR_RESULT=/result \
    MENTORGRAD_PREDICTOR_CACHE_DIR=/data/cache
EXPOSE 50553
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 \
    CMD ["mentorgrad", "health", "--server", "localhost:50553"]
ENTRYPOINT ["mentorgrad", "serve", "predictor"]

# --- mentor: a local LLM in llama.cpp, or a client of an OpenAI-compatible server ----------------
FROM ${PYTHON_IMAGE} AS mentor-build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential cmake ninja-build \
    && rm -rf /var/lib/apt/lists/* \
    && python -m venv /opt/mentorgrad
ENV PATH=/opt/mentorgrad/bin:$PATH
WORKDIR /src
COPY deploy/llama-cpp.cmake ./
COPY --from=hashes /src/deploy/hashes/mentor.txt /src/deploy/hashes/llama-cpp.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes --no-deps -r mentor.txt
# Compiled from source for any x86-64 with AVX2 (or any arm64), not for the build machine's CPU, without
# llama.cpp's tools, and by packages of mentor.txt: those of an isolated build would not be checked.
RUN --mount=type=cache,target=/root/.cache/pip \
    CMAKE_ARGS="-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE=/src/llama-cpp.cmake" \
    pip install --require-hashes --no-deps --no-build-isolation -r llama-cpp.txt
COPY --from=wheel /dist /dist
RUN pip install --no-cache-dir --no-deps --no-index /dist/*.whl

FROM ${PYTHON_IMAGE} AS mentor
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 mentorgrad \
    && useradd --uid 10001 --gid 10001 --create-home --home-dir /data mentorgrad
COPY --from=mentor-build /opt/mentorgrad /opt/mentorgrad
ENV PATH=/opt/mentorgrad/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/data/huggingface \
    MENTORGRAD_MENTOR_LISTEN=0.0.0.0:50552
USER 10001:10001
WORKDIR /data
EXPOSE 50552
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 \
    CMD ["mentorgrad", "health", "--server", "localhost:50552"]
ENTRYPOINT ["mentorgrad", "serve", "mentor"]

# --- page: a client of the trainer ---------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS ui-build
RUN python -m venv /opt/mentorgrad
ENV PATH=/opt/mentorgrad/bin:$PATH
WORKDIR /src
COPY --from=hashes /src/deploy/hashes/ui.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes --no-deps -r ui.txt
COPY --from=wheel /dist /dist
RUN pip install --no-cache-dir --no-deps --no-index /dist/*.whl

FROM ${PYTHON_IMAGE} AS ui
RUN groupadd --gid 10001 mentorgrad \
    && useradd --uid 10001 --gid 10001 --create-home --home-dir /data mentorgrad
COPY --from=ui-build /opt/mentorgrad /opt/mentorgrad
ENV PATH=/opt/mentorgrad/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    MENTORGRAD_UI_LISTEN=0.0.0.0:8080
USER 10001:10001
WORKDIR /data
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import socket; socket.create_connection(('localhost', 8080), 5)"]
ENTRYPOINT ["mentorgrad", "serve", "ui"]

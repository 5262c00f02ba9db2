# The service for exported .onnx and .xml files in /models. See docs/serve.md.
FROM python:3.13-slim

# torch without CUDA, which would take gigabytes; exported files do not need torch to run.
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu

WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir '.[serve]' onnxruntime openvino \
    && useradd --create-home --uid 10001 convwright

USER convwright
WORKDIR /models
VOLUME /models
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=2)"]
STOPSIGNAL SIGTERM

# Every model of the folder, also with spaces in its name; exec, so that the service gets the signals.
CMD ["sh", "-c", "for file in /models/*.onnx /models/*.xml; do [ ! -e \"$file\" ] || set -- \"$@\" \"$file\"; done; exec convwright serve \"$@\" --host 0.0.0.0 --port 8000", "convwright"]

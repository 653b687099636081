# openloger on a CPU, for amd64 and arm64 (docs/edge.md):
#   docker build -t openloger .
#   docker run --rm -v "$PWD:/videos" openloger reconstruct walk.mp4
FROM python:3.12-slim

# A plain torch brings CUDA; its CPU wheels have an index of their own.
COPY constraints.txt /tmp/
RUN pip install --no-cache-dir --constraint /tmp/constraints.txt torch --index-url https://download.pytorch.org/whl/cpu

COPY . /tmp/openloger
RUN pip install --no-cache-dir /tmp/openloger && rm -r /tmp/openloger

# Of a user without a home: measured kernels and downloaded weights lie here, in a volume if they are to stay.
ENV HOME=/tmp
USER 1000
WORKDIR /videos
ENTRYPOINT ["openloger"]
CMD ["--help"]

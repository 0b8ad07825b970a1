# prlm-bench on a CPU: docker build -t prlm-bench . && docker run --rm -v "$PWD:/data" prlm-bench run --synth-users 10
FROM python:3.11-slim

# torch without CUDA, in the version that constraints.txt names; the index is used for this package alone.
WORKDIR /opt/prlm-bench
COPY constraints.txt ./
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' constraints.txt)"

COPY pyproject.toml README.md LICENSE ./
COPY prlm_bench prlm_bench
COPY plugins plugins
COPY tasks tasks
COPY results/reported.yaml results/reported.yaml
RUN pip install --no-cache-dir -c constraints.txt '.[lm,dense,fast,prlm-metrics,report]'

# Results go to the working folder, which is meant to be mounted; caches to a volume.
RUN useradd --create-home bench && mkdir /cache && chown bench /cache
USER bench
ENV PRLM_BENCH_CACHE=/cache
VOLUME /cache
WORKDIR /data
ENTRYPOINT ["prlm-bench"]
CMD ["--help"]

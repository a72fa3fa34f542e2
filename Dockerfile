# hitfinder in a container: docker build -t hitfinder . && docker run --rm -v "$PWD:/data" hitfinder --help
FROM python:3.12-slim

COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY src /src/src
RUN pip install --no-cache-dir --no-compile -c /src/constraints.txt /src && rm -rf /src

# Any user may run it: compiled code goes to a folder that everyone can write to.
ENV NUMBA_CACHE_DIR=/tmp/hitfinder-numba MPLCONFIGDIR=/tmp/hitfinder-matplotlib
RUN useradd --create-home hitfinder
USER hitfinder
WORKDIR /data
ENTRYPOINT ["hitfinder"]

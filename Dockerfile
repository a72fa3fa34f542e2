# hitfinder in a container: docker build -t hitfinder . && docker run --rm -v "$PWD:/data" hitfinder --help
FROM python:3.12-slim

COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY src /src/src
RUN pip install --no-cache-dir -c /src/constraints.txt /src && rm -rf /src

RUN useradd --create-home hitfinder
USER hitfinder
# As the user who runs: Numba reads compiled code only where it may write. For processors like this
# one; others compile on their first run.
RUN hitfinder compile
WORKDIR /data
ENTRYPOINT ["hitfinder"]

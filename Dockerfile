# hitfinder in a container: docker build -t hitfinder . && docker run --rm -v "$PWD:/data" hitfinder --help
FROM python:3.12-slim

COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY src /src/src
RUN pip install --no-cache-dir --no-compile -c /src/constraints.txt /src && rm -rf /src
# For processors like this one; others compile on their first run.
RUN hitfinder compile

RUN useradd --create-home hitfinder
USER hitfinder
WORKDIR /data
ENTRYPOINT ["hitfinder"]

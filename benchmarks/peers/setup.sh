#!/bin/sh
# Install the finders we measure against, each on its own: they are GPL and never dependencies.
# DIALS comes from Debian and runs in the system's Python.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)/.peers
mkdir -p "$root"
for entry in cfelpyutils:cfelpyutils==2.2.0 om:ondamonitor==23.8.3; do
    venv=$root/${entry%%:*}
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet "${entry#*:}"
done
if ! /usr/bin/python3 -c 'import dials' 2>/dev/null; then
    apt-get update -qq
    apt-get install --yes --no-install-recommends dials
fi

#!/bin/sh
# Makes $VENV with $PYTHON, or with the first Python of 3.11 or newer that runs; leaves a good one alone.
set -eu

modern() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if modern "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then exit 0; fi

for python in ${PYTHON:-python3.11 python3 python3.12 python3.13 python3.14}; do
  modern "$python" || continue
  echo "making $VENV with $("$python" --version)"
  rm -rf "$VENV"
  "$python" -m venv "$VENV" && exit 0
  echo "$python cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2
  exit 1
done
echo "no Python of 3.11 or newer found${PYTHON:+ under the name $PYTHON}; name one with: make PYTHON=/path/to/python3" >&2
exit 1

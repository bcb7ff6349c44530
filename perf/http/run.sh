#!/usr/bin/env bash
# Measures distild over HTTP: the layer alone beside libmicrohttpd alone, a text's CPU time beside that of the library alone,
# concurrency 1 to 512, and loads up to ten times what it sustains.
#
#   perf/http/run.sh BUILD [DIRECTORY] [OPTION...]
#
# BUILD is a build tree (build/release); DIRECTORY (default: build/http) takes the result: http.json, http.md and http.png, and the
# virtual environment that draws. Options go to measure.py: --parts layer,cost,matrix,floor,overload, --models NAME=PATH,NAME=PATH (an empty
# path is the bundled model), --tsv FILE with texts such as SST-2's, --seconds for each figure, --factors and
# --rounds of the overload, --server-cpus 0 --load-cpus 1 to give server and load cores of their own in it.
set -euo pipefail
if [[ $# -lt 1 || $1 == --help ]]; then
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit $(($# < 1 ? 2 : 0))
fi
here=$(cd "$(dirname "$0")" && pwd)
build=$(realpath "$1")
directory=${2:-build/http}
shift $(($# < 2 ? $# : 2))
mkdir -p "$directory"
cmake --build "$build" --target distild perf_load perf_bare >/dev/null

ulimit -n "$(ulimit -H -n)"
python3 "$here/measure.py" "$build" "$directory/http.json" "$@"
python=$directory/venv/bin/python
if [[ ! -e $directory/venv/ready ]]; then
    python3 -m venv "$directory/venv"
    "$python" -m pip install --quiet matplotlib
    touch "$directory/venv/ready"
fi
"$python" "$here/draw.py" "$directory/http.json" "$directory/http"
cat "$directory/http.md"

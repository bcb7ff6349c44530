#!/usr/bin/env bash
# Times distild beside onnxruntime, openvino, ctranslate2 and torch at the same work, in one run.
#
#   perf/peers/run.sh DISTILD [DIRECTORY] [OPTION...]
#
# DISTILD is the program; DIRECTORY (default: build/peers) takes the virtual environment (3 GB), a random-weight DistilBERT-base
# checkpoint and each peer's form of it (2 GB), and the result: peers.json, peers.md and peers.png. What is there is kept.
# Options go to peers.py: --threads, --classes, --cells, --cpu, --rounds, --seconds, --add.
set -euo pipefail
if [[ $# -lt 1 || $1 == --help ]]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit $(($# < 1 ? 2 : 0))
fi
here=$(cd "$(dirname "$0")" && pwd)
distild=$(realpath "$1")
directory=${2:-build/peers}
shift $(($# < 2 ? $# : 2))
mkdir -p "$directory"

python=$directory/venv/bin/python
if [[ ! -e $directory/venv/ready ]]; then
    python3 -m venv "$directory/venv"
    "$python" -m pip install --quiet -r "$here/requirements.txt"
    touch "$directory/venv/ready"
fi
# The random tokens need no words of their own: any 30,522 lines make a vocabulary.
vocabulary=$directory/vocab.txt
[[ -e $vocabulary ]] || {
    printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n'
    seq 6 30522 | sed 's/^/token/'
} >"$vocabulary"
"$python" "$here/prepare.py" "$directory" "$vocabulary"
"$python" "$here/peers.py" "$directory" "$distild" --output "$directory/peers.json" "$@"
"$python" "$here/draw.py" "$directory/peers.json" "$directory/peers"

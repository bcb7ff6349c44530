#!/usr/bin/env bash
# From a fresh clone to an answer: installs what the build needs, builds distild, serves the bundled sentiment model and
# asks it about two sentences.
#
#   deploy/quickstart.sh               goes on serving until Ctrl-C
#   deploy/quickstart.sh --once        stops the server after the answers
#   deploy/quickstart.sh --port 9000   another port than 8080
#
# On Debian, missing packages are installed first (with sudo where the user is not root).
set -euo pipefail

port=8080
once=no
while [[ $# -gt 0 ]]; do
    case $1 in
    --once)
        once=yes
        shift
        ;;
    --port)
        port=${2:?--port needs a number}
        shift 2
        ;;
    -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "quickstart.sh: unknown option '$1' (--help lists them)" >&2
        exit 2
        ;;
    esac
done

cd "$(dirname "$0")/.."
deploy/packages.sh build serve
cmake --preset release -DDISTILD_TESTS=OFF >/dev/null
cmake --build build/release -j "$(nproc)"

server=
stop() {
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" || true
    fi
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

url=http://127.0.0.1:$port
if curl -s -o /dev/null "$url/"; then
    echo "quickstart.sh: another server answers on port $port; choose one with --port" >&2
    exit 1
fi
build/release/distild serve --port "$port" &
server=$!
for _ in $(seq 100); do
    if curl -sf "$url/health" >/dev/null; then
        break
    fi
    if ! kill -0 "$server" 2>/dev/null; then
        server=
        echo "quickstart.sh: the server stopped; its message is above" >&2
        exit 1
    fi
    sleep 0.1
done

ask() {
    local command=(curl -sS --fail-with-body "$url/predict" -H 'Content-Type: application/json' -d "{\"text\": \"$1\"}")
    printf '\n$ curl %s -H %s \\\n    -d %s\n' "$url/predict" "'${command[5]}'" "'${command[7]}'"
    "${command[@]}"
    echo
}
ask "A warm, funny film with a wonderful cast."
ask "The jokes are stale and the ending arrives forty minutes late."

if [[ $once == yes ]]; then
    exit 0
fi
echo
echo "Serving on $url. Stop with Ctrl-C."
wait "$server"

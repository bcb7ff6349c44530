#!/usr/bin/env bash
# Installs the Debian packages that a job needs and that this machine lacks. Asks for root (through sudo) only where one
# is missing.
#
#   deploy/packages.sh build         what it takes to build distild
#   deploy/packages.sh build test    and to run its tests
#   deploy/packages.sh build test ci and everything continuous integration uses
#   deploy/packages.sh containers    to build and run its image without a Docker engine
set -euo pipefail

build=(gcc libc6-dev cmake ninja-build pkg-config libopenblas-dev libmicrohttpd-dev libgnutls28-dev libjwt-dev libcrypt-dev libcjson-dev libutf8proc-dev nettle-dev libsqlite3-dev libmd4c-dev)
test=(check g++ python3 curl openssl)
ci=(ccache clang clang-format clang-tidy python3-venv valgrind prometheus prometheus-alertmanager nginx-light)
serve=(curl)
containers=(buildah podman runc netavark aardvark-dns catatonit mmdebstrap iptables iproute2 systemd python3-venv curl)

wanted=()
for group in "$@"; do
    case $group in
    build) wanted+=("${build[@]}") ;;
    test) wanted+=("${test[@]}") ;;
    ci) wanted+=("${ci[@]}") ;;
    serve) wanted+=("${serve[@]}") ;;
    containers) wanted+=("${containers[@]}") ;;
    *)
        echo "packages.sh: unknown group '$group': expected build, test, serve, ci or containers" >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then
    echo "packages.sh: not a Debian system; please install the equivalents of: ${wanted[*]}" >&2
    exit 0
fi

missing=()
for package in "${wanted[@]}"; do
    if [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
        missing+=("$package")
    fi
done
if [[ ${#missing[@]} -eq 0 ]]; then
    exit 0
fi

as_root=()
if [[ $(id -u) -ne 0 ]]; then
    if ! command -v sudo >/dev/null; then
        echo "packages.sh: please install as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

# apt-get with up to three attempts: mirrors drop connections.
apt() {
    local attempt
    for attempt in 1 2 3; do
        if "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >&2; then
            return 0
        fi
        echo "packages.sh: apt-get $1 failed, attempt $attempt of 3" >&2
        sleep $((attempt * 5))
    done
    return 1
}

echo "Installing with apt-get: ${missing[*]}" >&2
apt update
apt install -y --no-install-recommends "${missing[@]}"

#!/usr/bin/env bash
# Runs a command where containers can be built or run without a Docker engine, a registry or a service manager: with buildah,
# podman and runc, on a base image that is made here from Debian's packages. Images and layers are kept for the next time; what the
# command starts or mounts ends with it.
#
#   tests/containers/room.sh deploy/build.sh              with the machine's network, to build images
#   tests/containers/room.sh --closed deploy/deploy.sh …  in a network of its own, to run them: nothing gets in or out
#
# Images are kept under DISTILD_CONTAINERS (/var/cache/distild-containers; 1 GB). The base stands for docker.io/library/debian:bookworm-slim and
# has the same packages, but is not the official image. Needs root. Exit status 77: containers cannot be had here.
set -euo pipefail

cache=${DISTILD_CONTAINERS:-/var/cache/distild-containers}
base=docker.io/library/debian:bookworm-slim
closed=no
case ${1:-} in
--closed)
    closed=yes
    shift
    ;;
-h | --help)
    sed -n '2,11s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
-*)
    echo "room.sh: unknown option '$1' (--help lists them)" >&2
    exit 2
    ;;
esac
if [[ $# -eq 0 ]]; then
    echo "room.sh: a command is missing (--help)" >&2
    exit 2
fi

if [[ $(id -u) -ne 0 ]]; then
    echo "room.sh: skipped: needs root, for namespaces and mounts" >&2
    exit 77
fi
for needed in buildah podman runc mmdebstrap unshare ip; do
    if ! command -v "$needed" >/dev/null; then
        echo "room.sh: skipped: needs $needed (deploy/packages.sh containers)" >&2
        exit 77
    fi
done
if ! unshare --mount --pid --net --fork true 2>/dev/null; then
    echo "room.sh: skipped: this machine allows no namespaces" >&2
    exit 77
fi

room=$(mktemp -d)
leave() {
    # The namespaces are gone by now, and with them every mount and process; only empty control groups are left.
    rm -rf --one-file-system "$room"
    find "$cache/tmp" -mindepth 1 -maxdepth 1 -name 'buildah[0-9]*' -mmin +600 -exec rm -rf {} + || true
    find /sys/fs/cgroup -mindepth 2 -depth -type d -path '*/libpod_parent*' -exec rmdir {} + 2>/dev/null || true
}
trap leave EXIT
child=
trap 'kill -KILL $child 2>/dev/null; exit 130' INT
trap 'kill -KILL $child 2>/dev/null; exit 143' TERM

# settings GRAPHROOT [READ_ONLY_STORE]: where images and containers lie, and how containers are run.
settings() {
    cat >"$room/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$1"
runroot = "$room/run"
[storage.options]
additionalimagestores = [${2:+"\"$2\""}]
END
    cat >"$room/containers.conf" <<END
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "$room/tmp"
[network]
network_backend = "netavark"
network_config_dir = "$room/networks"
END
    mkdir -p "$room/networks" "$room/tmp"
    export CONTAINERS_CONF=$room/containers.conf CONTAINERS_STORAGE_CONF=$room/storage.conf BUILDAH_ISOLATION=chroot
}

# The packages of debian:bookworm-slim, from where this machine gets its own.
make_base() {
    # with /usr merged from the start, as usrmerge would bring all of Perl
    local sources options=(--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr) valid='' proxy='' container
    for sources in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list ''; do
        [[ -s $sources ]] && break
    done
    eval "$(apt-config shell valid Acquire::Check-Valid-Until proxy Acquire::http::Proxy)"
    [[ -n $valid ]] && options+=(--aptopt="Acquire::Check-Valid-Until \"$valid\"")
    [[ -n $proxy ]] && options+=(--aptopt="Acquire::http::Proxy \"$proxy\"")
    if [[ -n $sources ]] && grep -q https: "$sources"; then
        options+=(--include=ca-certificates)
    fi
    echo "room.sh: making $base from Debian's packages" >&2
    mmdebstrap --quiet --mode=root --variant=minbase "${options[@]}" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        bookworm "$room/base.tar" ${sources:+"$sources"} >"$room/base.log" 2>&1 || { tail -n 20 "$room/base.log" >&2; return 1; }
    container=$(buildah from scratch) &&
        buildah add --quiet "$container" "$room/base.tar" / >/dev/null &&
        buildah config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container" &&
        buildah commit --quiet --format docker --rm "$container" "$base" >/dev/null
    rm -f "$room/base.tar"
}
export -f make_base
export room base

mkdir -p "$cache/images" "$cache/tmp"
export TMPDIR=$cache/tmp # of buildah, which keeps the caches of builds there
settings "$cache/images"
# inside [OPTIONS OF UNSHARE] COMMAND...: in namespaces that end with the command, and with them whatever it started. In the background, so that
# signals are seen at once; unshare ends by SIGKILL alone.
inside() {
    unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$@" <&0 &
    child=$!
    wait "$child"
}

# One at a time makes the base; others wait for it.
exec 9>"$cache/lock"
flock 9
inside bash -c 'exec 9>&-; buildah inspect --type image "$base" >/dev/null 2>&1 || make_base'
exec 9>&-

if [[ $closed == yes ]]; then
    settings "$room/store" "$cache/images"
    # The engine notes in /run which addresses and namespaces are in use: those of this room alone.
    inside --net bash -c 'mkdir -p /run/containers /run/netns /run/runc &&
        for place in containers netns runc; do mount -t tmpfs tmpfs "/run/$place" || exit; done && ip link set lo up && "$@"' room "$@"
else
    inside "$@"
fi

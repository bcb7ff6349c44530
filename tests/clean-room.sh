#!/usr/bin/env bash
# Runs the README's commands as a stranger would: in a bare Debian 12 root with git alone, on a clone of the last commit.
#
#   tests/clean-room.sh                              deploy/quickstart.sh --once, then tests/run.sh
#   tests/clean-room.sh .ci/run                      other commands
#   tests/clean-room.sh --mirror URL [...]           another Debian mirror than deb.debian.org
#   tests/clean-room.sh --base FILE.tar [...]        keep the bare root there, and use it when it exists
#
# Needs root and debootstrap. The machine's apt sources, certificates and proxy settings are used; the root is removed
# afterwards.
set -euo pipefail

mirror=http://deb.debian.org/debian
base=
while [[ $# -gt 0 ]]; do
    case $1 in
    --mirror)
        mirror=${2:?--mirror needs a URL}
        shift 2
        ;;
    --base)
        base=${2:?--base needs a file}
        shift 2
        ;;
    -h | --help)
        sed -n '2,10s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    -*)
        echo "clean-room.sh: unknown option '$1' (--help lists them)" >&2
        exit 2
        ;;
    *) break ;;
    esac
done
if [[ $# -eq 0 ]]; then
    set -- "deploy/quickstart.sh --once" tests/run.sh
fi
if [[ $(id -u) -ne 0 ]]; then
    echo "clean-room.sh: needs root, for debootstrap and chroot" >&2
    exit 1
fi
source=$(cd "$(dirname "$0")/.." && pwd)

# In a mount namespace of our own, so that nothing stays mounted.
if [[ -z ${CLEAN_ROOM_INSIDE:-} ]]; then
    room=$(mktemp -d)
    chmod 755 "$room"
    trap 'rm -rf --one-file-system "$room"' EXIT
    arguments=(--mirror "$mirror")
    [[ -n $base ]] && arguments+=(--base "$base")
    CLEAN_ROOM_INSIDE=$room unshare --mount --propagation private "$0" "${arguments[@]}" "$@"
    exit
fi
room=$CLEAN_ROOM_INSIDE

inside() {
    local proxies=() name
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_CERT PIP_INDEX_URL; do
        [[ -n ${!name:-} ]] && proxies+=("$name=${!name}")
    done
    chroot "$room" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "${proxies[@]}" "$@"
}

make_base() {
    debootstrap --variant=minbase bookworm "$room" "$mirror"
    rm -f "$room/etc/apt/sources.list"
    for path in /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/apt.conf.d /etc/apt/trusted.gpg.d; do
        if [[ -e $path ]]; then
            rm -rf "${room:?}$path"
            cp -a "$path" "$room$path"
        fi
    done
    inside apt-get -qq update
    inside env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends git
}

if [[ -n $base && -e $base ]]; then
    tar -C "$room" -xf "$base"
else
    make_base
    [[ -n $base ]] && tar -C "$room" -cf "$base" .
fi
cp /etc/resolv.conf "$room/etc/resolv.conf"
if [[ -e /etc/ssl/certs/ca-certificates.crt ]]; then
    mkdir -p "$room/etc/ssl/certs"
    cp -L /etc/ssl/certs/ca-certificates.crt "$room/etc/ssl/certs/"
    export PIP_CERT=/etc/ssl/certs/ca-certificates.crt
fi
mount -t proc proc "$room/proc"
mount --rbind /dev "$room/dev"
mount --bind -o ro /sys "$room/sys"

git -c safe.directory="$source" -C "$source" bundle create -q "$room/srv/distild.bundle" HEAD
inside git clone -q /srv/distild.bundle /srv/distild
inside git -C /srv/distild log -1 --format='clone of %h %s'
for command in "$@"; do
    echo "==== $command"
    from=$SECONDS
    inside bash -c "cd /srv/distild && exec $command" </dev/null
    echo "==== $command: ok, $((SECONDS - from)) s"
done

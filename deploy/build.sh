#!/usr/bin/env bash
# Builds the image of distild with the container engine that this machine has: podman, buildah or docker.
#
#   deploy/build.sh                                    localhost/distild:VERSION, with the bundled models
#   deploy/build.sh --tag registry.example/distild:2   another name
#   deploy/build.sh --model FILE --tests FILE.tsv      a model of your own, which must pass tests of its own
#   deploy/build.sh --base IMAGE                       another base than docker.io/library/debian:bookworm-slim
#   deploy/build.sh --engine docker                    this engine
#   deploy/build.sh [...] -- --no-cache                what follows -- goes to the engine
#
# MODEL and its tests must lie in this directory tree, which is what the engine sees. --min-accuracy X (0.88) goes with labelled texts, by
# default deploy/tests/sentiment.tsv; tests whose name ends in .json say themselves what the score must be.
set -euo pipefail

tag='' model='' tests='' accuracy='' base='' engine=''
while [[ $# -gt 0 ]]; do
    case $1 in
    --tag | --model | --tests | --min-accuracy | --base | --engine)
        name=${1#--}
        [[ $name == min-accuracy ]] && name=accuracy
        printf -v "$name" %s "${2:?$1 needs a value}"
        shift 2
        ;;
    -h | --help)
        sed -n '2,12s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    --)
        shift
        break
        ;;
    *)
        echo "build.sh: unknown option '$1' (--help lists them)" >&2
        exit 2
        ;;
    esac
done

cd "$(dirname "$0")/.."
# works ENGINE: it is here, and a daemon that it may need answers.
works() {
    command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1
}
for candidate in ${engine:-buildah podman docker}; do
    if works "$candidate"; then
        engine=$candidate
        break
    fi
    [[ -n $engine ]] && { echo "build.sh: $engine does not answer here" >&2; exit 1; }
done
if [[ -z $engine ]]; then
    echo "build.sh: needs podman, buildah or docker, and none answers here" >&2
    exit 1
fi

version=$(sed -n 's/^project(distild VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
revision=$(git -c safe.directory="$PWD" rev-parse --short HEAD 2>/dev/null || echo unknown)
command=(build)
# An image of Docker's format, as the others have no health check.
case $engine in
buildah) command=(bud --format docker --layers) ;;
podman) command=(build --format docker --layers) ;;
esac
# What was made here is not looked for elsewhere.
[[ $engine != docker ]] && command+=(--pull=missing)
arguments=(VERSION="$version" REVISION="$revision")
[[ -n $base ]] && arguments+=(BASE="$base")
[[ -n $model ]] && arguments+=(MODEL_FILE="$model")
[[ -n $accuracy && -z $tests ]] && tests=deploy/tests/sentiment.tsv
[[ -n $tests ]] && arguments+=(MODEL_TEST_FILE="$tests")
[[ -n $accuracy ]] && arguments+=(MIN_ACCURACY="$accuracy")
for argument in "${arguments[@]}"; do
    command+=(--build-arg "$argument")
done
tag=${tag:-localhost/distild:$version}
echo "build.sh: $engine ${command[0]}, $tag" >&2
"$engine" "${command[@]}" --file deploy/Dockerfile --tag "$tag" "$@" .

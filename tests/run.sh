#!/usr/bin/env bash
# Builds distild with its tests and runs them: the suite a developer runs all day.
#
#   tests/run.sh                         build/release, every test but the long ones
#   tests/run.sh --preset asan           another CMake preset: debug, asan, tsan
#   tests/run.sh --full                  the long tests too
#   tests/run.sh [...] -- -R tokenizer   what follows -- goes to ctest
#
# On Debian, missing packages are installed first (with sudo where the user is not root).
set -euo pipefail

preset=release
labels=(-LE full)
while [[ $# -gt 0 ]]; do
    case $1 in
    --preset)
        preset=${2:?--preset needs a name}
        shift 2
        ;;
    --full)
        labels=()
        shift
        ;;
    --)
        shift
        break
        ;;
    -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "run.sh: unknown option '$1' (--help lists them)" >&2
        exit 2
        ;;
    esac
done

cd "$(dirname "$0")/.."
deploy/packages.sh build test
jobs=$(nproc)
cmake --preset "$preset" -DDISTILD_TESTS=ON >/dev/null
cmake --build "build/$preset" -j "$jobs"
ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j "$jobs" "${labels[@]}" "$@"

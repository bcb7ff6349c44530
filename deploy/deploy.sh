#!/usr/bin/env bash
# Puts a version of the image into service in place of the one that runs, and the old one back where the new one fails its tests.
#
#   deploy/deploy.sh IMAGE VERSION MODEL TESTS [OPTIONS]
#   deploy/deploy.sh localhost/distild 0.1.0 reviews.distild deploy/tests/cases.json
#
# MODEL is a model file or a HuggingFace directory, mounted read-only, or `bundled`. TESTS are cases for deploy/client.py.
# One that is skipped for want of a variable of the environment fails, unless it is for a login and there is no session password.
#   --container-name NAME  the container, its volume NAME-state, and its name in the journal (distild)
#   --port-mapping MAP     [ADDRESS:]PORT:8080 to publish (127.0.0.1:8080:8080)
#   --json-log             log JSON objects instead of lines of text
#   --log-tag TAG          name of its lines in the journal, and in Docker's files (the container's name)
#   --memory SIZE          most memory (1g)
#   --wait SECONDS         for the new container to be ready (60)
#   --engine NAME          podman or docker (the first that answers)
# SESSION_PASSWORD in the environment is the password of POST /api/login. Where systemd's journal runs, the log goes there with its
# priorities. A container that fails is restarted up to 5 times. Exit status: 0 the new version serves, 1 it does not and the old one,
# if there was one, serves again, 2 wrong usage.
set -euo pipefail

usage() {
    echo "deploy.sh: $1 (--help says how it is used)" >&2
    exit 2
}

name=distild mapping=127.0.0.1:8080:8080 json=no tag='' memory=1g wait=60 engine=''
operands=()
while [[ $# -gt 0 ]]; do
    case $1 in
    --container-name | --port-mapping | --log-tag | --memory | --wait | --engine)
        [[ $# -ge 2 && -n $2 ]] || usage "$1 needs a value"
        case $1 in
        --container-name) name=$2 ;;
        --port-mapping) mapping=$2 ;;
        --log-tag) tag=$2 ;;
        --memory) memory=$2 ;;
        --wait) wait=$2 ;;
        --engine) engine=$2 ;;
        esac
        shift 2
        ;;
    --json-log)
        json=yes
        shift
        ;;
    -h | --help)
        sed -n '2,19s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    -*) usage "unknown option '$1'" ;;
    *)
        operands+=("$1")
        shift
        ;;
    esac
done
[[ ${#operands[@]} -eq 4 ]] || usage "expected IMAGE VERSION MODEL TESTS, got ${#operands[@]} arguments"
image=${operands[0]}:${operands[1]} model=${operands[2]} tests=${operands[3]}
previous=$name-previous
[[ $mapping =~ ^(([0-9.]+):)?([0-9]+):8080$ ]] || usage "--port-mapping: '$mapping' is not [ADDRESS:]PORT:8080"
address=${BASH_REMATCH[2]:-127.0.0.1} port=${BASH_REMATCH[3]}
[[ $address == 0.0.0.0 ]] && address=127.0.0.1
[[ $wait =~ ^[0-9]+$ ]] || usage "--wait: '$wait' is not a number of seconds"
[[ -r $tests ]] || usage "$tests: no file of cases can be read there"
[[ $model == bundled || -e $model ]] || usage "$model: no model is there"
client=$(dirname "$0")/client.py
"$client" "$tests" --check >/dev/null || exit 2 # while the old one still serves

for candidate in ${engine:-podman docker}; do
    if command -v "$candidate" >/dev/null && "$candidate" info >/dev/null 2>&1; then
        engine=$candidate
        break
    fi
    [[ -n $engine ]] && { echo "deploy.sh: $engine does not answer here" >&2; exit 1; }
done
[[ -n $engine ]] || { echo "deploy.sh: needs podman or docker, and neither answers here" >&2; exit 1; }
if ! "$engine" image inspect "$image" >/dev/null 2>&1; then
    echo "deploy.sh: there is no image $image here (deploy/build.sh makes one)" >&2
    exit 1
fi

exists() {
    "$engine" container inspect "$1" >/dev/null 2>&1
}

options=(--detach --name "$name" --restart on-failure:5 --publish "$mapping" --volume "$name-state:/var/lib/distild"
    --read-only --cap-drop ALL --security-opt no-new-privileges --memory "$memory" --pids-limit 512 --stop-timeout 40
    --env "DISTILD_LOG_JSON=$json" --env DISTILD_VERIFY=yes)
if [[ $model != bundled ]]; then
    mounted=/models/$(basename "$model")
    options+=(--volume "$(realpath "$model"):$mounted:ro" --env "ML_MODEL_PATH=$mounted")
fi
if [[ -n ${SESSION_PASSWORD:-} ]]; then
    options+=(--env SESSION_PASSWORD) # by name alone: whoever lists processes does not see it
fi
journal=/run/systemd/journal/stdout
if [[ -S $journal ]]; then
    options+=(--log-driver journald --log-opt "tag=${tag:-$name}" --volume "$journal:$journal"
        --env "DISTILD_LOG_JOURNAL=$journal" --env "DISTILD_LOG_TAG=${tag:-$name}")
else
    options+=(--log-driver json-file --log-opt max-size=10m)
    [[ $engine == docker ]] && options+=(--log-opt "tag=${tag:-$name}") # podman's files have no tags
fi

# ready NAME: waits until it says that it is healthy. Fails as soon as it has ended for good, and when the time is over.
ready() {
    local until=$((SECONDS + wait))
    while ((SECONDS < until)); do
        if "$engine" exec "$1" distild health >/dev/null 2>&1; then
            return 0
        fi
        case $("$engine" container inspect --format '{{.State.Status}}' "$1") in
        exited | dead)
            echo "deploy.sh: $1 ended with status $("$engine" container inspect --format '{{.State.ExitCode}}' "$1")" >&2
            return 1
            ;;
        esac
        sleep 0.2
    done
    echo "deploy.sh: $1 was not ready within $wait s" >&2
    return 1
}

roll_back() {
    trap - EXIT
    trap '' INT TERM
    echo "deploy.sh: $image is taken out of service; its last lines:" >&2
    exists "$name" && "$engine" logs --tail 20 "$name" >&2
    "$engine" rm --force "$name" >/dev/null 2>&1 || true
    if exists "$previous"; then
        "$engine" stop "$previous" >/dev/null 2>&1 || true # a terminal interrupts that command too
        "$engine" rename "$previous" "$name"
        "$engine" start "$name" >/dev/null
        if ready "$name"; then
            echo "deploy.sh: the previous container serves again" >&2
        else
            echo "deploy.sh: the previous container does not come up again" >&2
        fi
    fi
    exit 1
}

# What ends this now puts the old one back; a signal does when the command that runs has ended.
guard() {
    trap roll_back EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# An interrupted deployment left the old one aside: what stands in its place was not found good.
if exists "$previous"; then
    "$engine" rm --force "$name" >/dev/null 2>&1 || true
    "$engine" rename "$previous" "$name"
fi
if exists "$name"; then
    echo "deploy.sh: stopping $("$engine" container inspect --format '{{.Config.Image}}' "$name")" >&2
    "$engine" rename "$name" "$previous"
    guard # stopping takes a while; before, the old one serves under its other name
    "$engine" stop "$previous" >/dev/null
fi
guard
echo "deploy.sh: starting $image on $address:$port" >&2
"$engine" run "${options[@]}" "$image" >/dev/null
ready "$name"
"$client" "$tests" --strict --url "http://$address:$port"
trap - EXIT
exists "$previous" && "$engine" rm "$previous" >/dev/null
echo "deploy.sh: $image serves on $address:$port" >&2

#!/usr/bin/env bash
# Sets the environment up: .venv with the locked packages, and this project in it. Called by the Makefile.
#
#   deploy/setup.sh [cpu|gpu] [ui] [dev]
#
# What is installed already is left alone: each lock leaves a stamp with its digest, written last, so that a changed
# lock and an installation that was cut off are both installed again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly LOG=build/setup.log
readonly PACKAGES="libseccomp2 libgl1 libgl1-mesa-dri libegl1 libmtdev1"

say() { printf '%s\n' "$*" >&2; }

# step TEXT COMMAND…: runs it with its output in the log, and says how long it has been taking.
step() {
    local text=$1 began=$SECONDS pid
    shift
    printf '=== %s: %s\n' "$text" "$*" >>"$LOG"
    "$@" >>"$LOG" 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null || true' INT TERM EXIT
    local said=0
    while kill -0 "$pid" 2>/dev/null; do
        if [ -t 2 ]; then
            [ $((SECONDS - began)) -ge 2 ] && printf '\r%s … %d s ' "$text" $((SECONDS - began)) >&2
        elif [ $((SECONDS - began)) -ge $((said + 15)) ]; then
            said=$((SECONDS - began))
            say "$text … $said s"
        fi
        sleep 0.2
    done
    trap - INT TERM EXIT
    if wait "$pid"; then
        if [ -t 2 ]; then printf '\r' >&2; fi
        say "$text: $((SECONDS - began)) s"
    else
        say ""
        say "$text failed; the end of $LOG:"
        tail -n 25 "$LOG" >&2
        return 1
    fi
}

python() {
    local candidate
    for candidate in python3.11 python3.12 python3; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    say "Python 3.11 or 3.12 is needed, and neither python3.11, python3.12 nor python3 is one. On Debian: apt-get install python3 python3-venv"
    return 1
}

missing_packages() {
    command -v dpkg-query >/dev/null || return 0
    local package
    for package in $PACKAGES; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$package"
    done
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # a list of words
    apt-get install -y --no-install-recommends $1 || { apt-get update && apt-get install -y --no-install-recommends $1; }
}

system_packages() {
    local missing
    missing=$(missing_packages)
    [ -z "$missing" ] && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && step "Debian packages (${missing% })" install_packages "$missing"; then
        return
    fi
    say "Debian packages are missing, for confinement and for the window: ${missing% }. Install them as root: apt-get install ${missing% }"
}

digest() { cat "$@" | sha256sum | cut -d' ' -f1; }

# locked NAME FILE PIP-OPTION…: installs a lock unless its stamp says that it is there.
locked() {
    local name=$1 file=$2 stamp=$VENV/.installed-$1 wanted
    shift 2
    wanted=$(digest "$file")
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    rm -f "$stamp"
    # They are compiled afterwards, on all cores.
    step "Python packages, $name" "$VENV/bin/python" -m pip install --no-compile "$@" -r "$file"
    printf '%s\n' "$wanted" >"$stamp"
}

checked() {
    local stamp=$VENV/.installed-checked wanted
    wanted=$(digest "$VENV/.installed-$1")
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    if ! step "Checking the model's libraries" "$VENV/bin/python" -c 'import torch, transformers'; then
        say "If torch is the CUDA build, point pip at an index that has CPU builds (PIP_INDEX_URL, PIP_FIND_LINKS), run 'make clean' and try again."
        return 1
    fi
    # The service's processes may only read what is installed: Python would compile it again at each of their starts.
    step "Compiling what is installed" compiled
    printf '%s\n' "$wanted" >"$stamp"
}

# A few packages ship files of other Pythons, which do not compile and are never imported.
compiled() { "$VENV/bin/python" -m compileall -q -j 0 "$VENV"/lib deploy inference_worker ui_client uvm zeo_server || true; }

project() {
    local stamp=$VENV/.installed-batos wanted
    wanted=$(digest pyproject.toml)
    [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
    rm -f "$stamp"
    step "This project" "$VENV/bin/python" -m pip install --no-deps --no-build-isolation -e .
    printf '%s\n' "$wanted" >"$stamp"
}

environment() {
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 && return
    local found
    found=$(python)
    rm -rf "$VENV"
    step "Python environment" "$found" -m venv "$VENV" || {
        say "On Debian: apt-get install python3-venv"
        return 1
    }
}

main() {
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off
    local accelerator=cpu wanted
    mkdir -p build
    : >"$LOG"
    for wanted in "$@"; do
        case $wanted in
            cpu | gpu) accelerator=$wanted ;;
            ui | dev) ;;
            *)
                say "deploy/setup.sh: unknown part $wanted; allowed: cpu, gpu, ui, dev"
                return 2
                ;;
        esac
    done
    system_packages
    environment
    if [ "$accelerator" = gpu ]; then
        locked gpu deploy/requirements/gpu.txt
    else
        locked cpu deploy/requirements/cpu.txt --no-deps
    fi
    for wanted in "$@"; do
        case $wanted in ui | dev) locked "$wanted" "deploy/requirements/$wanted.txt" --no-deps ;; esac
    done
    project
    checked "$accelerator"
}

main "$@"

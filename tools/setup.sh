#!/bin/sh
# Sets up everything that the other verbs need: system packages, and a virtual environment in .venv.
# Does nothing, quickly, when all is there. Nothing global is changed but system packages.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "setup: $*" >&2; }

# Debian and Ubuntu package for each command that is missing.
missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need g++ g++           # Verilator's models are C++
need make make
need perl perl         # Verilator's driver
need iverilog iverilog # the second simulator
echo "#include <lz4.h>" | ${CXX:-g++} -E -xc++ - >/dev/null 2>&1 || missing="$missing liblz4-dev" # waveforms as .fst
python=${PYTHON:-python3}
need "$python" python3
if command -v "$python" >/dev/null 2>&1 && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing="$missing python3-venv"
fi
# cocotb loads Python into the simulator, as a shared library.
if command -v "$python" >/dev/null 2>&1 && ! "$python" - <<'END' 2>/dev/null
import ctypes, os, sysconfig
name, folder = sysconfig.get_config_var("INSTSONAME"), sysconfig.get_config_var("LIBDIR")
try:
    ctypes.CDLL(name)
except OSError:
    ctypes.CDLL(os.path.join(folder, name))
END
then
    missing="$missing libpython3-dev"
fi
# The data of the demonstration; without it the embedded digits serve.
data=""
[ -f /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || data="dataset-fashion-mnist"

if [ -n "$missing$data" ]; then
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then sudo="sudo -n"; fi
    if command -v apt-get >/dev/null 2>&1 && { [ -z "$sudo" ] || $sudo true 2>/dev/null; }; then
        export DEBIAN_FRONTEND=noninteractive
        say "installing$missing $data"
        $sudo apt-get update -qq || say "apt-get update failed; trying with the lists at hand"
        if [ -n "$missing" ]; then
            # shellcheck disable=SC2086
            $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
        fi
        if [ -n "$data" ]; then
            $sudo apt-get install -y -qq --no-install-recommends $data >/dev/null ||
                say "no Fashion-MNIST here ($data cannot be installed); the embedded digits will serve"
        fi
    elif [ -n "$missing" ]; then
        say "these packages are missing, and I may not install them:$missing"
        say "ask an administrator for: apt-get install$missing $data"
        exit 1
    else
        say "no Fashion-MNIST here; the embedded digits will serve. To have it: sudo apt-get install $data"
    fi
fi

"$python" - <<'END' || exit 1
import sys
if sys.version_info < (3, 11):
    sys.exit(f"setup: Python 3.11 or newer is needed, this is {sys.version.split()[0]}; set PYTHON=python3.11 or newer")
END

stamp=.venv/.openopu-setup
wanted=$(cat pyproject.toml constraints.txt tools/setup.sh | cksum; pwd)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c 'import openopu' 2>/dev/null; then
    exit 0
fi
[ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null || { rm -rf .venv; "$python" -m venv .venv; }
say "installing Python packages into .venv"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
printf '%s\n' "$wanted" >"$stamp"
say "done; .venv/bin/openopu is there"

#!/usr/bin/env bash
# Makes this checkout ready to run: system packages, .venv, swiftimgfs and what it needs.
#
#   contrib/setup.sh [demo|test|benchmark]
#                                    what `swiftimgfs demo` needs (the default); test adds
#                                    the tools and libraries of contrib/test, benchmark to
#                                    those the servers and peers of contrib/benchmark
#
# For Debian 12, Ubuntu 24.04 and later, as root or through sudo. Missing system packages
# come from apt, and only the missing ones. PYTHON=... chooses another Python than python3.
# Says a line for each step that really does something, and is done at once if none is left.
set -euo pipefail

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd -P)
mode=${1:-demo}
venv=$root/.venv
stamp=$venv/.swiftimgfs-setup

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

case $mode in
  demo | test | benchmark) ;;
  *) die "unknown mode '$mode': demo, test or benchmark" ;;
esac

# Sets python (outside any virtual environment), version (3.11.7) and headers (yes or no).
find_python() {
  local candidate answer
  local -a candidates=(python3 python3.14 python3.13 python3.12 python3.11)
  [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
  for candidate in "${candidates[@]}"; do
    answer=$("$candidate" -c '
import os, platform, sys, sysconfig
assert sys.version_info >= (3, 11)
header = os.path.join(sysconfig.get_path("platinclude"), "Python.h")
base = getattr(sys, "_base_executable", None) or sys.executable
print(platform.python_version(), "yes" if os.path.exists(header) else "no", base)
' 2>/dev/null </dev/null) || continue
    read -r version headers python <<<"$answer"
    return
  done
  die "Python 3.11 or later is needed, and ${PYTHON:-python3} is $("${PYTHON:-python3}" -V 2>/dev/null || echo missing)"
}

# Makes sure of the given system packages.
install_packages() {
  local -a apt=(env DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin" apt-get -qq)
  local output
  have apt-get || die "there is no apt-get here: install the equivalents of these first: $*"
  if ((EUID != 0)); then
    have sudo || die "these packages are missing, and installing them takes root or sudo: $*"
    apt=(sudo "${apt[@]}")
  fi
  say "installing system packages: $*"
  "${apt[@]}" update </dev/null >/dev/null 2>&1 ||
    say "apt-get update failed: going on with the package lists at hand"
  output=$("${apt[@]}" install --yes --no-install-recommends "$@" </dev/null 2>&1) || {
    printf '%s\n' "$output" | tail -n 20 >&2
    die "apt-get could not install: $*"
  }
}

# What running takes: looked at every time, as a kept .venv may meet a new machine.
check_runtime_packages() {
  local -a missing=()
  have fusermount3 || missing+=(fuse3)
  have getfattr || missing+=(attr)
  have qemu-img || missing+=(qemu-utils)
  have rsync || missing+=(rsync)
  ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# What building the Python packages takes: pyfuse3 and some needs of Swift are C sources.
check_build_packages() {
  local -a missing=()
  local minor=${version%.*}
  have gcc || missing+=(gcc libc6-dev)
  have pkg-config || missing+=(pkg-config)
  { have pkg-config && pkg-config --exists fuse3; } || missing+=(libfuse3-dev)
  [[ $headers == yes ]] || missing+=("python$minor-dev")
  "$python" -c 'import ensurepip, venv' </dev/null 2>/dev/null || missing+=("python$minor-venv")
  ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# What the tests use beside that.
check_test_packages() {
  local -a missing=()
  have fio || missing+=(fio)
  have gio || missing+=(libglib2.0-bin)
  have systemd-analyze || missing+=(systemd) # looks at units, and runs them on a host of its own
  have jq || missing+=(jq)
  have curl || missing+=(curl)
  ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# The servers and peers of contrib/benchmark. An nginx that comes with this shall not stay on
# port 80: the benchmarks start one of their own, with a configuration of their own.
check_benchmark_packages() {
  local -a missing=()
  local has_nginx=yes
  PATH="$PATH:/usr/sbin:/sbin" have nginx || { missing+=(nginx-light) && has_nginx=no; }
  [[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ]] || missing+=(libnginx-mod-http-lua)
  have rclone || missing+=(rclone)
  have curl || missing+=(curl)
  ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
  if [[ $has_nginx == no && -d /run/systemd/system ]]; then
    local -a systemctl=(systemctl)
    ((EUID == 0)) || systemctl=(sudo systemctl)
    "${systemctl[@]}" disable --quiet --now nginx.service </dev/null >&2 || true
  fi
}

check_fuse_device() {
  [[ -c /dev/fuse ]] && return
  local advice="load the module (modprobe fuse), or give the container the device (--device /dev/fuse --cap-add SYS_ADMIN)"
  [[ $mode != demo ]] || die "there is no /dev/fuse: $advice"
  say "warning: there is no /dev/fuse, so the tests that mount will fail: $advice"
}

# What the stamp file holds once everything of the given mode is installed.
stamp_of() {
  printf '%s %s %s %s\n' "$(sha256sum <"$root/pyproject.toml")" "$1" "$version" "$root"
}

# What was installed for a mode to the right of this one does as well.
installed() {
  local found other
  [[ -r $stamp && -x $venv/bin/swiftimgfs ]] || return
  found=$(<"$stamp")
  for other in demo test benchmark; do
    [[ $other != "$mode" ]] || local is_enough=yes
    [[ ${is_enough:-no} != yes || $found != "$(stamp_of "$other")" ]] || return 0
  done
  return 1
}

# A .venv of another Python, or one that was moved here from elsewhere, is made anew.
make_venv() {
  local -a options=()
  if [[ -e $venv ]]; then
    if [[ $("$venv/bin/python" -c 'import platform; print(platform.python_version())' \
      2>/dev/null </dev/null) == "$version" ]] &&
      grep -qsF "$venv" "$venv/bin/activate" &&
      "$venv/bin/python" -m pip --version >/dev/null 2>&1 </dev/null; then
      return
    fi
    options=(--clear)
  fi
  say "making .venv with Python $version"
  "$python" -m venv "${options[@]}" "$venv" </dev/null >&2 || die "could not make $venv"
}

install_project() {
  local -a pip=("$venv/bin/python" -m pip -qq --no-input --disable-pip-version-check)
  local -a wanted=(--editable "$root[demo]")
  if [[ $mode != demo ]]; then
    wanted+=(--group "$root/pyproject.toml:test")
    [[ $mode != benchmark ]] || wanted+=(--group "$root/pyproject.toml:benchmark")
    "${pip[@]}" install --upgrade 'pip>=25.1' </dev/null >&2 || die "could not upgrade pip"
  fi
  say "installing swiftimgfs and what it needs ($mode): this takes a few minutes"
  "${pip[@]}" install "${wanted[@]}" </dev/null >&2 || die "pip could not install swiftimgfs ($mode)"
}

find_python
check_runtime_packages
check_fuse_device
[[ $mode != benchmark ]] || check_benchmark_packages
[[ $mode == demo ]] || check_test_packages
installed && exit 0

exec 9<"$root/pyproject.toml" # one set-up at a time
flock 9
installed && exit 0

check_build_packages
make_venv
rm -f "$stamp"
install_project
stamp_of "$mode" >"$stamp"

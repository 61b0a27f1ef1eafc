# cmake/setup.sh: what examples/run and tests/run share: installing what is missing on Debian,
# configuring and building with the progress visible, and failing with one clear line. Sourced by bash;
# the caller has set `source_dir` and `set -Eeuo pipefail`.
# shellcheck shell=bash disable=SC2154

program=$(basename "$(dirname "$0")")/$(basename "$0")
step_now="starting"

bold="" plain=""
[[ -t 1 ]] && bold=$'\033[1m' plain=$'\033[0m'

say() { printf '%s==> %s%s\n' "$bold" "$*" "$plain"; }

# Names the work that follows; a failure inside it is reported under this name.
step() {
  step_now=$*
  say "$*"
}

die() {
  trap - ERR
  printf '%s: %s\n' "$program" "$*" >&2
  exit 1
}

trap 'die "failed while $step_now (the messages above say why)"' ERR

base_packages=(ca-certificates clang-19 cmake libbenchmark-dev libfmt-dev libgmock-dev libgtest-dev liburing-dev
  ninja-build node-llhttp nlohmann-json3-dev pkg-config)

# Installs those of the named packages that are missing. Needs root or sudo only if there are any.
install_packages() {
  command -v dpkg-query >/dev/null ||
    die "this is not a Debian system: install what corresponds to ${base_packages[*]}, then run: cmake --preset release"
  local package missing=()
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true) == installed ]] ||
      missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then
    say "packages: nothing is missing"
    return
  fi
  local root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "run it as root, or install sudo: these packages are missing: ${missing[*]}"
    root=(sudo)
  fi
  local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
  step "updating the package lists"
  "${apt[@]}" -qq update
  step "installing ${missing[*]}"
  "${apt[@]}" -y -qq --no-install-recommends install "${missing[@]}"
}

# How many compilers may run at once: one per CPU, and about 1 GiB of memory for each.
build_jobs() {
  local cpus memory
  cpus=$(nproc)
  memory=$(awk '/^MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
  ((memory < 1)) && memory=1
  echo $((cpus < memory ? cpus : memory))
}

# configure PRESET [-DNAME=VALUE...]: once; ninja repeats it when a CMake file changes.
configure() {
  local preset=$1 build=$source_dir/build/$1
  shift
  if [[ -f $build/build.ninja ]] && (($# == 0)); then
    say "build/$preset is configured"
    return
  fi
  if command -v ccache >/dev/null; then
    set -- -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache "$@"
  fi
  step "configuring build/$preset"
  cmake -S "$source_dir" --preset "$preset" "$@"
}

# build PRESET TARGET...
build() {
  local preset=$1
  shift
  step "building $* in build/$preset"
  cmake --build "$source_dir/build/$preset" --parallel "$(build_jobs)" --target "$@"
}

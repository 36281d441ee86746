# shellcheck shell=bash
# shellcheck disable=SC2034  # the lists are for whoever sources this
# The Debian 12 packages that building and testing take. Sourced by the other scripts, which call need_packages first.

build_packages=(
  openjdk-17-jdk-headless  # the demo, and what it runs on
  cmake g++ ninja-build
  libabsl-dev libarchive-dev libcurl4-openssl-dev libdebuginfod-dev libdw-dev libedit-dev libelf-dev libiberty-dev
  liblzma-dev libpq-dev libprotobuf-dev libre2-dev libsqlite3-dev libzstd-dev pkg-config protobuf-compiler zlib1g-dev
  libunwind-dev libunwind8
  libgtest-dev libgmock-dev libbenchmark-dev  # the release preset builds tests and benchmarks too
)
# The page of leakprof --html; npm may have come with node, from elsewhere.
command -v npm >/dev/null || build_packages+=(nodejs npm)
test_packages=(
  binutils file gdb python3 strace valgrind xz-utils zsh
  chromium         # shows the page of leakprof --html
  debuginfod       # serves debug information
  dwz              # lets debug files share some
  eatmydata fakeroot faketime  # other preloads, beside us
  glibc-source stress-ng       # suites of others
  golang-go google-perftools   # go tool pprof, google-pprof
  libjemalloc-dev  # jeprof
  graphviz         # draws graphs of calls
  postgresql       # a server for --sql
  prometheus prometheus-node-exporter  # read --metrics
  libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4
  redis-server     # a server to talk to
)
lint_packages=(clang-format clang-tidy shellcheck)
fuzz_packages=(clang libclang-rt-dev)

# need_packages PACKAGE...: installs those that are missing. Does nothing, and needs no rights, where none is.
need_packages() {
  local missing=() package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  if ! command -v apt-get >/dev/null; then
    echo "no apt-get here; what follows needs, under whatever names: ${missing[*]}" >&2
    return 0
  fi
  local as_root=()
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "these packages are missing, and there is no sudo; as root: apt-get install ${missing[*]}" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  echo "installing ${missing[*]}" >&2
  local log status=0
  log=$(mktemp)
  {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
      "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        -o DPkg::Lock::Timeout=120 "${missing[@]}"
  } >"$log" 2>&1 </dev/null || status=$?
  ((status == 0)) || cat "$log" >&2
  rm -f "$log"
  return "$status"
}

# Shared by tools/test, tools/demo and .ci/run: what they say, what they need, how they build. Source it from bash.
# Nothing here is needed by somebody who runs cmake by hand.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"

if [[ -t 1 ]]; then
    bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
else
    bold='' red='' green='' plain=''
fi

step() { printf '%s==> %s%s\n' "$bold" "$*" "$plain"; }
say() { printf '    %s\n' "$*"; }
die() {
    printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2
    exit 1
}

# How many compilers at once: one a core, but no more than the memory allows at 1.2 GB each.
parallel_jobs() {
    local cores memory_kb fit
    cores=$(nproc 2> /dev/null || echo 2)
    memory_kb=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo 2> /dev/null || echo 0)
    fit=$((memory_kb / 1200000))
    if ((fit < 1)); then fit=1; fi
    if ((fit < cores)); then echo "$fit"; else echo "$cores"; fi
}

# Is `version $1` at least `$2`?
at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

have() { command -v "$1" > /dev/null 2>&1; }

# The name of the newest clang++ of 16 or later, or nothing.
newest_clang() {
    local name
    for name in clang++-21 clang++-20 clang++-19 clang++-18 clang++-17 clang++-16 clang++; do
        if have "$name" && at_least "$("$name" -dumpversion)" 16; then
            echo "$name"
            return
        fi
    done
}

have_compiler() {
    if [[ -n ${CXX:-} ]]; then
        have "$CXX"
        return
    fi
    have c++ || return 1
    local version
    version=$(c++ -dumpfullversion -dumpversion 2> /dev/null) || return 1
    if c++ --version | grep -qi clang; then at_least "$version" 16; else at_least "$version" 12; fi
}

have_cmake() { have cmake && at_least "$(cmake --version | awk 'NR == 1 {print $3}')" 3.22; }

# Can a program include <$1>? Looked up in the usual folders first, for asking a compiler takes longer.
have_header() {
    [[ -e /usr/include/$1 || -e /usr/local/include/$1 ]] || compgen -G "/usr/include/*-linux-gnu/$1" > /dev/null || {
        have "${CXX:-c++}" && printf '#include <%s>\n' "$1" | "${CXX:-c++}" -std=c++20 -fsyntax-only -x c++ - > /dev/null 2>&1
    }
}

have_sanitizers() {
    local clang
    clang=$(newest_sanitizer_clang)
    [[ -n $clang ]] && [[ -n $("$clang" -print-file-name=libclang_rt.tsan.a) ]] || return 1
    # -print-file-name answers with the bare name for what it has not got, and the layout differs between versions.
    local folder
    folder=$("$clang" -print-resource-dir)
    compgen -G "$folder/lib/*/libclang_rt.tsan*.a" > /dev/null
}

# Clang 19 is what the sanitizer presets name; 18 does where a system has no newer one.
newest_sanitizer_clang() {
    local name
    for name in clang++-19 clang++-18; do
        if have "$name"; then
            echo "$name"
            return
        fi
    done
}

# Lines "package[,package][|instead]<tab>reason" of what is missing.
missing=()
need() { # need PACKAGES REASON CHECK...
    local packages=$1 reason=$2
    shift 2
    if ! "$@"; then missing+=("$packages"$'\t'"$reason"); fi
}

need_to_build() {
    need g++ "the compiler (GCC 12 or later)" have_compiler
    need cmake "configures the build (3.22 or later)" have_cmake
    need ninja-build "runs the build" have ninja
    need libasio-dev "sockets and timers" have_header asio.hpp
    need libcereal-dev "serialisation of users' types" have_header cereal/cereal.hpp
    need libssl-dev "OpenSSL 3: keys and encryption" have_header openssl/ssl.h
    need libcli11-dev "peerd's command line" have_header CLI/CLI.hpp
    need nlohmann-json3-dev "peerd's JSON output" have_header nlohmann/json.hpp
}

need_to_test() {
    need catch2 "the tests" have_catch2
    need pkg-config "a test that uses an installed covey through pkg-config" have pkg-config
}

have_catch2() { have_header catch2/catch.hpp || have_header catch2/catch_all.hpp; }
have_clang() { [[ -n $(newest_clang) ]]; }

# Installs what `need` found missing, after saying what and why. Does nothing, and needs no rights, where all is there.
install_missing() {
    ((${#missing[@]})) || return 0
    step "Missing on this machine"
    local entry
    for entry in "${missing[@]}"; do
        printf '    %-32s %s\n' "${entry%%$'\t'*}" "${entry#*$'\t'}"
    done
    if ! have apt-get; then
        say "This is no Debian or Ubuntu: install the above with your package manager. CMake fetches those that are headers alone."
        have_compiler || die "no C++20 compiler: GCC 12 or later, or Clang 16 or later"
        have_cmake || die "no CMake 3.22 or later"
        have ninja || die "no ninja"
        missing=()
        return 0
    fi
    local as_root=()
    if ((EUID != 0)); then
        have sudo || die "to install packages run this as root once, or install sudo"
        as_root=(sudo)
        say "sudo may ask for your password; only apt-get runs with it."
    fi
    step "Installing with apt-get"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq || say "apt-get update failed; trying with the lists at hand"
    local packages=() names name found unknown=()
    for entry in "${missing[@]}"; do
        IFS='|' read -r -a names <<< "${entry%%$'\t'*}"
        found=''
        for name in "${names[@]}"; do
            # "a,b" stands for two packages that belong together.
            if apt-cache show "${name%%,*}" > /dev/null 2>&1; then
                found=$name
                break
            fi
        done
        if [[ $found ]]; then
            if [[ $found != "${names[0]}" ]]; then say "${names[0]%%,*} is not to be had here; ${found%%,*} does instead"; fi
            IFS=',' read -r -a names <<< "$found"
            packages+=("${names[@]}")
        else
            unknown+=("${names[0]}")
        fi
    done
    say "${packages[*]}"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" > /dev/null \
        || die "apt-get could not install: ${packages[*]}"
    if ((${#unknown[@]})); then say "not to be had from apt here, going on without: ${unknown[*]}"; fi
    missing=()
}

# configure PRESET [CMAKE ARGUMENTS]: quiet unless it fails.
configure() {
    local preset=$1 log
    shift
    mkdir -p "build/$preset"
    log=build/$preset/configure.log
    step "Configuring build/$preset"
    if ! cmake --preset "$preset" "$@" > "$log" 2>&1; then
        cat "$log"
        die "cmake --preset $preset failed"
    fi
    grep -E '^-- covey:' "$log" | sed 's/^-- covey: /    /' || true
}

# build PRESET [TARGETS]: with progress, one line a step or one line in all on a terminal.
build() {
    local preset=$1
    shift
    step "Building build/$preset${*:+: $*}"
    NINJA_STATUS='    [%f/%t] ' cmake --build --preset "$preset" -j "$(parallel_jobs)" ${*:+--target "$@"} || die "the build of preset $preset failed"
}

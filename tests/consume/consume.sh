#!/usr/bin/env bash
# Builds tests/consume/project as a user outside the tree would, and runs it.
#   consume.sh fetch_content|find_package|pkg_config COMPILER SOURCE_DIR BINARY_DIR WORK_DIR
# BINARY_DIR is a finished build of covey; what is installed comes from there.
set -euo pipefail
way=$1 compiler=$2 source_dir=$3 binary_dir=$4 work_dir=$5
cmake=${CMAKE_COMMAND:-cmake}
here=$(cd "$(dirname "$0")" && pwd)

# Made anew, but with the times of the originals, so that a second run compiles only what changed since.
rm -rf "$work_dir/project" "$work_dir/prefix" "$work_dir/moved"
mkdir -p "$work_dir"
cp -rp "$here/project" "$work_dir/project"

install_covey() {
    "$cmake" --install "$binary_dir" --prefix "$work_dir/prefix" --component covey > "$work_dir/install.log"
    # A package that works only where it was first put is no package.
    mv "$work_dir/prefix" "$work_dir/moved"
}

# Configures and builds the project with CMake, with the given definitions, and runs both programs.
build_project() {
    "$cmake" -S "$work_dir/project" -B "$work_dir/build" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Release \
        -DCMAKE_CXX_COMPILER_LAUNCHER="${LAUNCHER:-}" "$@"
    "$cmake" --build "$work_dir/build" -j 2
    "$work_dir/build/header_only"
    "$work_dir/build/compiled"
}

case $way in
    fetch_content)
        build_project -DCONSUME=fetch_content -DFETCHCONTENT_SOURCE_DIR_COVEY="$source_dir" -DFETCHCONTENT_FULLY_DISCONNECTED=ON
        ;;
    find_package)
        install_covey
        build_project -DCONSUME=find_package -DCMAKE_PREFIX_PATH="$work_dir/moved"
        ;;
    pkg_config)
        if ! command -v pkg-config > /dev/null; then
            echo "SKIPPED: pkg-config is not installed (Debian: apt install pkg-config)"
            exit 77
        fi
        install_covey
        export PKG_CONFIG_PATH
        PKG_CONFIG_PATH=$(dirname "$(find "$work_dir/moved" -name covey.pc)")
        for package in covey covey-compiled; do
            if [[ ! -e $work_dir/$package || $(find "$work_dir/moved" "$work_dir/project" -type f -newer "$work_dir/$package") ]]; then
                # shellcheck disable=SC2046  # the flags are meant to be several words
                "$compiler" -std=c++20 -O2 "$work_dir/project/main.cpp" -o "$work_dir/$package" $(pkg-config --cflags --libs $package)
            fi
            "$work_dir/$package"
        done
        ;;
    *)
        echo "consume.sh: unknown way \"$way\"" >&2
        exit 2
        ;;
esac

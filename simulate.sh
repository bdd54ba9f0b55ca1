#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# The one command: sees to what must be installed, then hands over to the builder
# (sel4-build/builder). `./simulate.sh --help` lists what it can do.

set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

# Debian packages that are missing, told by what they provide.
missing=()
command -v gcc >/dev/null || missing+=(gcc)
# For the fuzzer alone: a library in C++.
command -v c++ >/dev/null || missing+=(g++)
command -v objcopy >/dev/null || missing+=(binutils)
command -v setpriv >/dev/null || missing+=(util-linux)
command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
[[ -e /usr/include/stdio.h ]] || missing+=(libc6-dev)

if ((${#missing[@]})); then
    install=(apt-get install --yes --no-install-recommends "${missing[@]}")
    if ! command -v apt-get >/dev/null; then
        echo "error: please install (names of Debian): ${missing[*]}" >&2
        exit 1
    elif ((EUID == 0)); then
        as_root=()
    elif sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    else
        echo "error: packages are missing; please run as root: ${install[*]}" >&2
        exit 1
    fi
    echo "prerequisites: ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq >&2
    "${as_root[@]}" "${install[@]}" >&2
fi

if ! command -v cargo >/dev/null; then
    echo "error: cargo is missing: please install Rust 1.95 or later (https://rustup.rs)" >&2
    exit 1
fi

manifest=$here/Cargo.toml
quiet=(--quiet)
if [[ ! -x ${CARGO_TARGET_DIR:-$here/target}/release/builder ]]; then
    echo "builder: compiling it, which is done once" >&2
    quiet=()
fi
exec cargo run "${quiet[@]}" --release --manifest-path "$manifest" --package builder -- "$@"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds a fuzz target with libFuzzer, ASan and UBSan (Debian: clang) and runs it.
#
#     tests/fuzz/fuzz.sh model|walk|state [OPTION OF LIBFUZZER...]
#
# Findings and what is new in the corpus go to build/fuzz/TARGET; it starts with the corpus beside this script.
# -max_total_time=1800 fuzzes for half an hour; `-merge=1` in place of it puts what is worth it of build/fuzz/TARGET into the corpus.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
case ${1:-} in
model) sources='tests/fuzz/model_fuzz.cc tests/fuzz/model_input.cc tests/fuzz/packet_input.cc tests/fuzz/fault_input.cc tests/fuzz/arena.cc' length=640 ;;
walk) sources='tests/fuzz/walk_fuzz.cc tests/fuzz/walk_input.cc tests/fuzz/reference_walk.cc tests/fuzz/reference_packet.cc tests/fuzz/indirect_run.cc' length=256 ;;
state) sources='tests/fuzz/state_fuzz.cc tests/fuzz/state_input.cc' length=64 ;;
*) sed -n '3,8s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
esac
target=$1
shift
out=$root/build/fuzz
mkdir -p "$out/obj" "$out/$target"
cd "$root"
# Shared with gcc's build in nothing but the sources.
compiler=clang++
! command -v ccache >/dev/null || compiler="ccache $compiler"
objects=
for file in $sources host-backend/model/*.cc; do
    object=$out/obj/$(echo "$file" | tr / _).o
    $compiler -std=c++20 -O2 -g -fno-omit-frame-pointer -Wno-missing-field-initializers -I. -MMD \
        -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -c "$file" -o "$object"
    objects="$objects $object"
done
clang++ -fsanitize=fuzzer,address,undefined $objects -lpthread -o "$out/fuzz-$target"
case " $* " in
*' -merge=1 '*) exec "$out/fuzz-$target" "$@" "tests/fuzz/corpus/$target" "$out/$target" ;;
esac
# One CPU for guest and engines: they work in turn, and a switch on one CPU is cheaper than between two.
exec taskset -c "${VTTM_FUZZ_CPU:-0}" "$out/fuzz-$target" -max_len="$length" -timeout=60 -artifact_prefix="$out/$target-" \
    "$@" "$out/$target" "tests/fuzz/corpus/$target"

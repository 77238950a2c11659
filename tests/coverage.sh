#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Line coverage of the model by its unit tests and the fuzzers' corpus (gcov), per file and in all.
#
#     tests/coverage.sh [LEAST]      status 1 if all together, or packet.cc, has less than LEAST percent (default 90)
#
# Lines that only an exception reaches (clean-up in stats.cc and c_api.cc) count as not reached.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
least=${1:-90}
build=$root/build/coverage
programs='tests/unit/model/unit-model tests/unit/fuzz/unit-fuzz'
mkdir -p "$root/build"
[ -f "$build/build.ninja" ] ||
    meson setup "$build" "$root" -Db_coverage=true --buildtype=debug >"$root/build/coverage-setup.log"
ninja -C "$build" $programs >"$build/build.log" || { tail -n 20 "$build/build.log" >&2; exit 1; }
find "$build" -name '*.gcda' -delete
for program in $programs; do
    "$build/$program" --gtest_brief=1 >"$build/test.log" || { cat "$build/test.log" >&2; exit 1; }
done
cd "$build"
# Headers are left out: gcov counts them anew for each source that includes them.
find host-backend/model -name '*.gcda' | while read -r data; do
    gcov -n "$data" 2>/dev/null
done | awk -v least="$least" '
    /^File / { file = $0; sub(/.*host-backend\/model\//, "", file); sub(/\x27$/, "", file)
               wanted = /host-backend\/model\/[a-z_]*\.cc\x27$/ }
    /^Lines executed:/ && wanted {
        percent = $0; sub(/.*executed:/, "", percent); sub(/%.*/, "", percent)
        lines = $NF; wanted = 0
        printf "%6.2f %%  %4d lines  %s\n", percent, lines, file
        hit += percent * lines / 100; all += lines
        if (file == "packet.cc") decoder = percent + 0
    }
    END {
        if (!all) { print "no coverage was measured"; exit 1 }
        printf "%6.2f %%  %4d lines  in all\n", hit * 100 / all, all
        if (hit * 100 / all < least + 0 || decoder < least + 0) { printf "below %s %%\n", least; exit 1 }
    }'

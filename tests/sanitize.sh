#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the host's unit tests under ThreadSanitizer, or under AddressSanitizer, UBSan and LeakSanitizer.
#
#     tests/sanitize.sh thread|address [PROGRAM...]      PROGRAM: part of a name, as `model`; default: all
#
# Status 1 if a test fails, a program runs no test, or there is a single report, from a child process too. First it plants
# faults (tests/sanitize/plant.cc), in the test's own code and in the model's: a sanitizer that is blind to one fails.
# Reports and output go to build/sanitize-*/out.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)

# Not here: programs that are tests of shell scripts (setup, kernel, qemu-build), and those whose subject is a QEMU,
# which is not sanitized (qtest, independent).
programs='model/unit-model fuzz/unit-fuzz oracle/unit-oracle protocol/unit-protocol uapi/unit-uapi text/unit-text
    machine/unit-machine machine/unit-pressure trace/unit-trace report/unit-report agent/unit-agent cli/unit-cli'
usage() { sed -n '3,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
case ${1:-} in
thread) flags=thread type=debugoptimized plants='race lock-order model-race' ;;
# Not optimized: nothing is folded away before UBSan has seen it, and it builds in a third of the time.
address) flags=address,undefined type=debug plants='overflow use-after-free leak shift model-poison' ;;
*) usage ;;
esac
kind=$1
shift
wanted=
for program in $programs; do
    [ $# -gt 0 ] || wanted="$wanted $program"
    for part in "$@"; do
        case ${program#*/} in *"$part"*) wanted="$wanted $program"; break ;; esac
    done
done
[ -n "$wanted" ] || { echo "no program is named like that: $*" >&2; usage; }

build=$root/build/sanitize-$kind
out=$build/out
mkdir -p "$root/build"
[ -f "$build/build.ninja" ] ||
    meson setup "$build" "$root" -Db_sanitize=$flags --buildtype=$type >"$root/build/sanitize-$kind-setup.log" ||
    { tail -n 20 "$root/build/sanitize-$kind-setup.log" >&2; exit 1; }
targets=tests/sanitize/sanitize-plant
for program in $wanted; do
    targets="$targets tests/unit/$program"
    case $program in cli/*) targets="$targets host-backend/cli/vttm-cli" ;; esac
done
ninja -C "$build" ${VTTM_SANITIZE_JOBS:+-j "$VTTM_SANITIZE_JOBS"} $targets >"$build/build.log" ||
    { tail -n 30 "$build/build.log" >&2; exit 1; }
rm -rf "$out"
mkdir -p "$out"

# run NAME COMMAND...: its status; what it says goes to out/NAME.log, reports of it and its children to out/NAME.report.PID.
run() {
    local name=$1 common
    shift
    # A SIGSEGV is no report: some tests have a child die of one. Any other ends the program, and that is a status.
    common="log_path=$out/$name.report:exitcode=66:handle_segv=0:handle_sigbus=0:handle_abort=0"
    TSAN_OPTIONS="$common:halt_on_error=0:second_deadlock_stack=1" \
        ASAN_OPTIONS="$common:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1" \
        UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1" \
        VTTM_SOURCE_ROOT=$root VTTM_CLI=$build/host-backend/cli/vttm-cli VTTM_VM=$root/build/vm/vm.json \
        timeout "${VTTM_SANITIZE_SECONDS:-1800}" "$@" >"$out/$name.log" 2>&1
}

# reports NAME: prints all that was reported. GCC's UBSan knows no log_path beside ASan: it is in the output.
reports() {
    cat "$out/$1".report.* 2>/dev/null || true
    grep -A 20 'runtime error:' "$out/$1.log" || true
}

# What a plant must be called in its report.
expected() {
    case $1 in
    race | model-race) echo 'data race' ;;
    lock-order) echo 'lock-order-inversion' ;;
    overflow) echo 'heap-buffer-overflow' ;;
    use-after-free) echo 'heap-use-after-free' ;;
    leak) echo 'detected memory leaks' ;;
    shift) echo 'shift exponent' ;;
    model-poison) echo 'use-after-poison' ;;
    esac
}

bad=0
complain() { echo "FAIL  $*"; bad=1; }
for plant in none $plants; do
    status=0
    run "plant-$plant" "$build/tests/sanitize/sanitize-plant" "$plant" || status=$?
    reports=$(reports "plant-$plant")
    if [ "$plant" = none ]; then
        [ "$status" = 0 ] && [ -z "$reports" ] || complain "nothing is planted, and there is a report, or status $status: $out/plant-none.*"
        continue
    fi
    case $reports in
    *"$(expected "$plant")"*) [ "$status" != 0 ] || complain "planted $plant: reported, but status 0" ;;
    *) complain "planted $plant was not seen (status $status): $out/plant-$plant.log" ;;
    esac
    case $plant in
    model-*) # one side at least must be the model's own code: else its library is not built for this
        case $reports in *host-backend/model/*) ;; *) complain "planted $plant: no line of the model in the report" ;; esac ;;
    esac
done
[ "$bad" = 0 ] && echo "PASS  planted: $plants"

for program in $wanted; do
    name=${program#*/} status=0 begin=$(date +%s)
    # vttm-hog is static, and so without a sanitizer: it is not built here.
    case $name in unit-agent) filter=-*Hog* note=' (not those that start vttm-hog)' ;; *) filter=* note= ;; esac
    run "$name" "$build/tests/unit/$program" --gtest_brief=1 "--gtest_filter=${GTEST_FILTER:-$filter}" || status=$?
    seconds=$(($(date +%s) - begin))
    passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) tests\{0,1\}\.$/\1/p' "$out/$name.log")
    skipped=$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) tests\{0,1\}\.$/, \1 skipped/p' "$out/$name.log")
    if [ -n "$(reports "$name")" ]; then
        complain "$name: $(reports "$name" | grep -c '^SUMMARY\|runtime error:') reports, status $status: $out/$name.*"
    elif [ "$status" != 0 ]; then
        complain "$name: status $status: $out/$name.log"
    elif [ "${passed:-0}" = 0 ]; then
        complain "$name: no test ran: $out/$name.log"
    else
        echo "PASS  $name: $passed tests$skipped$note, $seconds s, no report"
    fi
done
exit $bad

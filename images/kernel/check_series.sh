#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles the patch series in all the ways in which it has to compile; prints the result as KTAP.
#
#     check_series.sh [SUITE...]      all suites, if none is named
#
#   patch     after each patch, in their order: the whole small kernel of config/series.config, with -Werror; and the patch
#             applies without fuzz
#   config    with the whole series: one setting at a time switched off, or debugging on
#   sparse    what sparse says of the files that the series touches, and did not say before it
#
# `./vttm test series` runs it. It compiles a kernel dozens of times, so it is no part of `./vttm test`. What a suite without a failure
# printed is kept in the cache, under the hash of all that it depends on: who was interrupted goes on with the next suite. Style (checkpatch) is a host test, tests/unit/kernel.
set -eu
VTTM_ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$VTTM_ROOT/images/lib/common.sh"
. "$VTTM_ROOT/images/kernel/sources.sh"
. "$VTTM_ROOT/images/kernel/recipe.sh"

# NAME|SETTINGS, separated by commas; a name with a minus is set to n. THP_SWAP cannot be switched off but by a 32-bit kernel.
rows='no-thp|-TRANSPARENT_HUGEPAGE,-TRANSPARENT_HUGEPAGE_MADVISE
no-thp-swap-32bit|-64BIT,-UNWINDER_ORC,-NUMA
no-swap|-SWAP,-ZSWAP,-SWAP_BACKUP_KUNIT_TEST,-HIBERNATION
no-shmem|-SHMEM,-DRM,-DRM_EXTERNAL_HELPERS,-DRM_TTM_KUNIT_TEST,-SWAP_BACKUP_KUNIT_TEST
no-memcg|-MEMCG
no-numa|-NUMA
no-faults-no-debugfs|-FAULT_INJECTION,-FAULT_INJECTION_DEBUG_FS,-DEBUG_FS,-SHRINKER_DEBUG
no-tracing|-FTRACE,-ENABLE_DEFAULT_TRACERS
no-kunit|-KUNIT,-DRM_TTM_KUNIT_TEST,-SWAP_BACKUP_KUNIT_TEST
debug-vm|DEBUG_VM,DEBUG_VM_PGFLAGS,PROVE_LOCKING,PAGE_POISONING,DEBUG_LIST'

# fragments ROW: the configuration of a row of the table above, or of `all`; what recipe.sh calls.
fragments() {
    printf '%s\n' "$VTTM_ROOT/images/kernel/config/series.config"
    [ "$1" = all ] || printf '%s\n' "$work/$1.config"
}

# write_fragments: a file for each row.
write_fragments() {
    local row setting
    for row in $rows; do
        for setting in $(printf '%s' "${row#*|}" | tr , ' '); do
            case $setting in
            -*) printf '# CONFIG_%s is not set\n' "${setting#-}" ;;
            *) printf 'CONFIG_%s=y\n' "$setting" ;;
            esac
        done >"$work/${row%%|*}.config"
    done
}

# try NAME CMD...: one case. What CMD printed follows a failure, its end.
try() {
    local name offset status
    name=$1
    shift
    cases=$((cases + 1))
    offset=$(wc -c <"$log")
    status=0
    vttm_step "check series: $name" "$log" "$@" || status=$?
    if [ "$status" -eq 0 ]; then
        printf '    ok %d %s\n' "$cases" "$name" >>"$ktap"
        return 0
    fi
    failed=$((failed + 1))
    tail -c "+$((offset + 1))" "$log" | grep -E 'error|warning|ERROR|WARNING|undefined|without effect|FAILED|sparse:' |
        head -n 20 | sed 's/^/    # /' >>"$ktap"
    printf '    not ok %d %s\n' "$cases" "$name" >>"$ktap"
}

compile() {
    kmake "$src" -s "-j$(nproc)" vmlinux modules
}

# configured ROW: configures anew; a setting that is not known yet, in the middle of the series, is no failure.
configured() {
    variant=$1
    configure "$src"
}

patch_builds() {
    patch -d "$src" -p1 -N -f --fuzz=0 --no-backup-if-mismatch <"$1" && configured all && compile
}

config_builds() {
    configured "$1" && (check_config "$src/build/.config") && compile
}

patches() {
    local file
    for file in $(series); do
        try "${file##*/}" patch_builds "$file"
    done
}

configs() {
    local row
    try all config_builds all
    for row in $rows; do
        try "${row%%|*}" config_builds "${row%%|*}"
    done
}

# sparse_says FILE: what sparse says of the files that the series touches, one sorted line each, without line numbers: these
# differ with each patch.
sparse_says() {
    local objects
    objects=$(cat $(series) | sed -n 's|^+++ b/\(.*\)\.c$|\1|p' | sort -u |
        while read -r object; do [ ! -f "$src/$object.c" ] || printf '%s.o ' "$object"; done)
    configured all && kmake "$src" -s "-j$(nproc)" prepare || return
    # sparse 0.6.4 does not know __typeof_unqual__, and the kernel's makefile leaves it out then. Its status counts old findings, too.
    # shellcheck disable=SC2086 # one word per object
    kmake "$src" -s "-j$(nproc)" -k C=2 CHECK='sparse -D__typeof_unqual__=__typeof__' $objects >"$1.log" 2>&1 || :
    cat "$1.log"
    ! grep -q 'specified, but' "$1.log" || return
    # This sparse finds a `bad constant expression` in each MODULE_LICENSE(), everywhere in the kernel.
    sed -i '/error: bad constant expression$/d' "$1.log"
    sed -n 's/^\([^ :]*\.[ch]\):[0-9]*:[0-9]*: \(\(error\|warning\): .*\)/\1: \2/p' "$1.log" | sed 's|^\(\.\./\)*||' | sort -u >"$1"
}

sparse_is_silent() {
    sparse_says "$work/sparse-after" || return
    comm -13 "$work/sparse-before" "$work/sparse-after" | sed 's/^/sparse: /' | tee "$work/sparse-new"
    [ ! -s "$work/sparse-new" ]
}

# The suites: what needs the source without the series comes first in each.
patch_suite() {
    patches
}

config_suite() {
    apply_series "$src"
    configs
}

sparse_suite() {
    vttm_step 'sparse before the series' "$log" sparse_says "$work/sparse-before" ||
        vttm_die "$VTTM_EXIT_BUILD" "sparse cannot be run" "$log" "see the last lines there"
    apply_series "$src"
    try 'says nothing new' sparse_is_silent
}

# check_suite DIR NAME: fills the cache's entry DIR with the file ktap; fails if a case did.
check_suite() {
    work=$1 src=$1/linux failed=0 cases=0
    export KBUILD_BUILD_USER=vttm KBUILD_BUILD_HOST=vttm KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC'
    export CCACHE_DIR="$VTTM_CACHE_DIR/ccache" CCACHE_NOHASHDIR=true CCACHE_MAXSIZE="${CCACHE_MAXSIZE:-5G}"
    compiler=${CC:-gcc}
    ! command -v ccache >/dev/null || compiler="ccache $compiler"
    printf '    KTAP version 1\n    # Subtest: %s\n' "$2" >"$ktap"
    mkdir "$src"
    vttm_step 'unpack the kernel source' "$log" unpack_deb "$src" "$package" ||
        vttm_die "$VTTM_EXIT_BUILD" "the kernel source cannot be unpacked" "$log" "delete $package and try again"
    mkdir "$src/build"
    write_fragments
    "$2_suite"
    printf '    1..%d\n' "$cases" >>"$ktap"
    rm -rf "$src"
    cp "$ktap" "$work/ktap"
    [ "$failed" -eq 0 ]
}

[ $# -gt 0 ] || set -- patch config sparse
for suite; do
    case $suite in
    patch | config | sparse) ;;
    *) vttm_die "$VTTM_EXIT_USAGE" "check_series.sh has no suite $suite" "" "it has patch, config and sparse" ;;
    esac
done
check_tools
command -v sparse >/dev/null || vttm_die "$VTTM_EXIT_PACKAGE" "sparse is missing" "" "run ./vttm setup, or install the package sparse"
patch_dir=$VTTM_ROOT/guest-driver/patches
source='' pin='' package=''
log=$VTTM_LOG_DIR/series.log
mkdir -p "$VTTM_LOG_DIR"
rm -f "$VTTM_LOG_DIR"/series-*.ktap
: >"$log"
fetch_kernel
key=$({
    kernel_field "$pin" 4
    ${CC:-gcc} --version | head -n 1
    sparse --version
    # shellcheck disable=SC2046 # one word per file
    vttm_hash_files $(series) "$patch_dir/series" "$0" "$VTTM_ROOT/images/kernel/recipe.sh" \
        "$VTTM_ROOT/images/kernel/config/series.config"
} | vttm_hash)
printf 'KTAP version 1\n'
number=0 result=0
for suite; do
    number=$((number + 1)) status=0 ktap=$VTTM_LOG_DIR/series-$suite.ktap
    entry=$(cache_build kernel-check "$key-$suite" check_suite "$suite") || status=$?
    [ "$status" -ne 0 ] || ktap=$entry/ktap
    # Without a plan the suite was not ended by its cases, but by what hindered it.
    grep -q '^    1\.\.' "$ktap" 2>/dev/null || exit "$((status > 0 ? status : VTTM_EXIT_BUILD))"
    cat "$ktap"
    [ "$status" -eq 0 ] && printf 'ok %d %s\n' "$number" "$suite" || printf 'not ok %d %s\n' "$number" "$suite"
    [ "$status" -eq 0 ] || result=$status
done
printf '1..%d\n' "$number"
exit "$result"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the guest's kernel into the cache; prints the entry's folder.
#
#     build.sh [--variant base|debug|kasan|nothp] [--source DIR] [--print-key]
#
# The folder holds: bzImage; release (what uname -r says); config; System.map; modules/ (what
# modules_install gives); build/ (made with O=, pruned, good for external modules and for usr/gen_init_cpio);
# linux/ (the part of the source that build/ needs); patches (the series that is in it).
#
# DIR of --source is a kernel tree of the user's: it is copied, never changed; each patch of the series is
# applied to the copy, or passed over if it is seen to be there.
#
# The key stands for source, patches, configuration, this recipe and compiler. Its first 8 digits are in the
# kernel's release: a module of one kernel must never be loaded into another, and their
# other version magic is the same.
set -eu
VTTM_ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$VTTM_ROOT/images/lib/common.sh"
. "$VTTM_ROOT/images/kernel/sources.sh"
. "$VTTM_ROOT/images/kernel/recipe.sh"

usage() {
    [ -z "${1:-}" ] || echo "build.sh: $1" >&2
    echo 'usage: build.sh [--variant base|debug|kasan|nothp] [--source DIR] [--print-key]' >&2
    exit "$VTTM_EXIT_USAGE"
}

# fragments VARIANT: prints its configuration fragments; later ones win.
fragments() {
    case $1 in
    base) set -- base hmm ;;
    debug) set -- base hmm debug ;;
    kasan) set -- base hmm debug kasan ;;
    # The HMM test needs huge pages.
    nothp) set -- base nothp ;;
    *) usage "unknown variant '$1'" ;;
    esac
    printf "$VTTM_ROOT/images/kernel/config/%s.config\n" "$@"
}

# tree_key DIR: identity of a user's tree from names, sizes and times: its 80,000 files are not read each time.
tree_key() {
    (cd "$1" && find . \( -name .git -o -name '*.o' -o -name '*.ko' -o -name '.*.cmd' \) -prune -o \
        -type f -printf '%P %s %T@\n' | sort) | vttm_hash
}

# kernel_key VARIANT TREE PIN: the entry's key. TREE is a user's tree, or '' and PIN counts. sources.sh is not in it: which other
# versions would do, says nothing about this one.
kernel_key() {
    {
        if [ -n "$2" ]; then
            printf 'tree %s\n' "$(tree_key "$2")"
        else
            printf '%s\n' "$(kernel_field "$3" 4)"
        fi
        ${CC:-gcc} --version | head -n 1
        ld --version | head -n 1
        # shellcheck disable=SC2046 # one word per file, none has blanks but in VTTM_ROOT's path
        IFS='
'
        vttm_hash_files $(fragments "$1") $(series) "$patch_dir/series" \
            "$VTTM_ROOT/images/kernel/recipe.sh" "$VTTM_ROOT/images/kernel/build.sh"
        unset IFS
    } | vttm_hash
}

variant=base source='' print_key=''
while [ $# -gt 0 ]; do
    case $1 in
    --variant) variant=${2:?} && shift 2 ;;
    --variant=*) variant=${1#*=} && shift ;;
    --source) source=${2?} && shift 2 ;;
    --source=*) source=${1#*=} && shift ;;
    --print-key) print_key=1 && shift ;;
    *) usage ;;
    esac
done
case $variant in
base | debug | kasan | nothp) ;;
*) usage "unknown variant '$variant'" ;;
esac
if [ -n "$source" ]; then
    [ -f "$source/Makefile" ] && [ -d "$source/mm" ] && [ -d "$source/drivers/gpu/drm/ttm" ] ||
        vttm_die "$VTTM_EXIT_USAGE" "--source: not a kernel source tree" "$source" "name the top folder of a Linux tree"
    source=$(cd "$source" && pwd)
fi

patch_dir=$VTTM_ROOT/guest-driver/patches
log=$VTTM_LOG_DIR/kernel-$variant.log
pin=${kernel_pins%%
*} package=''
key=$(kernel_key "$variant" "$source" "$pin")
if [ -n "$print_key" ]; then
    printf '%s\n' "$key"
    exit 0
fi
cache_lookup "kernel-$variant" "$key" && exit 0

check_tools
mkdir -p "$VTTM_LOG_DIR"
if [ -z "$source" ]; then
    # Any pinned version that was built before will do, without a look at the network.
    for pin in $kernel_pins; do
        ! cache_lookup "kernel-$variant" "$(kernel_key "$variant" '' "$pin")" || exit 0
    done
    fetch_kernel
    key=$(kernel_key "$variant" '' "$pin")
fi
: >"$log"
cache_build "kernel-$variant" "$key" make_kernel

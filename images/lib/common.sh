# SPDX-License-Identifier: Apache-2.0
# What every set-up script shares. Source it from POSIX sh (dash, bash, busybox):
#
#     VTTM_ROOT=$(cd "$(dirname "$0")/../.." && pwd)
#     . "$VTTM_ROOT/images/lib/common.sh"
#
# Convention: a script's *product* (a path) goes to stdout; all that a person reads goes to stderr.
# A function that cannot go on calls vttm_die. In `dir=$(f)` that ends the subshell only: write
# `dir=$(f) || exit $?` (or set -e).
#
#   say.sh      vttm_say, vttm_die            messages
#   process.sh  vttm_kill_tree, vttm_end      processes
#   step.sh     vttm_step                     a long command with progress
#   hash.sh     vttm_hash, vttm_hash_files    keys
#   cache.sh    cache_lookup, cache_build     the build cache
#   fetch.sh    fetch_deb, fetch_source_file  downloads
#
# Variables it sets: VTTM_ROOT, VTTM_CACHE_DIR (cache root), VTTM_LOG_DIR (logs), VTTM_EXIT_*.

if [ -z "${VTTM_ROOT:-}" ]; then
    for _vttm_try in . .. ../.. ../../..; do
        if [ -f "$(dirname "$0")/$_vttm_try/images/lib/common.sh" ]; then
            VTTM_ROOT=$(cd "$(dirname "$0")/$_vttm_try" && pwd)
            break
        fi
    done
fi
if [ ! -f "${VTTM_ROOT:-}/images/lib/common.sh" ]; then
    echo "vttm: set VTTM_ROOT to the repository's root before sourcing images/lib/common.sh" >&2
    exit 2
fi

# Absolute, as builds change the folder. Exported: all scripts and the CLI mean the same one.
VTTM_CACHE_DIR=${VTTM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/vttm}
case $VTTM_CACHE_DIR in
/*) ;;
*) VTTM_CACHE_DIR=$(pwd)/$VTTM_CACHE_DIR ;;
esac
VTTM_CACHE=$VTTM_CACHE_DIR
VTTM_LOG_DIR=${VTTM_LOG_DIR:-$VTTM_ROOT/build/log}
# Sorting, messages that are parsed (ENOSPC), and numbers must not depend on the user's language.
LC_ALL=C
export VTTM_ROOT VTTM_CACHE LC_ALL

. "$VTTM_ROOT/images/lib/exit_codes.sh"
. "$VTTM_ROOT/images/lib/say.sh"
. "$VTTM_ROOT/images/lib/process.sh"
. "$VTTM_ROOT/images/lib/step.sh"
. "$VTTM_ROOT/images/lib/hash.sh"
. "$VTTM_ROOT/images/lib/cache.sh"
. "$VTTM_ROOT/images/lib/fetch.sh"

# Kbuild, make and pkg-config split such paths.
for _vttm_try in "$VTTM_ROOT" "$VTTM_CACHE"; do
    case $_vttm_try in
    *[[:space:]:]*)
        vttm_die "$VTTM_EXIT_USAGE" "a blank or colon in the path '$_vttm_try': make cannot build there" "" \
            "move the clone, or point VTTM_CACHE at another folder"
        ;;
    esac
done

# SPDX-License-Identifier: Apache-2.0
# Which kernels the patch series is for, and where they come from: pinned by version and sha256, the first that can be had
# is taken. Sourced by build.sh.

# VERSION|SUITE|PACKAGE|SHA256|SIZE of Debian's binary package with the source in it (the source package itself is
# on few mirrors), best first. A version belongs here only if the whole series applies to it and
# mm/, TTM and vttm.ko compile on it: README.md says what was tried.
kernel_pins='7.3.4-1~bpo13+1|trixie-backports|linux-source-7.3|703e369ddd4cce971452f5a593ee55df3a5c10c83caf0fa0df039633ed181ee3|166780612
7.3~rc7-1~exp1|experimental|linux-source-7.3|8bf8ca5ea8b1b307ca698db982ba48d6d223263b4d3dfb1973d055e316c44e75|166042412'

# kernel_field PIN N: prints field N of PIN.
kernel_field() {
    printf '%s' "$1" | cut -d '|' -f "$2"
}

# fetch_kernel: sets pin to the first of kernel_pins that can be had, and package to the path of its file; dies with 11 when
# there is none, ends with the status of a full disk or an interrupt.
fetch_kernel() {
    local status files
    files=
    for pin in $kernel_pins; do
        status=0
        package=$(_fetch_kernel_pin "$pin") || status=$?
        [ "$status" -ne 0 ] || return 0
        fetch_may_go_on "$status" || exit "$status"
        vttm_say "Linux $(kernel_field "$pin" 1) cannot be had; trying the next pinned version"
        files="$files${files:+ or }$(_kernel_file "$pin")"
    done
    vttm_die "$VTTM_EXIT_NETWORK" "no pinned version of the kernel's source can be had" "$VTTM_LOG_DIR/fetch.log" \
        "check the network and apt's sources; or put $files into $VTTM_CACHE_DIR/downloads/ yourself; or name another mirror in VTTM_MIRRORS (one that keeps old versions); or give a tree of your own: --linux-source=DIR"
}

# _fetch_kernel_pin PIN: prints the path of its package. First by its name in the archive's pool, where a version stays for weeks
# after its suite has a newer one; then by the suite's index, for a mirror with another pool.
_fetch_kernel_pin() {
    local status
    status=0
    fetch_source_file_try "$(kernel_field "$1" 2)" linux "$(_kernel_file "$1")" "$(kernel_field "$1" 4)" "$(kernel_field "$1" 5)" ||
        status=$?
    fetch_may_go_on "$status" || return "$status"
    fetch_deb_try "$(kernel_field "$1" 2)" "$(kernel_field "$1" 3)" "$(kernel_field "$1" 1)" "$(kernel_field "$1" 4)"
}

_kernel_file() {
    printf '%s_%s_all.deb' "$(kernel_field "$1" 3)" "$(kernel_field "$1" 1)"
}

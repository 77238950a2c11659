# SPDX-License-Identifier: Apache-2.0
# Where QEMU and the tools of its build come from: pinned by version and sha256, the first that can be had is
# taken. Sourced by build.sh.

# SUITE|VERSION|SHA256 of Debian's upstream tarball (source package qemu), best first.
qemu_pins='trixie|10.0.13+ds|6a0888e806c2ffc0c5f0733e974f9aea55491950d3c47c98669c8b236dde59ae
bookworm-backports|10.0.2+ds|0901da33844a331bf8b3602b9c1fbd178e60b737c8e3ade678255bd090c9b9f1'

pin_version() {
    printf '%s' "$1" | cut -d '|' -f 2
}

pin_sha256() {
    printf '%s' "$1" | cut -d '|' -f 3
}

# fetch_qemu: sets pin to the first of qemu_pins that can be had, and tarball to the path of its file; dies with 11 when
# there is none, ends with the status of a full disk or an interrupt.
fetch_qemu() {
    local status files
    files=
    for pin in $qemu_pins; do
        status=0
        tarball=$(fetch_source_file_try "${pin%%|*}" qemu "$(qemu_file "$pin")" "$(pin_sha256 "$pin")") || status=$?
        [ "$status" -ne 0 ] || return 0
        fetch_may_go_on "$status" || exit "$status"
        vttm_say "QEMU $(pin_version "$pin") cannot be had; trying the next pinned version"
        files="$files${files:+ or }$(qemu_file "$pin")"
    done
    vttm_die "$VTTM_EXIT_NETWORK" "no pinned version of QEMU's source can be had" "$VTTM_LOG_DIR/fetch.log" \
        "check the network and apt's sources; or put $files into $VTTM_CACHE_DIR/downloads/ yourself; or name another mirror in VTTM_MIRRORS; or give a tree of your own: --qemu-source=DIR"
}

qemu_file() {
    printf 'qemu_%s.orig.tar.xz' "$(pin_version "$1")"
}

# fetch_build_tools: prints the paths of two packages that QEMU's build needs newer than Debian 12 has
# them; they work unpacked. The same versions for all, so that a build does not depend on the machine.
fetch_build_tools() {
    local debs status
    status=0
    debs=$(_fetch_tools bookworm-backports '1.7.0-1~bpo12+1' \
        4b86d2f2cb4431d03826fa4b2c3a89508edeb8140509e7e4b285285ec3175bbe '1.3.1-2~bpo12+1' \
        3774be6e79318192059aa72e7b7a701e8b99bba2147befcc715650a0da65ca96) || status=$?
    if fetch_may_go_on "$status"; then
        vttm_say "trying the build tools of Debian trixie"
        status=0
        debs=$(_fetch_tools trixie 1.7.0-1 e92d04e60e784336883d537755d09b7dcb856809fa318a0931df3898e84ded95 \
            1.3.1-2 7e8dbf3ac06434275a461d0de79792e2b80126febc53866c89027adde5192ac9) || status=$?
    fi
    [ "$status" -ne 0 ] || printf '%s\n' "$debs"
    return "$status"
}

# _fetch_tools SUITE MESON-VERSION SHA256 PYCOTAP-VERSION SHA256
_fetch_tools() {
    fetch_deb "$1" meson "$2" "$3" && fetch_deb "$1" python3-pycotap "$4" "$5"
}

# SPDX-License-Identifier: Apache-2.0
# ./vttm doctor: what is present, missing or broken, and what to do. Changes nothing, not even the cache. Status 0 when `./vttm run` has
# all it needs or can get it by itself; else the exit code that `run` would end with.

# _doctor_line STATE NAME DETAIL [TODO]
_doctor_line() {
    printf '%-8s %-14s %s\n' "$1" "$2" "$3"
    [ -z "${4:-}" ] || printf '%-8s %-14s -> %s\n' '' '' "$4"
}

# _doctor_bad CODE: the first problem decides the status.
_doctor_bad() {
    [ "$doctor_status" -ne 0 ] || doctor_status=$1
}

_doctor_platform() {
    local name
    name=$(. /etc/os-release 2>/dev/null && printf '%s' "${PRETTY_NAME:-unknown}")
    if [ "$(uname -m)" != x86_64 ]; then
        _doctor_line broken platform "$(uname -m): host and guest are x86_64 only" "use an x86_64 machine"
        _doctor_bad "$VTTM_EXIT_INFRA"
    elif ! command -v dpkg-query >/dev/null; then
        _doctor_line broken platform "$name has no dpkg" "use Debian 12 or later"
        _doctor_bad "$VTTM_EXIT_PACKAGE"
    else
        _doctor_line ok platform "$name, x86_64, $(nproc) processors"
    fi
}

_doctor_packages() {
    local missing
    command -v dpkg-query >/dev/null || return 0
    missing=$(echo $(packages_missing) $(accounts_missing))
    if [ -z "$missing" ]; then
        _doctor_line ok packages "all $(packages_wanted | wc -l) are installed"
    elif [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; then
        _doctor_line missing packages "$missing" "./vttm run installs them"
    else
        _doctor_line missing packages "$missing" "./vttm setup as root, or with sudo"
        _doctor_bad "$VTTM_EXIT_PACKAGE"
    fi
}

_doctor_resources() {
    local free need
    free=$(host_ram_mib)
    if [ "$free" -ge "$VTTM_RAM_MIB" ]; then
        _doctor_line ok RAM "$free MiB available, $VTTM_RAM_MIB MiB needed"
    else
        _doctor_line broken RAM "$free MiB available, $VTTM_RAM_MIB MiB needed" "close other programs"
        _doctor_bad "$VTTM_EXIT_RAM"
    fi
    free=$(vttm_disk_free_mib "$(_cache_existing_parent)")
    need=$(host_disk_need_mib)
    if [ "$free" -ge "$need" ]; then
        _doctor_line ok disk "$free MiB free for the cache, $need MiB needed"
    else
        _doctor_line broken disk "$free MiB free for the cache, $need MiB needed" "free some space, or point VTTM_CACHE at another disk"
        _doctor_bad "$VTTM_EXIT_DISK"
    fi
}

# The mirror is asked for one small file; offline is a problem only as long as something must be fetched.
_doctor_network() {
    local uri codename scratch
    [ -x /usr/lib/apt/apt-helper ] || return 0
    uri=$(fetch_mirrors | head -n 1)
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-stable}")
    if [ -z "$uri" ]; then
        _doctor_line broken network "apt has no source of Debian $codename main" "repair /etc/apt/sources.list, or set VTTM_MIRRORS"
        _doctor_bad "$VTTM_EXIT_NETWORK"
        return 0
    fi
    scratch=$(mktemp -d)
    if timeout 20 /usr/lib/apt/apt-helper -o APT::Sandbox::User= -o Acquire::Retries=0 -o Acquire::http::Timeout=10 \
        download-file "$uri/dists/$codename/Release.gpg" "$scratch/file" >/dev/null 2>&1; then
        _doctor_line ok network "the configured Debian mirror answers"
    elif [ "$(host_disk_need_mib)" -lt "$VTTM_DISK_COLD_MIB" ]; then
        _doctor_line missing network "the configured Debian mirror does not answer; kernel and QEMU are in the cache already"
    else
        _doctor_line broken network "the configured Debian mirror does not answer" "check the network and apt's sources, or set VTTM_MIRRORS"
        _doctor_bad "$VTTM_EXIT_NETWORK"
    fi
    rm -rf "$scratch"
}

_doctor_cache() {
    local kind entry count
    if [ ! -d "$VTTM_CACHE_DIR" ]; then
        if [ ! -w "$(_cache_existing_parent)" ]; then
            _doctor_line broken cache "$VTTM_CACHE_DIR cannot be made: $(_cache_existing_parent) is not writable" \
                "make it writable, or point VTTM_CACHE elsewhere"
            _doctor_bad "$VTTM_EXIT_DISK"
            return 0
        fi
        _doctor_line missing cache "$VTTM_CACHE_DIR does not exist yet" "./vttm build fills it"
        return 0
    fi
    if [ ! -w "$VTTM_CACHE_DIR" ]; then
        _doctor_line broken cache "$VTTM_CACHE_DIR is not writable" "make it writable, or point VTTM_CACHE elsewhere"
        _doctor_bad "$VTTM_EXIT_DISK"
    fi
    _doctor_line ok cache "$VTTM_CACHE_DIR, $(du -sm "$VTTM_CACHE_DIR" 2>/dev/null | cut -f 1) MiB"
    for kind in kernel qemu kmod initramfs; do
        count=0
        for entry in "$VTTM_CACHE_DIR/$kind"/* "$VTTM_CACHE_DIR/$kind"-*/*; do
            [ -d "$entry" ] || continue
            count=$((count + 1))
            _doctor_line ok "  $kind" "${entry##*/}$(_doctor_release "$entry"), $(du -sm "$entry" | cut -f 1) MiB"
        done
        [ "$count" -gt 0 ] || _doctor_line missing "  $kind" "not built yet" "./vttm build"
    done
    for kind in downloads ccache; do
        [ ! -d "$VTTM_CACHE_DIR/$kind" ] ||
            _doctor_line ok "  $kind" "$(find "$VTTM_CACHE_DIR/$kind" -type f | wc -l) files, $(du -sm "$VTTM_CACHE_DIR/$kind" | cut -f 1) MiB"
    done
    count=$(find "$VTTM_CACHE_DIR/tmp" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)
    [ "$count" -eq 0 ] || _doctor_line ok "  tmp" "$count folders: a run or build in progress, or left by a killed one" \
        "the next ./vttm build deletes what is nobody's"
    count=$(find "$VTTM_CACHE_DIR"/qemu "$VTTM_CACHE_DIR"/kernel-* "$VTTM_CACHE_DIR"/kmod "$VTTM_CACHE_DIR"/initramfs "$VTTM_CACHE_DIR"/downloads \
        -mindepth 1 -maxdepth 1 -mmin +43200 2>/dev/null | wc -l)
    [ "$count" -eq 0 ] || _doctor_line ok "  old" "$count entries that nobody needed for 30 days" "./vttm clean --old deletes them"
}

_doctor_release() {
    [ ! -f "$1/release" ] || printf ' (%s)' "$(cat "$1/release")"
}

_doctor_build() {
    local where
    where=$build
    [ -d "$where" ] || where=$(dirname "$where")
    if [ ! -w "$where" ]; then
        _doctor_line broken "build folder" "$build cannot be written" "make it writable, or clone as the user who builds"
        _doctor_bad "$VTTM_EXIT_DISK"
    fi
    if setup_products_there; then
        _doctor_line ok machine "$build/vm/vm.json, kernel $(sed -n 's/^ *"kernel_release": "\([^"]*\)".*/\1/p' "$build/vm/vm.json")"
    else
        _doctor_line missing machine "no complete $build/vm/vm.json" "./vttm build"
    fi
}

_doctor_kvm() {
    local qemu kernel initramfs
    qemu=$build/vm/qemu-system-x86_64
    kernel=$(sed -n 's/^ *"kernel": "\([^"]*\)".*/\1/p' "$build/vm/vm.json" 2>/dev/null || :)
    initramfs=$(sed -n 's/^ *"initramfs": "\([^"]*\)".*/\1/p' "$build/vm/vm.json" 2>/dev/null || :)
    [ -x "$qemu" ] || qemu=$(command -v qemu-system-x86_64 || :)
    if [ -z "$qemu" ] && [ -e "$VTTM_KVM" ]; then
        _doctor_line missing KVM "$VTTM_KVM is there; whether it runs guests is tried when QEMU is built" "./vttm build"
        return 0
    fi
    kvm_keep_nothing=1
    if [ -f "$kernel" ] && [ -f "$initramfs" ]; then
        kvm_check "$qemu" "$kernel" "$initramfs"
    else
        kvm_check "$qemu"
    fi
    if [ "$VTTM_ACCEL_VERDICT" = kvm ]; then
        _doctor_line ok KVM "$VTTM_ACCEL_REASON"
    elif [ -e "$VTTM_KVM" ]; then
        _doctor_line broken KVM "$VTTM_ACCEL_REASON" "nothing: TCG is used, which is right but slower"
    else
        _doctor_line missing KVM "$VTTM_ACCEL_REASON" "nothing: TCG is used, which is right but slower"
    fi
}

doctor() {
    doctor_status=0
    _doctor_platform
    _doctor_packages
    _doctor_resources
    _doctor_network
    _doctor_cache
    _doctor_build
    _doctor_kvm
    exit "$doctor_status"
}

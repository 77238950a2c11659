# SPDX-License-Identifier: Apache-2.0
# What the machine must offer before work starts: processor, disk, RAM.
# VTTM_MEMINFO names another /proc/meminfo (tests).

# MiB. Cold: 5 GiB to build the kernel, 2 for QEMU, 4 for the swap disk, the rest products and ccache. Warm: the swap disk.
# (Sources and objects of kernel and QEMU are deleted when they are built.)
VTTM_DISK_COLD_MIB=12288
VTTM_DISK_WARM_MIB=5120
# A guest of 1.5 GiB with 256 MiB of VRAM, QEMU's own memory, and the host's programs.
VTTM_RAM_MIB=2560

# host_check_platform: dies with 6 where the guest can never run.
host_check_platform() {
    local machine
    machine=$(uname -m)
    [ "$machine" = x86_64 ] ||
        vttm_die "$VTTM_EXIT_INFRA" "this machine is $machine; host and guest are x86_64 only" "" "use an x86_64 machine"
    command -v dpkg-query >/dev/null ||
        vttm_die "$VTTM_EXIT_PACKAGE" "this is no Debian system: no dpkg" "/etc/os-release" "use Debian 12 or later (a container does)"
}

# host_ram_mib: prints the MiB of RAM that can be had now, also under a memory limit of the container.
host_ram_mib() {
    local free limit used
    free=$(awk '$1 == "MemAvailable:" { print int($2 / 1024) }' "${VTTM_MEMINFO:-/proc/meminfo}")
    limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
    if [ "$limit" != max ]; then
        used=$(cat /sys/fs/cgroup/memory.current)
        limit=$(((limit - used) / 1048576))
        [ "$limit" -ge "$free" ] || free=$limit
    fi
    printf '%d\n' "$free"
}

host_check_ram() {
    local free
    free=$(host_ram_mib)
    [ "$free" -ge "$VTTM_RAM_MIB" ] ||
        vttm_die "$VTTM_EXIT_RAM" "too little RAM: $free MiB available, $VTTM_RAM_MIB MiB needed" "" \
            "close other programs, or use a machine with at least 4 GiB"
}

# host_disk_need_mib: prints what is needed: less when kernel and QEMU are in the cache.
host_disk_need_mib() {
    local kind need
    need=$VTTM_DISK_WARM_MIB
    for kind in 'kernel-*' qemu; do # a pattern: each variant is a kind
        [ -n "$(find "$VTTM_CACHE_DIR"/$kind -mindepth 1 -maxdepth 1 -type d -print -quit 2>/dev/null)" ] ||
            need=$VTTM_DISK_COLD_MIB
    done
    printf '%d\n' "$need"
}

host_check_disk() {
    local need free
    need=$(host_disk_need_mib)
    free=$(vttm_disk_free_mib "$(_cache_existing_parent)")
    [ "$free" -ge "$need" ] ||
        vttm_die "$VTTM_EXIT_DISK" "too little disk: $free MiB free for the cache, $need MiB needed" "$VTTM_CACHE_DIR" \
            "free some space, or point VTTM_CACHE at another disk"
    # The tree itself holds the C++ build, logs and the copy of QEMU.
    free=$(vttm_disk_free_mib "$VTTM_ROOT")
    [ "$free" -ge 1024 ] ||
        vttm_die "$VTTM_EXIT_DISK" "too little disk: $free MiB free for the build, 1024 MiB needed" "$VTTM_ROOT/build" "free some space"
}

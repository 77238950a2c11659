#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds QEMU with the vttm device into the cache; prints the folder that holds qemu-system-x86_64.
#
#     build.sh [--source DIR] --model-pc DIR
#
# DIR of --model-pc holds vttm-model.pc of a built model; the binary looks for libvttm-model.so.1 beside
# itself. DIR of --source is a QEMU tree (10.x; 10.0 is tested) to use instead of the pinned one; it is copied,
# never changed. The model's own code is not part of the key: it is a shared library.
set -eu
VTTM_ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$VTTM_ROOT/images/lib/common.sh"
. "$VTTM_ROOT/images/qemu/sources.sh"

device=$VTTM_ROOT/qemu-device
log=$VTTM_LOG_DIR/qemu.log

# Without --without-default-features each library that happens to be installed would get in. Default
# *devices* stay: libvirt wants PCIe root ports. Debug information would triple time and size.
configure_flags='--target-list=x86_64-softmmu --without-default-features --enable-tcg --enable-kvm
    --enable-fdt=system --enable-pixman --disable-download --disable-docs --disable-install-blobs
    --disable-debug-info --disable-relocatable
    --firmwarepath=/usr/share/qemu:/usr/share/seabios:/usr/lib/ipxe/qemu'

# MiB: sources, objects and ccache's copy of them.
disk_need=1536

usage() {
    [ -z "${1:-}" ] || echo "build.sh: $1" >&2
    echo 'usage: build.sh [--source DIR] --model-pc DIR' >&2
    exit "$VTTM_EXIT_USAGE"
}

# compiler: prints the C compiler's command, through ccache if there is one.
compiler() {
    printf '%s%s' "$(command -v ccache >/dev/null && echo 'ccache ' || :)" "${CC:-gcc}"
}

# qemu_key SOURCE: the key of a QEMU built from SOURCE (a hash).
qemu_key() {
    {
        printf '%s\n' "$1" "$configure_flags" "$(${CC:-gcc} --version | head -n 1)"
        vttm_hash_files "$VTTM_ROOT/images/qemu/build.sh" "$VTTM_ROOT/images/qemu/sources.sh" "$device"/*.c "$device"/*.h "$device/Kconfig" \
            "$device/meson.build" "$device/trace-events" "$VTTM_ROOT"/protocol/*.h \
            "$VTTM_ROOT/host-backend/model/vttm_model.h"
    } | vttm_hash
}

# tree_hash DIR: hash of a source tree's contents, without what git and earlier builds put there.
tree_hash() {
    (cd "$1" && find . \( -name .git -o -path ./build -o -name __pycache__ \) -prune -o -type f -print0 |
        sort -z | xargs -0r sha256sum --) | vttm_hash
}

# unpack DIR FILE: the tarball's single folder becomes DIR.
unpack() {
    mkdir -p "$1" && tar -xf "$2" -C "$1" --strip-components=1
}

# copy_tree DIR FROM: a copy of the user's tree, never a link: the hook lines must not reach the original.
copy_tree() {
    mkdir -p "$1" && (cd "$2" && tar --exclude-vcs --exclude=./build -cf - .) | tar -xf - -C "$1"
}

# hook SRC: makes the device part of the tree: a folder, and a line each in two files; its test likewise.
hook() {
    local src version
    src=$1
    read -r version <"$src/VERSION"
    case $version in
    10.*) ;;
    *) hook_die "it is QEMU $version, and the device is written for 10.x" ;;
    esac
    [ ! -e "$src/hw/vttm" ] || hook_die "the tree has a folder hw/vttm already"
    grep -q "^subdir('pci')" "$src/hw/meson.build" && grep -q '^source pci/Kconfig' "$src/hw/Kconfig" &&
        grep -q '^qtest_executables = {}' "$src/tests/qtest/meson.build" 2>/dev/null ||
        hook_die "hw/meson.build, hw/Kconfig or tests/qtest/meson.build is not made as in QEMU 10.0"
    mkdir "$src/hw/vttm" &&
        cp "$device"/*.c "$device"/*.h "$device/Kconfig" "$device/meson.build" "$device/trace-events" "$src/hw/vttm/" &&
        mv "$src/hw/vttm/vttm-test.c" "$src/tests/qtest/" &&
        sed -i "s/^qtest_executables = {}/qtests_x86_64 += ['vttm-test']\nqtests += {'vttm-test': [vttm_protocol]}\n&/" "$src/tests/qtest/meson.build" &&
        echo "subdir('vttm')" >>"$src/hw/meson.build" &&
        echo 'source vttm/Kconfig' >>"$src/hw/Kconfig" || return
    # Debian's tarball leaves out the firmware that configure wants to see when bzip2 is installed. It is
    # not used: firmware comes from the packages seabios and qemu-system-data.
    sed -n "s/^ *'\(edk2-[a-z0-9_-]*\.fd\)',\$/\1/p" "$src/pc-bios/meson.build" | while read -r name; do
        [ -e "$src/pc-bios/$name.bz2" ] || : >"$src/pc-bios/$name.bz2" || return
    done
}

hook_die() {
    vttm_die "$VTTM_EXIT_PATCH" "the vttm device does not fit into this QEMU: $1" "${source:-$log}" \
        "use a QEMU 10 tree without an own hw/vttm, or leave out --source"
}

# in_build DIR CMD...: runs CMD in DIR with the environment of QEMU's build. Flags of the user's
# environment stay out (the key does not know them); ccache takes paths relative to the work folder, whose
# name differs each time.
in_build() {
    cd "$1" || return
    shift
    unset CFLAGS CXXFLAGS CPPFLAGS LDFLAGS
    env CCACHE_DIR="$VTTM_CACHE_DIR/ccache" CCACHE_BASEDIR="$work" CCACHE_NOHASHDIR=1 \
        CCACHE_SLOPPINESS=include_file_mtime,include_file_ctime \
        PYTHONPATH="$work/tools/usr/lib/python3/dist-packages" PYTHONDONTWRITEBYTECODE=1 \
        PKG_CONFIG_PATH="$model_pc${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}" nice -n 5 "$@"
}

# build DIR KIND SOURCE: fills the cache entry DIR from a tarball (KIND tar) or a tree (KIND tree).
build() {
    local out kind source work deb debs jobs
    out=$1 kind=$2 source=$3
    work=$out/work
    jobs=$(nproc)
    mkdir -p "$VTTM_LOG_DIR" && : >"$log" || return
    # First what needs neither network nor much disk: whether the device fits in at all.
    if [ "$kind" = tar ]; then
        vttm_step "unpack QEMU" "$log" unpack "$work/src" "$source"
    else
        vttm_step "copy the QEMU tree" "$log" copy_tree "$work/src" "$source"
    fi || vttm_die "$VTTM_EXIT_BUILD" "cannot take over the QEMU sources" "$log" "see tar's message there"
    hook "$work/src" || vttm_die "$VTTM_EXIT_BUILD" "cannot write into the copy of QEMU" "$work/src" "see above"
    [ "$(vttm_disk_free_mib "$out")" -ge "$disk_need" ] ||
        vttm_die "$VTTM_EXIT_DISK" "too little disk to build QEMU: $disk_need MiB needed" "$VTTM_CACHE_DIR" \
            "free some space, or point VTTM_CACHE at another disk"
    debs=$(fetch_build_tools) || exit $?
    mkdir -p "$work/build" || return
    for deb in $debs; do
        dpkg-deb -x "$deb" "$work/tools" || return
    done

    vttm_step "configure QEMU" "$log" in_build "$work/build" ../src/configure --cc="$(compiler)" \
        --python=/usr/bin/python3 $configure_flags || build_die "QEMU cannot be configured" "$work"
    vttm_step "build QEMU" "$log" in_build "$work/build" ninja -j "$jobs" qemu-system-x86_64 tests/qtest/vttm-test ||
        build_die "QEMU does not build" "$work"
    check_binary "$work/build/qemu-system-x86_64"
    cp "$work/src/VERSION" "$out/version" && mv "$work/build/qemu-system-x86_64" "$work/build/tests/qtest/vttm-test" "$out/" && rm -rf "$work"
}

# build_die WHAT WORK: QEMU's own log is in the work folder, which goes away.
build_die() {
    {
        echo '== meson-log.txt (end)'
        tail -n 60 "$2/build/meson-logs/meson-log.txt"
    } >>"$log" 2>/dev/null || :
    vttm_die "$VTTM_EXIT_BUILD" "$1" "$log" "see the messages there; ./vttm doctor lists missing packages"
}

# check_binary FILE: what the cache promises of the binary.
check_binary() {
    local dynamic libdir
    dynamic=$(readelf -d "$1")
    case $dynamic in
    *'(RUNPATH)'*'[$ORIGIN]'*) ;;
    *) check_die 'does not look for libraries beside itself (RUNPATH)' ;;
    esac
    case $dynamic in
    *'(NEEDED)'*'[libvttm-model.so.1]'*) ;;
    *) check_die 'is not linked to libvttm-model.so.1' ;;
    esac
    libdir=$(PKG_CONFIG_PATH=$model_pc pkg-config --variable=libdir vttm-model)
    LD_LIBRARY_PATH=$libdir "$1" -device vttm,help >>"$log" 2>&1 || check_die 'has no device vttm'
}

check_die() {
    vttm_die "$VTTM_EXIT_BUILD" "the QEMU just built $1" "$log" "this is an error of vttm: please report it"
}

tree= model_pc=
while [ $# -gt 0 ]; do
    case $1 in
    --source) [ $# -ge 2 ] || usage '--source needs a folder'; tree=$2; shift 2 ;;
    --model-pc) [ $# -ge 2 ] || usage '--model-pc needs a folder'; model_pc=$2; shift 2 ;;
    *) usage "unknown argument '$1'" ;;
    esac
done
[ -f "$model_pc/vttm-model.pc" ] || usage "no vttm-model.pc in '$model_pc'"
model_pc=$(cd "$model_pc" && pwd)

if [ -n "$tree" ]; then
    [ -f "$tree/hw/meson.build" ] && [ -f "$tree/VERSION" ] ||
        usage "--source '$tree' is no QEMU source tree (no hw/meson.build, or no VERSION)"
    tree=$(cd "$tree" && pwd)
    cache_build qemu "$(qemu_key "$(tree_hash "$tree")")" build tree "$tree"
    exit
fi

# Any pinned version that was built before will do, without a look at the network.
for pin in $qemu_pins; do
    ! cache_lookup qemu "$(qemu_key "$(pin_sha256 "$pin")")" || exit 0
done
fetch_qemu
cache_build qemu "$(qemu_key "$(pin_sha256 "$pin")")" build tar "$tarball"

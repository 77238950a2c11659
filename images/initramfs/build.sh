#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds vttm.ko against a kernel of the cache, and the initramfs with it; prints the cpio.gz.
#
#     build.sh --kernel DIR --guest-programs DIR
#
# DIR of --kernel is what images/kernel/build.sh printed; DIR of --guest-programs holds vttm-agent,
# vttm-hog and vttm-guest-tests (static). Both products are entries of the cache.
set -eu
VTTM_ROOT=$(cd "$(dirname "$0")/../.." && pwd)
. "$VTTM_ROOT/images/lib/common.sh"

here=$VTTM_ROOT/images/initramfs
programs='vttm-agent vttm-hog vttm-guest-tests'
log=$VTTM_LOG_DIR/initramfs.log

usage() {
    echo 'usage: build.sh --kernel DIR --guest-programs DIR' >&2
    exit "$VTTM_EXIT_USAGE"
}

# build_kmod DIR KERNEL: vttm.ko into DIR. Built in a copy, so that no object lands in the tree.
build_kmod() {
    local dir kernel
    dir=$1 kernel=$2
    cp -R "$VTTM_ROOT/guest-driver/kmod" "$dir/src" || return
    vttm_step "build vttm.ko" "$VTTM_LOG_DIR/kmod.log" \
        make -j "$(nproc)" -C "$kernel/build" M="$dir/src" VTTM_ROOT="$VTTM_ROOT" ${CC:+CC="$CC"} modules ||
        vttm_die "$VTTM_EXIT_BUILD" "vttm.ko does not build" "$VTTM_LOG_DIR/kmod.log" \
            "see the compiler's messages there"
    mv "$dir/src/vttm.ko" "$dir/vttm.ko" && rm -rf "$dir/src"
}

# cpio_list MODULES: prints the initramfs in the format of the kernel's gen_init_cpio, which makes device
# nodes and root's files without being root.
cpio_list() {
    local dir name applet
    for dir in bin sbin dev proc sys tmp run etc lib lib/modules; do
        printf 'dir /%s 0755 0 0\n' "$dir"
    done
    # The first process's stdin, stdout, stderr: opened before anything is mounted.
    printf 'nod /dev/console 0600 0 0 c 5 1\n'
    printf 'file /init %s/init 0755 0 0\n' "$here"
    printf 'file /bin/busybox %s 0755 0 0\n' "$busybox"
    for applet in $("$busybox" --list); do
        [ "$applet" = busybox ] || printf 'slink /bin/%s busybox 0777 0 0\n' "$applet"
    done
    (cd "$1" && find lib/modules -mindepth 1 -type d | sort) | while read -r name; do
        printf 'dir /%s 0755 0 0\n' "$name"
    done
    (cd "$1" && find lib/modules -type f | sort) | while read -r name; do
        printf 'file /%s %s/%s 0644 0 0\n' "$name" "$1" "$name"
    done
    for name in $programs; do
        printf 'file /bin/%s %s/%s 0755 0 0\n' "$name" "$2" "$name"
    done
}

# pack DIR KERNEL KMOD PROGRAMS: DIR/initramfs.cpio.gz.
pack() {
    local dir kernel kmod release name modules
    dir=$1 kernel=$2 kmod=$3
    read -r release <"$kernel/release" || return
    modules=$dir/root/lib/modules/$release
    mkdir -p "$dir/root/lib" "$dir/bin" &&
        cp -R "$kernel/modules/lib/modules" "$dir/root/lib/" &&
        # Links into the build tree mean nothing in the guest.
        find "$dir/root" -type l -delete &&
        mkdir -p "$modules/updates" &&
        cp "$kmod/vttm.ko" "$modules/updates/" &&
        PATH=$PATH:/sbin:/usr/sbin depmod -b "$dir/root" "$release" || return
    for name in $programs; do
        strip -o "$dir/bin/$name" "$4/$name" || return
    done
    cpio_list "$dir/root" "$dir/bin" >"$dir/list" &&
        "$kernel/build/usr/gen_init_cpio" "$dir/list" >"$dir/initramfs.cpio" &&
        gzip -n -6 "$dir/initramfs.cpio" &&
        rm -rf "${dir:?}/root" "${dir:?}/bin" "$dir/list"
}

pack_logged() {
    vttm_step "pack the initramfs" "$log" pack "$@" ||
        vttm_die "$VTTM_EXIT_BUILD" "the initramfs cannot be packed" "$log" "see the last lines there"
}

kernel='' guest=''
while [ $# -gt 0 ]; do
    case $1 in
    --kernel) kernel=${2:?} && shift 2 ;;
    --kernel=*) kernel=${1#*=} && shift ;;
    --guest-programs) guest=${2:?} && shift 2 ;;
    --guest-programs=*) guest=${1#*=} && shift ;;
    *) usage ;;
    esac
done
if [ -z "$kernel" ] || [ -z "$guest" ]; then usage; fi

for name in $programs; do
    [ -x "$guest/$name" ] || vttm_die "$VTTM_EXIT_BUILD" "guest program $name was not built" "$guest" "run ./vttm build"
done
# A dynamically linked busybox or agent would start nowhere in the guest.
busybox=$(command -v busybox) || vttm_die "$VTTM_EXIT_PACKAGE" "busybox is missing" "" "apt-get install busybox-static"
for name in "$busybox" "$guest/vttm-agent"; do
    if readelf -l "$name" | grep -q INTERP; then
        vttm_die "$VTTM_EXIT_PACKAGE" "$name is dynamically linked" "" "install busybox-static; build the guest programs static"
    fi
done
[ -x "$kernel/build/usr/gen_init_cpio" ] ||
    vttm_die "$VTTM_EXIT_BUILD" "the kernel's gen_init_cpio is missing" "$kernel/build/usr" "delete $kernel and run ./vttm build"
mkdir -p "$VTTM_LOG_DIR"

# The kernel's folder name is its key: it stands for source, patches, config, compiler.
# The two header folders are copied by no one: the module includes them by path.
headers="$VTTM_ROOT/protocol $VTTM_ROOT/guest-driver/uapi"
kmod_key=$({ basename "$kernel"; vttm_hash_files "$VTTM_ROOT/guest-driver/kmod" $headers; } | vttm_hash)
kmod=$(cache_build kmod "$kmod_key" build_kmod "$kernel")

key=$({
    echo "$kmod_key"
    vttm_hash_files "$here" "$busybox"
    for name in $programs; do sha256sum <"$guest/$name"; done
} | vttm_hash)
entry=$(cache_build initramfs "$key" pack_logged "$kernel" "$kmod" "$guest")
printf '%s\n' "$entry/initramfs.cpio.gz"

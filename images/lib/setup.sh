# SPDX-License-Identifier: Apache-2.0
# From a fresh clone to build/vm/vm.json: the stages of `./vttm build`, in the order in which they need each
# other. Sourced by ./vttm, which sets command, build, variant and, if given, linux_source and qemu_source.

# setup_stage OUT CMD...: runs CMD in the background with its stdout in OUT and waits, so that a signal is
# dealt with at once; dies with CMD's status (CMD has told why).
setup_stage() {
    local out status
    out=$1
    shift
    ("$@") >"$out" </dev/null 5>&- 6>&- 7>&- &
    stage=$!
    status=0
    wait "$stage" || status=$?
    stage=
    [ "$status" -eq 0 ] || exit "$status"
}

# setup_interrupted: the trap of ./vttm. Ends the stage that runs, with all its children, and waits for it.
setup_interrupted() {
    trap '' INT TERM HUP
    [ ! -t 2 ] || printf '\n' >&2
    [ -z "${stage:-}" ] || vttm_kill_tree "$stage"
    vttm_say "interrupted; what was half made is deleted"
    exit "$VTTM_EXIT_INTERRUPTED"
}

# setup_option NAME: prints the value of the meson option NAME as configured (the last `./vttm -DNAME=..` wins).
setup_option() {
    [ -f "$build/meson-info/intro-buildoptions.json" ] || return 0
    tr '{' '\n' <"$build/meson-info/intro-buildoptions.json" |
        sed -n "s/^\"name\": \"$1\", \"value\": \"\([^\"]*\)\".*/\1/p"
}

# setup_configure: meson setup once, meson configure when a given option differs. Ninja sees to the rest.
setup_configure() {
    local log changes
    log=$VTTM_LOG_DIR/meson.log
    if [ ! -f "$build/build.ninja" ]; then
        rm -rf "$build/meson-private" "$build/meson-info"
        vttm_step "configure" "$log" meson setup "$build" "$VTTM_ROOT" \
            ${linux_source+"-Dlinux_source=$linux_source"} ${qemu_source+"-Dqemu_source=$qemu_source"} ||
            vttm_die "$VTTM_EXIT_BUILD" "meson cannot configure the build" "$build/meson-logs/meson-log.txt" "see the last lines there"
        return 0
    fi
    changes=
    [ "${linux_source-$(setup_option linux_source)}" = "$(setup_option linux_source)" ] || changes=1
    [ "${qemu_source-$(setup_option qemu_source)}" = "$(setup_option qemu_source)" ] || changes=1
    [ -n "$changes" ] || return 0
    vttm_step "reconfigure" "$log" meson configure "$build" \
        ${linux_source+"-Dlinux_source=$linux_source"} ${qemu_source+"-Dqemu_source=$qemu_source"} ||
        vttm_die "$VTTM_EXIT_BUILD" "meson cannot configure the build" "$log" "see the last lines there"
}

# setup_compile: the C++ build; a build with nothing to do stays silent. `run` and `shell` need no host tests,
# which are half of it.
setup_compile() {
    local log targets
    log=$VTTM_LOG_DIR/ninja.log
    targets=
    case $command in
    run | shell)
        targets="host-backend/cli/vttm-cli host-backend/model/libvttm-model.so.1
            guest-driver/libvttm/vttm-agent guest-driver/libvttm/vttm-hog tests/guest/vttm-guest-tests"
        ;;
    esac
    ninja -C "$build" -n $targets 2>/dev/null | grep -q 'no work to do' && return 0
    : >"$log"
    vttm_step "build host and guest programs" "$log" ninja -C "$build" -j "$(nproc)" $targets ||
        vttm_die "$VTTM_EXIT_BUILD" "the C++ build failed" "$log" "see the compiler's messages there"
}

# setup_stamp: prints a cheap hash of all that kernel, QEMU and initramfs depend on (names, sizes and times,
# not contents: those decide in the cache). A user's own source tree is not covered, see setup_build.
setup_stamp() {
    {
        printf '%s|%s|%s|%s|%s\n' "$variant" "$linux_source" "$qemu_source" "$VTTM_CACHE_DIR" "${VTTM_ACCEL:-}"
        cat /proc/sys/kernel/random/boot_id
        kvm_stamp
        stat -Lc '%n %s %Y' "$(command -v gcc)" "$(command -v busybox)" \
            "$build"/guest-driver/libvttm/vttm-agent "$build"/guest-driver/libvttm/vttm-hog \
            "$build"/tests/guest/vttm-guest-tests "$build"/host-backend/model/libvttm-model.so.1 || :
        cd "$VTTM_ROOT" && find images protocol qemu-device guest-driver/kmod guest-driver/uapi guest-driver/patches \
            host-backend/model/vttm_model.h vttm -type f -printf '%p %s %T@\n' | sort
    } | vttm_hash
}

# setup_programs: configures and compiles the C++ part. One set-up at a time in this tree: the lock on
# fd 7 is gone with this process; ./vttm closes it when it becomes the CLI.
setup_programs() {
    local told
    mkdir -p "$build/vm" "$VTTM_LOG_DIR" 2>/dev/null ||
        vttm_die "$VTTM_EXIT_DISK" "cannot write the build folder" "$build" "make it writable, or free some space"
    told=
    command exec 7>>"$build/setup.lock" ||
        vttm_die "$VTTM_EXIT_DISK" "cannot create a lock" "$build/setup.lock" "make the folder writable, or free some space"
    while ! flock -w 1 7; do
        [ -n "$told" ] || vttm_say "waiting for another ./vttm that builds in this tree"
        told=1
    done
    setup_stage /dev/null setup_configure
    linux_source=${linux_source-$(setup_option linux_source)}
    qemu_source=${qemu_source-$(setup_option qemu_source)}
    setup_stage /dev/null setup_compile
}

# setup_build: everything up to build/vm/vm.json; a warm call only compares stamps.
setup_build() {
    local vm stamp kernel qemu initramfs
    vm=$build/vm
    cache_init
    cache_sweep_runs
    cache_hold
    setup_programs
    stamp=$(setup_stamp)
    if [ -z "$linux_source$qemu_source" ] && [ "$stamp" = "$(cat "$vm/stamp" 2>/dev/null)" ] && setup_products_there; then
        setup_used
        return 0
    fi
    cache_sweep
    host_check_disk
    rm -f "$vm/stamp"

    # The model is built by now: QEMU is linked against it, and runs with the copy beside it.
    setup_stage "$vm/.qemu" "$VTTM_ROOT/images/qemu/build.sh" ${qemu_source:+--source "$qemu_source"} \
        --model-pc "$build/host-backend/model"
    setup_stage "$vm/.kernel" "$VTTM_ROOT/images/kernel/build.sh" --variant "$variant" ${linux_source:+--source "$linux_source"}
    qemu=$(tail -n 1 "$vm/.qemu")
    kernel=$(tail -n 1 "$vm/.kernel")
    mkdir -p "$vm/guest"
    setup_guest_programs "$vm/guest"
    setup_stage "$vm/.initramfs" "$VTTM_ROOT/images/initramfs/build.sh" --kernel "$kernel" --guest-programs "$vm/guest"
    initramfs=$(tail -n 1 "$vm/.initramfs")

    setup_copy "$qemu/qemu-system-x86_64" "$vm/qemu-system-x86_64"
    setup_copy "$qemu/vttm-test" "$vm/vttm-test"
    setup_copy "$build/host-backend/model/libvttm-model.so.1" "$vm/libvttm-model.so.1"
    setup_manifest "$vm" "$kernel" "$initramfs"
    printf '%s\n' "$qemu" "$kernel" "${initramfs%/*}" >"$vm/cache-entries"
    rm -f "$vm/.qemu" "$vm/.kernel" "$vm/.initramfs"
    setup_stamp >"$vm/stamp"
}

# setup_guest_programs DIR: links to the programs that go into the guest.
setup_guest_programs() {
    ln -sfn "$build/guest-driver/libvttm/vttm-agent" "$1/vttm-agent"
    ln -sfn "$build/guest-driver/libvttm/vttm-hog" "$1/vttm-hog"
    ln -sfn "$build"/tests/guest/vttm-guest-tests "$1/vttm-guest-tests"
}

# setup_products_there: true when all files that vm.json names are there (the cache may have been cleaned).
setup_products_there() {
    local path
    [ -f "$build/vm/vm.json" ] && [ -f "$build/vm/libvttm-model.so.1" ] || return 1
    sed -n 's/^ *"\(qemu\|kernel\|initramfs\)": "\([^"]*\)".*/\2/p' "$build/vm/vm.json" |
        while read -r path; do
            [ -f "$path" ] || exit 1
        done
}

# setup_used: notes in the cache that this tree's machine is in use, for cache_prune.
setup_used() {
    local entry
    [ -f "$build/vm/cache-entries" ] || return 0
    while read -r entry; do set -- "$@" "$entry"; done <"$build/vm/cache-entries"
    cache_used "$@"
}

# setup_copy FROM TO: a copy that replaces TO at once: a running QEMU keeps the old file.
setup_copy() {
    cmp -s "$1" "$2" && return 0
    { cp --reflink=auto "$1" "$2.new" && mv "$2.new" "$2"; } ||
        vttm_die "$VTTM_EXIT_DISK" "cannot copy $1" "$2" "free some space, make the folder writable"
}

# setup_manifest VM KERNEL INITRAMFS: writes vm.json, one key a line.
setup_manifest() {
    local release
    read -r release <"$2/release"
    kvm_check "$1/qemu-system-x86_64" "$2/bzImage" "$3"
    vttm_say "accelerator: $VTTM_ACCEL_VERDICT ($VTTM_ACCEL_REASON)"
    cat >"$1/vm.json.new" <<JSON
{
  "qemu": "$1/qemu-system-x86_64",
  "kernel": "$2/bzImage",
  "initramfs": "$3",
  "kernel_release": "$release",
  "variant": "$variant",
  "patches": "$(vttm_hash_files "$VTTM_ROOT/guest-driver/patches")",
  "accel": "$VTTM_ACCEL_VERDICT"
}
JSON
    mv "$1/vm.json.new" "$1/vm.json"
}

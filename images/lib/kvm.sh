# SPDX-License-Identifier: Apache-2.0
# Does KVM run guests here? That /dev/kvm opens says little: nested and para-virtual KVMs exist that create
# machines and then hang. So a guest is run: first a ROM of three instructions, then, when it is built, our own kernel.

# The device; tests name another one.
VTTM_KVM=${VTTM_KVM:-/dev/kvm}

# kvm_stamp: prints what kvm_check's answer depends on beside boot, QEMU and kernel: the device is there, and may be opened.
kvm_stamp() {
    stat -Lc '%t %T %A %G' "$VTTM_KVM" 2>/dev/null || echo none
    [ ! -r "$VTTM_KVM" ] || echo readable
    [ ! -w "$VTTM_KVM" ] || echo writable
}

# kvm_check QEMU [KERNEL INITRAMFS]: sets VTTM_ACCEL_VERDICT to kvm or tcg and VTTM_ACCEL_REASON to a line
# for people. The answer is kept per boot of the host and per QEMU and kernel. VTTM_ACCEL=kvm|tcg in the
# environment overrides it. With kvm_keep_nothing set, a new answer is not kept (doctor).
kvm_check() {
    local key entry
    case ${VTTM_ACCEL:-} in
    kvm | tcg)
        VTTM_ACCEL_VERDICT=$VTTM_ACCEL
        VTTM_ACCEL_REASON="VTTM_ACCEL=$VTTM_ACCEL is set"
        return 0
        ;;
    '') ;;
    *) vttm_die "$VTTM_EXIT_USAGE" "VTTM_ACCEL=$VTTM_ACCEL is neither kvm nor tcg" "" "set one of them or none" ;;
    esac
    VTTM_ACCEL_VERDICT=tcg
    if [ ! -e "$VTTM_KVM" ]; then
        VTTM_ACCEL_REASON="there is no $VTTM_KVM (no hardware virtualisation, or module kvm_intel/kvm_amd not loaded)"
        return 0
    elif [ ! -r "$VTTM_KVM" ] || [ ! -w "$VTTM_KVM" ]; then
        VTTM_ACCEL_REASON="$VTTM_KVM may not be opened by $(id -un) ($(_kvm_who_may))"
        return 0
    fi
    read -r key </proc/sys/kernel/random/boot_id
    key=$({ echo "$key"; stat -Lc '%n %s %Y' "$@"; } | vttm_hash)
    if [ -n "${kvm_keep_nothing:-}" ] && ! entry=$(cache_lookup kvm "$key"); then
        entry=$(mktemp -d)
        _kvm_try "$entry" "$@"
        IFS='|' read -r VTTM_ACCEL_VERDICT VTTM_ACCEL_REASON <"$entry/verdict"
        rm -rf "$entry"
        return 0
    fi
    entry=$(cache_build kvm "$key" _kvm_try "$@") || {
        VTTM_ACCEL_REASON="KVM was not checked"
        return 0
    }
    IFS='|' read -r VTTM_ACCEL_VERDICT VTTM_ACCEL_REASON <"$entry/verdict"
}

# _kvm_who_may: prints how a user gets to open /dev/kvm.
_kvm_who_may() {
    case $(stat -Lc %A "$VTTM_KVM") in
    ????rw*) printf 'join group %s' "$(stat -Lc %G "$VTTM_KVM")" ;;
    *) printf 'its owner, %s, lets nobody else' "$(stat -Lc %U "$VTTM_KVM")" ;;
    esac
}

# _kvm_try DIR QEMU [KERNEL INITRAMFS]: DIR/verdict, "kvm|reason" or "tcg|reason".
_kvm_try() {
    local dir status
    dir=$1
    # A ROM whose last 16 bytes, where the processor starts, say: mov al,0x2a; out 0xf4,al; hlt; jmp to the hlt.
    # isa-debug-exit makes QEMU end with (0x2a << 1) | 1 = 85.
    truncate -s 65520 "$dir/rom"
    printf '\260\052\346\364\364\353\375' >>"$dir/rom"
    truncate -s 65536 "$dir/rom"
    status=0
    _kvm_qemu 15 "$2" "$dir/log" -m 64 -bios "$dir/rom" -device isa-debug-exit,iobase=0xf4,iosize=1 || status=$?
    if [ "$status" -ne 85 ]; then
        _kvm_verdict "$dir" tcg "/dev/kvm is there but does not run guests: a ROM of three instructions $(_kvm_how "$status" "$dir/log")"
        return
    elif [ -z "${3:-}" ]; then
        _kvm_verdict "$dir" kvm "KVM ran a ROM of three instructions"
        return
    fi
    status=0
    _kvm_qemu 30 "$2" "$dir/log" -m 256 -no-reboot -kernel "$3" -initrd "$4" \
        -append "console=ttyS0 panic=-1 vttm.mode=off" -serial "file:$dir/serial" || status=$?
    if grep -q 'vttm-init: off' "$dir/serial" 2>/dev/null; then
        _kvm_verdict "$dir" kvm "KVM booted the guest's kernel"
    else
        _kvm_verdict "$dir" tcg "/dev/kvm runs a ROM of three instructions but not the guest's kernel: it $(_kvm_how "$status" "$dir/log")"
    fi
}

# _kvm_qemu SECONDS QEMU LOG ARGS: runs a guest with KVM; its status, 124 or 137 when the time was up.
_kvm_qemu() {
    local limit qemu log
    limit=$1 qemu=$2 log=$3
    shift 3
    timeout -k 2 "$limit" "$qemu" -accel kvm -cpu host -machine q35 -display none -nodefaults -no-user-config \
        "$@" >"$log" 2>&1
}

_kvm_verdict() {
    printf '%s|%s\n' "$2" "$3" >"$1/verdict"
}

# _kvm_how STATUS LOG: prints how QEMU ended.
_kvm_how() {
    case $1 in
    124 | 137) printf 'hung' ;;
    *) printf 'ended with status %d%s' "$1" "$(tail -n 1 "$2" | tr -cd '[:print:]' | sed 's/^\(.\)/ (\1/; s/$/)/; s/^)$//' | cut -c 1-160)" ;;
    esac
}

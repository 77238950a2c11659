# SPDX-License-Identifier: Apache-2.0
# How a kernel is made. Sourced by build.sh and check_series.sh; uses their variables variant, source, pin, package, key, log, patch_dir,
# and their function fragments.

# Lines that a build without ccache hits or misses writes, for the progress display only.
build_lines=2350
# Unpacked source and objects, MiB.
disk_need=5120

# series: prints the paths of the patches in order.
series() {
    local name
    while read -r name; do
        case $name in
        '' | '#'*) ;;
        *) printf '%s\n' "$patch_dir/$name" ;;
        esac
    done <"$patch_dir/series"
}

# check_tools: dies if a program is missing that the build needs.
check_tools() {
    local tool missing
    missing=''
    for tool in "${CC:-gcc}" make flex bison bc perl patch xz tar cpio ld dpkg-deb; do
        command -v "$tool" >/dev/null || missing="$missing $tool"
    done
    [ -z "$missing" ] ||
        vttm_die "$VTTM_EXIT_PACKAGE" "programs that build the kernel are missing:$missing" "" \
            "run ./vttm setup, or install the packages of images/lib/packages.txt"
}

# make_kernel DIR: all of it, into the fresh folder DIR. The build folder is a direct child of the source
# folder: only then are all paths relative, and ccache finds objects of other entries.
make_kernel() {
    local dir
    dir=$1
    [ "$(vttm_disk_free_mib "$dir")" -ge "$disk_need" ] ||
        vttm_die "$VTTM_EXIT_DISK" "building the kernel takes $disk_need MiB, there are $(vttm_disk_free_mib "$dir")" \
            "$VTTM_CACHE_DIR" "free some space, or point VTTM_CACHE at another disk"
    export KBUILD_BUILD_USER=vttm KBUILD_BUILD_HOST=vttm KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC'
    export CCACHE_DIR="$VTTM_CACHE_DIR/ccache" CCACHE_NOHASHDIR=true CCACHE_MAXSIZE="${CCACHE_MAXSIZE:-5G}"
    compiler=${CC:-gcc}
    ! command -v ccache >/dev/null || compiler="ccache $compiler"

    mkdir "$dir/linux" || return
    if [ -n "$source" ]; then
        vttm_step 'copy the kernel tree' "$log" copy_tree "$dir/linux" "$source" ||
            vttm_die "$VTTM_EXIT_BUILD" "the kernel tree cannot be copied" "$log" "see the last lines there"
    else
        vttm_step 'unpack the kernel source' "$log" unpack_deb "$dir/linux" "$package" ||
            vttm_die "$VTTM_EXIT_BUILD" "the kernel source cannot be unpacked" "$log" \
                "delete $package and try again"
    fi
    apply_series "$dir/linux"
    mkdir "$dir/linux/build" && ln -s linux/build "$dir/build" || return
    vttm_step "configure kernel ($variant)" "$log" configure "$dir/linux" ||
        vttm_die "$VTTM_EXIT_BUILD" "the kernel cannot be configured" "$log" "see the last lines there"
    check_config "$dir/linux/build/.config"
    VTTM_STEP_LINES=$(($(wc -l <"$log") + build_lines)) vttm_step "build kernel ($variant)" "$log" \
        kmake "$dir/linux" "-j$(nproc)" bzImage modules ||
        vttm_die "$VTTM_EXIT_BUILD" "the kernel does not build" "$log" "look for the first 'error:' there"
    vttm_step "install kernel ($variant)" "$log" collect "$dir" ||
        vttm_die "$VTTM_EXIT_BUILD" "the built kernel cannot be collected" "$log" "see the last lines there"
}

# kmake SRC ARGS: make in SRC/build.
kmake() {
    local src
    src=$1
    shift
    make -C "$src" O=build CC="$compiler" HOSTCC="$compiler" "$@"
}

# unpack_deb SRC DEB: the tarball inside the package, without its top folder, and without the register headers of one
# driver that is never built: they are a quarter of it.
unpack_deb() {
    dpkg-deb --fsys-tarfile "$2" | tar -xOf - "./usr/src/$(kernel_field "$pin" 3).tar.xz" |
        tar -xJf - -C "$1" --strip-components=1 --exclude='*/drivers/gpu/drm/amd/include' &&
        [ -f "$1/Makefile" ]
}

# copy_tree SRC FROM: a user's tree without history and without what was built in it.
copy_tree() {
    (cd "$2" && tar --exclude-vcs --exclude='*.o' --exclude='*.ko' --exclude='.*.cmd' --exclude=./build -cf - .) |
        tar -xf - -C "$1" && [ -f "$1/Makefile" ] || return
    # make O= refuses a tree that was built in place.
    [ ! -e "$1/.config" ] && [ ! -d "$1/include/config" ] || make -C "$1" mrproper
}

# apply_series SRC: dies naming the first patch that does not apply.
apply_series() {
    local file name
    # A tree that has the whole series: only in reverse order does each patch come off.
    if takes_off "$1" "$(series | tail -n 1)" && take_off_all "$1"; then
        vttm_say 'the tree has the series already'
    fi
    for file in $(series); do
        name=${file##*/}
        printf '== %s\n' "$name" >>"$log"
        if patch -d "$1" -p1 -N -f --dry-run <"$file" >>"$log" 2>&1; then
            patch -d "$1" -p1 -N -f --no-backup-if-mismatch <"$file" >>"$log" 2>&1 && continue
        elif takes_off "$1" "$file"; then
            vttm_say "$name is in the tree already"
            continue
        fi
        vttm_die "$VTTM_EXIT_PATCH" "patch $name does not apply to ${source:-Linux $(kernel_field "$pin" 1)}" "$log" \
            "the series is for Linux ${kernel_pins%%-*}: use such a tree, or port guest-driver/patches/$name"
    done
    series | sed 's|.*/||' >"$1/../patches"
}

# takes_off SRC PATCH: true if PATCH is in SRC.
takes_off() {
    patch -d "$1" -p1 -R -f --dry-run <"$2" >/dev/null 2>&1
}

# take_off_all SRC: takes the series off, last patch first; if one does not come off, what was is put back.
take_off_all() {
    local file off
    off=''
    for file in $(series | tac); do
        if ! takes_off "$1" "$file"; then
            for file in $off; do patch -d "$1" -p1 -N -f --no-backup-if-mismatch <"$file" >>"$log" 2>&1; done
            return 1
        fi
        patch -d "$1" -p1 -R -f --no-backup-if-mismatch <"$file" >>"$log" 2>&1
        off="$file $off"
    done
}

# configure SRC: allnoconfig, the variant's fragments, and the release's name. The name is not set with
# CONFIG_LOCALVERSION: that is seen by every file, and ccache would find none.
configure() {
    local src
    src=$1
    kmake "$src" -s allnoconfig &&
        (cd "$src" && sh scripts/kconfig/merge_config.sh -m -O build build/.config $(fragments "$variant")) &&
        printf -- '-vttm-%s-%.8s\n' "$variant" "$key" >"$src/build/localversion-vttm" &&
        kmake "$src" -s olddefconfig
}

# check_config CONFIG: each line of the fragments has to have taken effect: Kconfig drops silently what
# depends on something that is off. A user's tree may know other symbols, so there it is a warning.
check_config() {
    local lost
    # The last fragment that mentions a symbol wins.
    lost=$(cat $(fragments "$variant") | awk -v config="$1" '
        /^CONFIG_/ { name = $0; sub(/=.*/, "", name); want[name] = $0 }
        /^# CONFIG_[A-Za-z0-9_]+ is not set/ { want[$2] = "n" }
        END {
            while ((getline line < config) > 0)
                if (line ~ /^CONFIG_/) { name = line; sub(/=.*/, "", name); have[name] = line }
            for (name in want)
                if (want[name] == "n" ? name in have : have[name] != want[name]) print name
        }' | sort | tr '\n' ' ')
    [ -n "$lost" ] || return 0
    printf 'settings without effect: %s\n' "$lost" >>"$log"
    [ -n "$source" ] || vttm_die "$VTTM_EXIT_BUILD" "kernel settings did not take effect: $lost" "$log" \
        "look at what they depend on, and add that to images/kernel/config"
    vttm_say "warning: your tree does not know, or switches off: $lost"
}

# collect DIR: the products, and of the two trees no more than external modules need.
collect() {
    local dir src build release depmod
    dir=$1 src=$1/linux build=$1/linux/build
    read -r release <"$build/include/config/kernel.release" &&
        printf '%s\n' "$release" >"$dir/release" &&
        cp "$build/arch/x86/boot/bzImage" "$build/System.map" "$dir/" &&
        cp "$build/.config" "$dir/config" || return
    depmod=$(command -v depmod || echo /sbin/depmod)
    kmake "$src" -s INSTALL_MOD_PATH="$dir/modules" DEPMOD="$depmod" modules_install &&
        rm -f "$dir/modules/lib/modules/$release/build" "$dir/modules/lib/modules/$release/source" &&
        # Make the programs that external modules and the initramfs use while their sources are there.
        [ -x "$build/scripts/mod/modpost" ] && kmake "$src" -s usr/gen_init_cpio &&
        prune "$src" && relocatable "$build" && [ -f "$build/Module.symvers" ]
}

# relocatable BUILD: the entry is renamed into place, so its build folder must not know its own name.
relocatable() {
    ln -sfn .. "$1/source" && cat >"$1/Makefile" <<'EOF'
# Finds the source by its place beside this folder: both may be moved together.
here := $(patsubst %/,%,$(dir $(realpath $(lastword $(MAKEFILE_LIST)))))
export KBUILD_OUTPUT := $(here)
include $(here)/../Makefile
EOF
}

# prune SRC: keeps what external modules and the initramfs need: headers, makefiles, programs of the build.
prune() {
    find "$1/build" -type f \( -name '*.o' -o -name '*.a' -o -name '*.ko' -o -name '.*.cmd' -o -name '*.mod*.c' \
        -o -name 'vmlinux*' -o -name '.tmp_*' -o -name 'bzImage' \) \
        ! -path '*/scripts/*' ! -path '*/tools/*' -delete &&
        find "$1" -mindepth 1 -maxdepth 1 -type d ! -name arch ! -name build ! -name include ! -name scripts \
            -exec rm -rf {} + &&
        find "$1/arch" -mindepth 1 -maxdepth 1 -type d ! -name x86 -exec rm -rf {} + &&
        find "$1/arch" -type f ! -name 'Makefile*' ! -name 'Kconfig*' ! -name 'Kbuild*' ! -name '*.h' ! -name '*.lds' \
            ! -name '*.sh' -delete &&
        find "$1" -depth -type d -empty -delete
}

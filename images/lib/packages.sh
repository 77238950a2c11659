# SPDX-License-Identifier: Apache-2.0
# Debian packages and the accounts that libvirt needs: what is missing, and installing it with one call of apt.
# VTTM_PACKAGES names another list (tests).

# packages_wanted: prints the names of images/lib/packages.txt.
packages_wanted() {
    sed 's/#.*//; s/[[:space:]]//g; /^$/d' "${VTTM_PACKAGES:-$VTTM_ROOT/images/lib/packages.txt}"
}

# packages_missing: prints the wanted packages that are not installed, one a line. dpkg is asked once.
packages_missing() {
    local wanted
    wanted=$(packages_wanted)
    # A package that dpkg never heard of is an error message of dpkg-query, not a line of output.
    {
        dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^installed //p'
        printf '%s\n' "$wanted" | sed 's/$/ wanted/'
    } | awk '$2 == "wanted" { if (!($1 in have)) print $1; next } { have[$1] = 1 }'
}

# packages_stamp: prints a hash that changes when dpkg's database, our list, or an account does.
packages_stamp() {
    stat -Lc '%n %s %Y' /var/lib/dpkg/status /etc/passwd /etc/group /var/log/libvirt \
        "${VTTM_PACKAGES:-$VTTM_ROOT/images/lib/packages.txt}" 2>/dev/null | vttm_hash
}

# accounts_missing: prints what libvirt's QEMU driver refuses to start without (also in embed mode) and
# what only libvirt-daemon-system would create: that package brings a system service, so we do not want it.
accounts_missing() {
    local group
    for group in kvm libvirt-qemu; do
        getent group "$group" >/dev/null || printf 'group:%s\n' "$group"
    done
    getent passwd libvirt-qemu >/dev/null || printf 'user:libvirt-qemu\n'
    [ -d /var/log/libvirt/qemu ] || printf 'dir:/var/log/libvirt/qemu\n'
}

# packages_install yes|no: makes all of the above present; with "no" only says what is missing. Dies with 10, or
# with 11 when the mirror does not answer.
packages_install() {
    local missing accounts
    missing=$(packages_missing)
    accounts=$(accounts_missing)
    [ -n "$missing$accounts" ] || return 0
    if [ "$1" = no ]; then
        vttm_say "missing:" $missing $accounts
        vttm_die "$VTTM_EXIT_PACKAGE" "$(printf '%s\n' $missing $accounts | wc -l) packages or accounts are missing, and --no-install was given" "" \
            "run it without --no-install${missing:+, or: apt-get install --no-install-recommends $(echo $missing)}"
    fi
    _packages_become_root $missing $accounts
    [ -z "$missing" ] || _packages_apt $missing
    [ -z "$accounts" ] || _accounts_make $accounts
    missing=$(packages_missing)
    accounts=$(accounts_missing)
    [ -z "$missing$accounts" ] ||
        vttm_die "$VTTM_EXIT_PACKAGE" "still missing after the installation: $(echo $missing $accounts)" \
            "$VTTM_LOG_DIR/packages.log" "install them by hand and run it again"
}

# Sets as_root to what a root command is called with; dies when there is no way to be root. A password is
# asked for here, once, before the progress lines start.
_packages_become_root() {
    as_root=
    [ "$(id -u)" -ne 0 ] || return 0
    as_root='sudo -n'
    if command -v sudo >/dev/null; then
        sudo -n true 2>/dev/null && return 0
        if [ -z "${CI:-}" ] && [ -t 2 ] && sudo -p 'vttm: sudo password, to install packages: ' -v; then
            return 0
        fi
    fi
    vttm_die "$VTTM_EXIT_PACKAGE" "missing: $(echo "$@"); no right to install (not root, no sudo)" "" \
        "have an administrator install them: apt-get install --no-install-recommends $(packages_missing | tr '\n' ' ')"
}

_packages_apt() {
    local log
    log=$VTTM_LOG_DIR/packages.log
    mkdir -p "$VTTM_LOG_DIR"
    : >"$log"
    # Without package lists apt knows no package at all.
    [ -n "$(find /var/lib/apt/lists -name '*_Packages*' -print -quit 2>/dev/null)" ] || _packages_update "$log"
    vttm_say "installing $# Debian packages: $*"
    _packages_get "$log" "$@" && return 0
    # Old lists name versions that the mirror has dropped.
    _packages_update "$log"
    _packages_get "$log" "$@" && return 0
    _packages_network_error "$log"
    vttm_die "$VTTM_EXIT_PACKAGE" "apt cannot install: $*" "$log" "read apt's message there; apt-get -f install may help"
}

_packages_get() {
    local log
    log=$1
    shift
    vttm_step "install packages" "$log" $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
}

_packages_update() {
    vttm_step "update the package lists" "$1" $as_root apt-get -o APT::Update::Error-Mode=any update && return 0
    _packages_network_error "$1"
}

# _packages_network_error LOG: dies with 11 when the log shows that the mirror was out of reach.
_packages_network_error() {
    ! grep -qE 'Could not (resolve|connect)|Temporary failure|Unable to connect|Network is unreachable|Connection (failed|timed out|refused)|Failed to fetch' "$1" ||
        vttm_die "$VTTM_EXIT_NETWORK" "the Debian mirror cannot be reached" "$1" "check the network and apt's sources"
}

_accounts_make() {
    local item
    for item in "$@"; do
        case $item in
        group:*) $as_root groupadd --system "${item#*:}" ;;
        user:*)
            $as_root useradd --system --gid libvirt-qemu --groups kvm --home-dir /var/lib/libvirt \
                --no-create-home --shell /usr/sbin/nologin "${item#*:}"
            ;;
        dir:*) $as_root mkdir -p "${item#*:}" ;;
        esac || vttm_die "$VTTM_EXIT_PACKAGE" "cannot create $item, which libvirt needs" "" "create it as root"
        vttm_say "created $item (libvirt's QEMU driver does not start without it)"
    done
}

# SPDX-License-Identifier: Apache-2.0
# Downloads from the Debian mirror that this system is configured for, from any suite, without touching
# the system's apt configuration: a private apt root per suite under VTTM_CACHE_DIR/apt/.
#
# A file gets its name in downloads/ only after its sha256 was found right, and is checked again
# each time it is asked for. Mirrors are tried in order: VTTM_MIRRORS (base URIs, space-separated), then
# the system's own.

# A search goes on (next mirror, suite, version) only after status 11: the download failed, or was not what is pinned. A full
# disk (12), an interrupt (130, 143) and all else end it with their own status.

# fetch_deb SUITE PACKAGE VERSION SHA256: prints the path of the .deb. SHA256 may be a prefix of 8 or more
# hex digits (the full hash is then also checked against the suite's signed index).
fetch_deb() {
    local status
    status=0
    fetch_deb_try "$@" || status=$?
    fetch_may_go_on "$status" || return "$status"
    fetch_die "${2}_$(_fetch_quote "$3")_<arch>.deb" "$4"
}

# fetch_deb_try: as fetch_deb, but when it cannot be had it leaves the message to the caller (status 11).
fetch_deb_try() {
    local suite package version sha file uri status
    suite=$1 package=$2 version=$3 sha=$4
    for file in "$VTTM_CACHE_DIR/downloads/${package}_$(_fetch_quote "$version")"_*.deb; do
        [ -f "$file" ] || continue
        if _fetch_verify "$file" "$sha"; then
            cache_used "$file"
            printf '%s\n' "$file"
            return 0
        fi
    done
    cache_init
    for uri in $(fetch_mirrors); do
        status=0
        _fetch_index "$suite" "$uri" || status=$?
        if [ "$status" -ne 0 ]; then
            fetch_may_go_on "$status" || return "$status"
            continue
        fi
        # 'URI' NAME SIZE SHA256:HASH
        set -- $(_fetch_apt "$suite" apt-get -qq --print-uris download "$package=$version" 2>/dev/null)
        if [ $# -ne 4 ]; then
            vttm_say "the mirror has no $package $version in $suite"
            continue
        fi
        set -- "$(printf '%s' "$1" | tr -d "'")" "$2" "$3" "${4#SHA256:}"
        case $4 in
        "$sha"*) ;;
        *)
            vttm_say "the mirror's $package $version has sha256 $4, wanted $sha"
            continue
            ;;
        esac
        _cache_produce "$2" "$VTTM_CACHE_DIR/downloads/$2" /file _fetch_get "$suite" "$1" "$4" "$3" || status=$?
        fetch_may_go_on "$status" || return "$status"
    done
    return "$VTTM_EXIT_NETWORK"
}

# fetch_source_file SUITE SOURCEPACKAGE FILE SHA256 [SIZE]: prints the path of one file of a source package, or of a
# package made from it. It is taken straight from the archive's pool: the full hash is known, so no index is
# needed (and the index of sources lists files that the mirror does not have). SIZE is for the progress display only.
fetch_source_file() {
    local status
    status=0
    fetch_source_file_try "$@" || status=$?
    fetch_may_go_on "$status" || return "$status"
    fetch_die "$3" "$4"
}

# fetch_source_file_try: as fetch_source_file, but when it cannot be had it leaves the message to the caller (status 11).
fetch_source_file_try() {
    local suite source file sha size uri target folder status
    suite=$1 source=$2 file=$3 sha=$4 size=${5:-}
    target=$VTTM_CACHE_DIR/downloads/$file
    if [ -f "$target" ] && _fetch_verify "$target" "$sha"; then
        cache_used "$target"
        printf '%s\n' "$target"
        return 0
    fi
    cache_init
    case $source in
    lib?*) folder=$(printf '%.4s' "$source") ;;
    *) folder=$(printf '%.1s' "$source") ;;
    esac
    for uri in $(fetch_mirrors); do
        status=0
        _cache_produce "$file" "$target" /file _fetch_get "$suite" \
            "$uri/pool/main/$folder/$source/$file" "$sha" "$size" || status=$?
        fetch_may_go_on "$status" || return "$status"
    done
    return "$VTTM_EXIT_NETWORK"
}

# fetch_may_go_on STATUS: false when STATUS ends a search, be it well (0) or by something that the next place cannot mend.
fetch_may_go_on() {
    [ "$1" -eq "$VTTM_EXIT_NETWORK" ]
}

# fetch_mirrors: prints the base URIs of the Debian archive, in the order in which they are tried. Reads
# both formats of apt's sources; the security archive and third parties are left out, as they
# do not carry the other suites.
fetch_mirrors() {
    local codename
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
    {
        printf '%s\n' ${VTTM_MIRRORS:-}
        cat "${VTTM_APT_DIR:-/etc/apt}"/sources.list "${VTTM_APT_DIR:-/etc/apt}"/sources.list.d/*.list 2>/dev/null |
            sed -n 's/\[[^]]*\]//; s/^[[:space:]]*deb[[:space:]]\{1,\}//p' |
            awk -v c="$codename" '$2 == c && / main/ { print $1 }'
        awk -v c="$codename" '
            function flush(   i, j, n, m, part, uri) {
                n = split(suites, part, /[ \t]+/)
                m = split(uris, uri, /[ \t]+/)
                for (i = 1; i <= n; i++)
                    if (part[i] == c && types ~ /deb/ && components ~ /main/ && enabled !~ /no/)
                        for (j = 1; j <= m; j++)
                            if (uri[j] != "") print uri[j]
                suites = uris = types = components = enabled = ""
            }
            FNR == 1 { flush() }
            /^#/ { next }
            /^[ \t]*$/ { flush(); next }
            /^[^ \t]/ { key = tolower($1); sub(/^[^:]*:[ \t]*/, "") }
            key == "suites:" { suites = suites " " $0 }
            key == "uris:" { uris = uris " " $0 }
            key == "types:" { types = types " " $0 }
            key == "components:" { components = components " " $0 }
            key == "enabled:" { enabled = tolower($0) }
            END { flush() }
        ' "${VTTM_APT_DIR:-/etc/apt}"/sources.list.d/*.sources 2>/dev/null
    } | sed 's|/*$||' | grep -v '^cdrom' | awk 'NF && !seen[$0]++'
}

# _fetch_failed STATUS: returns what the failure of one of apt's programs means. They do not tell reasons apart (vttm_step
# has seen to a full disk); but an interrupt stays one.
_fetch_failed() {
    [ "$1" -lt 128 ] || return "$1"
    return "$VTTM_EXIT_NETWORK"
}

# _fetch_index SUITE URI: makes the private apt root and brings its index up to date, at most once a day.
_fetch_index() {
    local root stamp
    root=$VTTM_CACHE_DIR/apt/$1
    stamp=$root/updated
    _fetch_root "$1" "$2" ||
        vttm_die "$VTTM_EXIT_DISK" "cannot write apt's folder in the cache: disk full or not writable" "$root" \
            "free some space, or point VTTM_CACHE at another disk"
    [ -z "$(find "$stamp" -mmin -1440 2>/dev/null)" ] || [ "$(cat "$stamp")" != "$2" ] || return 0
    (
        command exec 8>>"$root/lock"
        flock 8
        [ -z "$(find "$stamp" -mmin -1440 2>/dev/null)" ] || [ "$(cat "$stamp")" != "$2" ] || exit 0
        vttm_step "index of Debian $1" "$VTTM_LOG_DIR/fetch.log" _fetch_apt "$1" apt-get update || _fetch_failed $? || exit $?
        printf '%s' "$2" >"$stamp"
    )
}

_fetch_root() {
    local root keyring
    root=$VTTM_CACHE_DIR/apt/$1
    mkdir -p "$root/lists/partial" "$root/cache/archives/partial" || return 1
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -f "$keyring" ] && keyring="[signed-by=$keyring] " || keyring=
    : >"$root/status" || return 1
    printf 'deb %s%s %s main\n' "$keyring" "$2" "$1" >"$root/sources.list.$$" &&
        mv "$root/sources.list.$$" "$root/sources.list"
}

# _fetch_apt SUITE PROGRAM ARGS: runs an apt program on the private root of SUITE.
_fetch_apt() {
    local root program
    root=$VTTM_CACHE_DIR/apt/$1
    program=$2
    shift 2
    "$program" -o Dir::Etc::sourcelist="$root/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o Dir::State::lists="$root/lists" -o Dir::State::status="$root/status" \
        -o Dir::Cache="$root/cache" -o Acquire::Languages=none -o APT::Sandbox::User= \
        -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 \
        -o APT::Update::Error-Mode=any "$@"
}

# _fetch_get DIR SUITE URI SHA256 SIZE: downloads into DIR/file and verifies it (SIZE may be ''). Uses apt's
# own downloader, so that the system's proxies and credentials hold.
_fetch_get() {
    local name log
    name=$(printf '%s' "${3##*/}" | sed 's/%7e/~/g; s/%2b/+/g; s/%3a/:/g')
    log=$VTTM_LOG_DIR/fetch.log
    VTTM_STEP_PATH=$1/file VTTM_STEP_BYTES=$5 \
        vttm_step "download $name" "$log" \
        _fetch_apt "$2" /usr/lib/apt/apt-helper download-file "$3" "$1/file" || _fetch_failed $? || return $?
    _fetch_verify "$1/file" "$4" || return "$VTTM_EXIT_NETWORK"
}

# _fetch_verify FILE SHA256: a file that is not what was pinned is moved out of the way and reported.
_fetch_verify() {
    local got
    case $2 in
    ????????*) ;;
    *) vttm_die "$VTTM_EXIT_USAGE" "sha256 '$2' of $1 is too short to pin anything" "" "give at least 8 digits" ;;
    esac
    got=$(sha256sum <"$1")
    case ${got%% *} in
    "$2"*) return 0 ;;
    esac
    vttm_say "$1: sha256 is ${got%% *}, wanted $2; removed"
    rm -f "$1"
    return 1
}

_fetch_quote() {
    printf '%s' "$1" | sed 's/:/%3a/g'
}

# fetch_die FILES SHA256: what the user can do about a download that failed everywhere.
fetch_die() {
    vttm_die "$VTTM_EXIT_NETWORK" "cannot download $1" "$VTTM_LOG_DIR/fetch.log" \
        "check the network and apt's sources; or put the file (sha256 $2) into $VTTM_CACHE_DIR/downloads/ yourself; or name another mirror in VTTM_MIRRORS"
}

# SPDX-License-Identifier: Apache-2.0
# The build cache: VTTM_CACHE_DIR/<kind>/<key>/ holds complete entries only. An entry is built in tmp/
# and renamed into place, under a lock per entry: two runs that want the same entry build it
# once. Whoever holds the lock may delete what an earlier, killed holder left.
#
# Who uses the cache as a whole shares the lock VTTM_CACHE_DIR/in-use (cache_hold); who deletes entries must have it alone
# (cache_own). The kernel drops a lock with the last process that has the descriptor: no killed run blocks the next.
# (`command exec`, for a redirection that fails would end a POSIX shell.)
# Descriptors: 5 a tree's build folder in use, 6 the cache in use, 7 a tree's set-up, 8 apt's folder, 9 an entry.

# cache_init: makes the cache's folders.
cache_init() {
    mkdir -p "$VTTM_CACHE_DIR/downloads" "$VTTM_CACHE_DIR/tmp" "$VTTM_CACHE_DIR/locks" 2>/dev/null && return 0
    if vttm_disk_full "$(_cache_existing_parent)"; then
        vttm_die "$VTTM_EXIT_DISK" "the disk is full" "$VTTM_CACHE_DIR" \
            "free some space, or point VTTM_CACHE at another disk"
    fi
    vttm_die "$VTTM_EXIT_DISK" "cannot create the cache folder" "$VTTM_CACHE_DIR" \
        "make it writable, or point VTTM_CACHE elsewhere"
}

# cache_lookup KIND KEY: prints the entry's folder, status 0, if it is complete; else status 1.
cache_lookup() {
    [ -d "$VTTM_CACHE_DIR/$1/$2" ] || return 1
    cache_used "$VTTM_CACHE_DIR/$1/$2"
    printf '%s\n' "$VTTM_CACHE_DIR/$1/$2"
}

# cache_build KIND KEY FUNC [ARGS]: prints the entry's folder; if it is not there, runs `FUNC DIR ARGS`,
# which fills the fresh folder DIR (its stdout goes to stderr), and publishes DIR as the entry.
# Fails with FUNC's status, then nothing of the entry remains; 12 when the disk was full.
cache_build() {
    local kind key
    kind=$1
    key=$2
    shift 2
    cache_lookup "$kind" "$key" && return 0
    _cache_produce "$kind-$key" "$VTTM_CACHE_DIR/$kind/$key" "" "$@"
}

# _cache_produce NAME FINAL PART FUNC [ARGS]: under the lock NAME runs `FUNC TMP ARGS`, renames TMP/PART to
# FINAL, prints FINAL. A subshell of its own: its traps, lock and temporary folder end with it.
_cache_produce() (
    name=$1 final=$2 part=$3
    shift 3
    cache_init
    work='' builder='' guard=''
    cache_hold
    _cache_lock "$name"
    trap '_cache_drop' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    if [ -e "$final" ]; then
        printf '%s\n' "$final"
        exit 0
    fi
    rm -rf "$VTTM_CACHE_DIR/tmp/$name".??????
    mkdir -p "$(dirname "$final")" || _cache_fail 1
    work=$(mktemp -d "$VTTM_CACHE_DIR/tmp/$name.XXXXXX") || _cache_fail 1
    func=$1
    shift

    # In the background, so that `wait` lets our traps run at once; the traps end it.
    ("$func" "$work" "$@") >&2 </dev/null &
    builder=$!
    vttm_self
    _cache_guard "$VTTM_SELF" "$builder" "$work" >/dev/null </dev/null 6>&- 9>&- &
    guard=$!
    status=0
    wait "$builder" || status=$?
    builder=
    [ "$status" -eq 0 ] || _cache_fail "$status"
    [ -n "$part" ] || chmod 755 "$work" # mktemp made it private
    mv -T "$work$part" "$final" || _cache_fail 1
    printf '%s\n' "$final"
)

# _cache_lock NAME: waits for the lock and holds it on fd 9 until the subshell ends. The lock's file is
# deleted by its holder, so after locking we check that what we locked still has the name.
_cache_lock() {
    local told
    told=
    lock=$VTTM_CACHE_DIR/locks/$1
    while :; do
        command exec 9>>"$lock" || vttm_die "$VTTM_EXIT_DISK" "cannot create a lock" "$lock" "make the cache writable"
        # One second at a time: a trap runs only between commands.
        while ! flock -w 1 9; do
            [ -n "$told" ] || vttm_say "waiting for another run that makes $1"
            told=1
        done
        _cache_lock_has_its_name 9 "$lock" && return 0
        exec 9>&-
    done
}

# _cache_drop: the EXIT trap of _cache_produce. No process, temporary folder or lock remains.
_cache_drop() {
    trap '' INT TERM HUP
    [ -z "$builder" ] || vttm_kill_tree "$builder"
    [ -z "$guard" ] || vttm_end "$guard"
    [ -z "$work" ] || rm -rf "$work"
    rm -f "$lock"
}

# _cache_guard OWNER BUILDER WORK: cleans up for an owner that was killed outright (SIGKILL) or whose main
# shell died: traps cannot.
_cache_guard() {
    trap '[ -z "${sleeper:-}" ] || kill "$sleeper" 2>/dev/null; exit 0' EXIT TERM
    while vttm_alive "$1" && vttm_alive "$$"; do
        sleep 0.5 &
        sleeper=$!
        wait "$sleeper" || :
    done
    ! vttm_alive "$1" || kill -TERM "$1" 2>/dev/null || :
    vttm_kill_tree "$2"
    rm -rf "$3"
}

# _cache_fail STATUS: ends _cache_produce; a full disk explains most other errors, so it is looked for first.
_cache_fail() {
    if [ "$1" -ne "$VTTM_EXIT_DISK" ] && vttm_disk_full "$VTTM_CACHE_DIR"; then
        vttm_die "$VTTM_EXIT_DISK" "the disk is full; making $name stopped" "$VTTM_CACHE_DIR" \
            "free some space, or point VTTM_CACHE at another disk; nothing half-made was kept"
    fi
    exit "$1"
}

# cache_hold: says that this process, and what it becomes with exec, uses the cache: nothing is deleted there meanwhile. Waits
# for one that deletes.
cache_hold() {
    local told
    told=
    while :; do
        command exec 6>>"$VTTM_CACHE_DIR/in-use" ||
            vttm_die "$VTTM_EXIT_DISK" "cannot create a lock" "$VTTM_CACHE_DIR/in-use" "make the cache writable"
        while ! flock -s -w 1 6; do
            [ -n "$told" ] || vttm_say "waiting for another vttm that cleans the cache"
            told=1
        done
        _cache_lock_has_its_name 6 "$VTTM_CACHE_DIR/in-use" && return 0
        cache_init # it was deleted as a whole
    done
}

# cache_own: makes this process the only one that uses the cache; dies when it is not.
cache_own() {
    vttm_own 6 "$VTTM_CACHE_DIR/in-use" "the cache $VTTM_CACHE_DIR"
}

# vttm_own FD LOCK WHAT: takes LOCK alone, on FD (5 or 6), or dies telling who uses WHAT.
vttm_own() {
    local users
    case $1 in
    5) command exec 5>>"$2" ;;
    6) command exec 6>>"$2" ;;
    esac || vttm_die "$VTTM_EXIT_DISK" "cannot create a lock" "$2" "make the folder writable"
    flock -n "$1" && return 0
    users=$(
        exec 5>&- 6>&-
        find /proc/[0-9]*/fd -lname "$2" 2>/dev/null | cut -d / -f 3 | sort -nu | grep -vx "$$" | tr '\n' ' '
    )
    vttm_die "$VTTM_EXIT_INFRA" "$3 is in use${users:+, by process ${users% }}; nothing was deleted" "$2" \
        "let the other vttm end, or interrupt it, and try again"
}

# _cache_lock_has_its_name FD FILE: false when FILE was deleted, maybe made anew, since it was opened as FD.
_cache_lock_has_its_name() {
    [ "$(stat -Lc %i "/proc/self/fd/$1")" = "$(stat -c %i "$2" 2>/dev/null)" ]
}

# cache_used ENTRY...: notes that they were needed today, for cache_prune. A cache that cannot be written serves all the same.
cache_used() {
    touch -c "$@" 2>/dev/null || :
}

# cache_sweep: deletes what killed builds left in tmp/ and locks/ (those whose lock nobody holds).
cache_sweep() {
    local dir name lock
    for lock in "$VTTM_CACHE_DIR"/locks/*; do
        [ ! -e "$lock" ] || flock -n "$lock" rm -f "$lock" || :
    done
    for dir in "$VTTM_CACHE_DIR"/tmp/*.??????; do
        [ -d "$dir" ] || continue
        name=${dir##*/}
        name=${name%.??????}
        [ -e "$VTTM_CACHE_DIR/locks/$name" ] || rm -rf "$dir"
    done
}

# cache_sweep_runs: deletes the disks of virtual machines whose run was killed with its reaper. That they are nobody's is sure
# only when nobody uses the cache: to be called before cache_hold. A file `kept` says that --keep wanted them (cache_clean
# deletes them all the same).
cache_sweep_runs() {
    local dir
    for dir in "$VTTM_CACHE_DIR"/tmp/vttm-run-??????; do
        [ -d "$dir" ] && [ ! -e "$dir/kept" ] || continue
        (
            command exec 6>>"$VTTM_CACHE_DIR/in-use" && flock -n 6 || exit 0
            # A CLI that was started without ./vttm has no lock, but its QEMU has the disk open.
            [ -n "$(find /proc/[0-9]*/fd -lname "$dir/*" -print -quit 2>/dev/null)" ] ||
                [ -n "$(find "$dir" -maxdepth 0 -mmin -5)" ] || rm -rf "$dir"
        )
    done
}

# cache_prune DAYS: deletes entries, downloads and saved logs that nobody needed for DAYS days, and prints their number. The
# caller has cache_own.
cache_prune() {
    local kind
    for kind in qemu kmod initramfs kvm vttm-logs apt; do
        _cache_old "$VTTM_CACHE_DIR/$kind" "$1"
    done
    for kind in "$VTTM_CACHE_DIR"/kernel-*; do
        _cache_old "$kind" "$1"
    done
    _cache_old "$VTTM_CACHE_DIR/downloads" "$1"
    _cache_old "$VTTM_CACHE_DIR/libvirt-capabilities" "$1"
}

# _cache_old FOLDER DAYS: deletes what is in FOLDER and older; prints the names. find counts whole days only from the second
# on, so in minutes.
_cache_old() {
    [ -d "$1" ] || return 0
    find "$1" -mindepth 1 -maxdepth 1 -mmin "+$(($2 * 1440))" -print -exec rm -rf {} +
}

# cache_clean: deletes all that vttm keeps in the cache, and nothing else that VTTM_CACHE may hold. The caller has cache_own.
cache_clean() {
    local name
    for name in qemu kmod initramfs kvm libvirt-capabilities vttm-logs downloads apt ccache tmp locks in-use; do
        rm -rf "${VTTM_CACHE_DIR:?}/$name"
    done
    rm -rf "${VTTM_CACHE_DIR:?}"/kernel-*
    rmdir "$VTTM_CACHE_DIR" 2>/dev/null || :
}

# vttm_disk_free_mib DIR: prints the MiB that a user may still write there.
vttm_disk_free_mib() {
    df -Pk "$1" | awk 'NR == 2 { print int($4 / 1024) }'
}

# vttm_disk_full DIR: true when next to nothing can be written there.
vttm_disk_full() {
    [ "$(vttm_disk_free_mib "$1")" -lt 1 ]
}

_cache_existing_parent() {
    local dir
    dir=$VTTM_CACHE_DIR
    while [ ! -d "$dir" ]; do dir=$(dirname "$dir"); done
    printf '%s\n' "$dir"
}

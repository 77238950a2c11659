# SPDX-License-Identifier: Apache-2.0
# Processes: who is alive, and how to end a whole family of them.

# vttm_alive PID: true while PID runs (a zombie does not).
vttm_alive() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    stat=${stat##*) }
    case $stat in
    [ZX]*) return 1 ;;
    esac
    return 0
}

# vttm_self: sets VTTM_SELF to the pid of the running shell; $$ stays the main shell's in a subshell.
vttm_self() {
    read -r VTTM_SELF _ </proc/self/stat
}

# _vttm_freeze PID: prints PID and all its descendants, and stops each process before it looks for its children: none can
# start another, nor tell of errors that are only the effect of the end of its children.
_vttm_freeze() {
    local child
    kill -STOP "$1" 2>/dev/null || :
    printf '%s ' "$1"
    for child in $(cat "/proc/$1/task/"*/children 2>/dev/null || ps -o pid= --ppid "$1" 2>/dev/null); do
        _vttm_freeze "$child"
    done
}

# vttm_kill_tree PID: ends PID and its descendants (SIGTERM, after 5 s SIGKILL) and waits for them.
# The caller must not be among them.
vttm_kill_tree() {
    local pids pid tries left
    pids=$(_vttm_freeze "$1")
    for pid in $pids; do kill -TERM "$pid" 2>/dev/null || :; done
    for pid in $pids; do kill -CONT "$pid" 2>/dev/null || :; done
    tries=0
    while :; do
        left=
        for pid in $pids; do
            ! vttm_alive "$pid" || left="$left $pid"
        done
        [ -n "$left" ] || return 0
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || break
        sleep 0.05
    done
    for pid in $left; do
        kill -KILL $(_vttm_freeze "$pid") 2>/dev/null || :
    done
}

# vttm_end PID: ends a helper process of this shell that traps SIGTERM, and collects it. One signal may not do: what
# arrives between the fork and the helper's own trap is lost.
vttm_end() {
    while vttm_alive "$1"; do
        kill -TERM "$1" 2>/dev/null || :
        sleep 0.01
    done
    wait "$1" 2>/dev/null || :
}

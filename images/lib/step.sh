# SPDX-License-Identifier: Apache-2.0
# A long command with progress: what, how far, how long.

# vttm_step LABEL LOGFILE CMD [ARGS]: runs CMD (a program or a shell function) with stdout and stderr
# appended to LOGFILE; returns its status (but dies with 12 when CMD met a full disk). On a terminal the progress is one line that moves, else a
# line each 10 s. When the calling shell dies, by whatever signal, CMD and its children are ended.
#
# How far is taken from the first of these that is known:
#   - VTTM_STEP_PATH and VTTM_STEP_BYTES set: size of that file against the bytes expected
#   - the last "[n/m]" in the log (ninja)
#   - VTTM_STEP_LINES set: lines in the log against the lines expected (kernel builds)
vttm_step() {
    local label log start pid monitor status offset
    label=$1
    log=$2
    shift 2
    { mkdir -p "$(dirname "$log")" && printf '== %s: %s\n' "$label" "$*" >>"$log"; } 2>/dev/null ||
        vttm_die "$VTTM_EXIT_DISK" "cannot write the log of '$label': disk full or not writable" "$log" \
            "free some space, or make the folder writable"
    offset=$(wc -c <"$log")
    vttm_now
    start=$VTTM_NOW
    vttm_self

    # 9 is the lock of an entry: CMD keeps it (a builder at work holds the lock), the monitor does not. The other locks are
    # this shell's alone (cache.sh lists them): what CMD may leave behind must not hold them.
    ("$@") >>"$log" 2>&1 </dev/null 5>&- 6>&- 7>&- 8>&- &
    pid=$!
    _vttm_monitor "$label" "$log" "$start" "$pid" "$VTTM_SELF" </dev/null 5>&- 6>&- 7>&- 8>&- 9>&- &
    monitor=$!
    # `wait` also returns when a trapped signal came; the trap then decides, we just go on waiting.
    while :; do
        status=0
        wait "$pid" || status=$?
        vttm_alive "$pid" || break
    done
    # A second wait on a collected pid gives 127 in dash; so the status above is the real one.
    vttm_end "$monitor"

    vttm_now
    [ ! -t 2 ] || printf '\r\033[K' >&2
    if [ "$status" -eq 0 ]; then
        vttm_say "$label: done in $(vttm_duration $((VTTM_NOW - start)))"
    else
        vttm_say "$label: failed (status $status) after $(vttm_duration $((VTTM_NOW - start))); last lines of $log:"
        tail -c +$((offset + 1)) "$log" | tail -n 12 | sed 's/^/    | /' >&2
        # A full disk shows as a hundred different errors; name the cause, not the symptom. Its message may
        # not have found room in the log either.
        if tail -c +$((offset + 1)) "$log" | tail -n 200 | grep -q 'No space left on device\|Disk quota exceeded' ||
            vttm_disk_full "$(dirname "$log")"; then
            vttm_die "$VTTM_EXIT_DISK" "the disk is full: '$label' stopped" "$log" \
                "free some space, or point VTTM_CACHE at another disk; nothing half-made is kept"
        fi
    fi
    return "$status"
}

# _vttm_monitor LABEL LOG START PID OWNER: shows progress while OWNER and the main shell live;
# ends PID's family when one of them is gone.
_vttm_monitor() {
    local label log start pid owner period elapsed sleeper next
    label=$1 log=$2 start=$3 pid=$4 owner=$5
    sleeper=
    # The sleep must not outlive us: it would keep the caller's stderr open.
    trap '[ -z "$sleeper" ] || kill "$sleeper" 2>/dev/null; exit 0' TERM
    period=10
    [ ! -t 2 ] || period=1
    next=$((start + period))
    while :; do
        sleep 1 &
        sleeper=$!
        wait "$sleeper" || :
        if ! vttm_alive "$owner" || ! vttm_alive "$$"; then
            vttm_kill_tree "$pid"
            exit 0
        fi
        vttm_now
        [ "$VTTM_NOW" -ge "$next" ] || continue
        next=$((VTTM_NOW + period))
        elapsed=$(vttm_duration $((VTTM_NOW - start)))
        if [ -t 2 ]; then
            printf '\r\033[K%.*s' "${COLUMNS:-100}" "vttm: $label $(_vttm_how_far "$log") $elapsed" >&2
        else
            vttm_say "$label $(_vttm_how_far "$log") $elapsed"
        fi
    done
}

# _vttm_how_far LOG: prints how far the step is, or what it does just now.
_vttm_how_far() {
    local have count last
    if [ -n "${VTTM_STEP_PATH:-}" ] && [ -n "${VTTM_STEP_BYTES:-}" ]; then
        have=$(stat -c %s "$VTTM_STEP_PATH" 2>/dev/null || echo 0)
        printf '%d/%d MiB (%d %%)' $((have >> 20)) $((VTTM_STEP_BYTES >> 20)) \
            $((have * 100 / (VTTM_STEP_BYTES + 1)))
        return
    fi
    count=$(tail -c 4096 "$1" 2>/dev/null | grep -o '^\[[0-9]*/[0-9]*\]' | tail -n 1)
    if [ -n "$count" ]; then
        printf '%s' "$count"
    elif [ -n "${VTTM_STEP_LINES:-}" ]; then
        have=$(wc -l <"$1")
        [ "$have" -le "$VTTM_STEP_LINES" ] || have=$VTTM_STEP_LINES
        printf '%d %%' $((have * 100 / VTTM_STEP_LINES))
    else
        last=$(tail -n 1 "$1" 2>/dev/null | tr -cd '[:print:]')
        case $last in
        '== '*) last= ;; # our own headline
        esac
        printf '%.60s' "$last"
    fi
}

# SPDX-License-Identifier: Apache-2.0
# Messages. Everything goes to stderr.

# vttm_say TEXT...: one line for the user.
vttm_say() {
    printf 'vttm: %s\n' "$*" >&2
}

# vttm_die CODE WHAT WHERE TODO: what happened, where to look (a log path, or ''), what to do; exits CODE.
vttm_die() {
    printf 'vttm: error: %s\n' "$2" >&2
    [ -z "${3:-}" ] || printf '      where: %s\n' "$3" >&2
    [ -z "${4:-}" ] || printf '      to do: %s\n' "$4" >&2
    exit "$1"
}

# vttm_duration SECONDS: prints 75 as "1:15".
vttm_duration() {
    printf '%d:%02d' $(($1 / 60)) $(($1 % 60))
}

# vttm_now: seconds since boot (a clock that cannot jump), without a fork.
# Sets VTTM_NOW, as a command substitution would cost a process.
vttm_now() {
    read -r VTTM_NOW _ </proc/uptime
    VTTM_NOW=${VTTM_NOW%.*}
}

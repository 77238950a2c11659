# SPDX-License-Identifier: Apache-2.0
# Exit codes of the whole tool. host-backend/report/exit_code.h has the same numbers; the unit test
# `setup` compares the two. Shell uses 2 and 10..16 and 130; the rest are verdicts of the CLI.
VTTM_EXIT_PASS=0
VTTM_EXIT_CONTENT=1        # bad pages, or the witnesses disagree
VTTM_EXIT_USAGE=2
VTTM_EXIT_PANIC=3          # panic, oops or splat in the guest
VTTM_EXIT_HANG=4           # no progress, heartbeats lost
VTTM_EXIT_TIMEOUT=5        # still progressing, but over its limit
VTTM_EXIT_INFRA=6          # QEMU or libvirt failed, image broken
VTTM_EXIT_INCONCLUSIVE=7   # the path under test did not run
VTTM_EXIT_LEAK=8           # balances not zero
VTTM_EXIT_UNMET=9          # right, but a figure is not what was demanded
VTTM_EXIT_PACKAGE=10       # a package is missing and cannot be installed
VTTM_EXIT_NETWORK=11       # no network, or a download failed
VTTM_EXIT_DISK=12          # too little disk, or the disk is full
VTTM_EXIT_PATCH=13         # a patch does not apply
VTTM_EXIT_BUILD=14
VTTM_EXIT_RAM=15           # too little RAM
VTTM_EXIT_BOOT=16          # the kernel never reached the agent
VTTM_EXIT_INTERRUPTED=130

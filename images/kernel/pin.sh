# SPDX-License-Identifier: Apache-2.0
# The kernel that the patch series is for. Sourced. A mirror keeps a version for weeks, not for ever:
# fetch_deb looks in the cache first, then on each mirror; the suites are tried in this order.
KERNEL_PACKAGE=linux-source-7.3
KERNEL_VERSION=7.3.4-1~bpo13+1
KERNEL_SHA256=703e369ddd4cce971452f5a593ee55df3a5c10c83caf0fa0df039633ed181ee3
KERNEL_SUITES='trixie-backports trixie-backports-sloppy'
KERNEL_TARBALL=./usr/src/linux-source-7.3.tar.xz

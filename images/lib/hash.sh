# SPDX-License-Identifier: Apache-2.0
# Keys. A key is the first 16 hex digits of a sha256 over all that the product depends on.

# vttm_hash: stdin -> 16 hex digits.
vttm_hash() {
    sha256sum | cut -c 1-16
}

# vttm_hash_files PATH...: hash of the contents and names of files; a directory stands for all files
# below it. Names are taken relative to VTTM_ROOT, so two clones give the same key. A missing path
# is an error (status 1).
vttm_hash_files() {
    local path
    for path in "$@"; do
        [ -e "$path" ] || { vttm_say "cannot hash $path: no such file"; return 1; }
    done
    find "$@" -type f -print0 | sort -zu | xargs -0r sha256sum -- | sed "s|  $VTTM_ROOT/|  |" | vttm_hash
}

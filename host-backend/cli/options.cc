// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/options.h"

namespace vttm::cli {

machine::MachineConfig machine_config(const CommonOptions& options, const Manifest& manifest) {
    machine::MachineConfig c;
    c.qemu = manifest.qemu;
    c.kernel = manifest.kernel;
    c.initramfs = manifest.initramfs;
    c.variant = manifest.variant;
    c.accel = options.accel.empty() ? manifest.accel : options.accel;
    c.connect_uri = options.connect_uri;
    c.logs_dir = options.logs_dir;
    c.keep = options.keep;
    c.cmdline_extra = options.cmdline;
    c.vcpus = options.vcpus;
    return c;
}

}  // namespace vttm::cli

// SPDX-License-Identifier: Apache-2.0
// What the command line says, the same for every verb.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "host-backend/cli/manifest.h"
#include "host-backend/machine/machine.h"

namespace vttm::cli {

struct CommonOptions {
    std::filesystem::path vm_json;
    std::string connect_uri;         // "": libvirt's embedded driver
    std::filesystem::path logs_dir;  // "": the machine's default
    std::string accel;               // "": what vm.json says
    std::string cmdline;             // appended to the guest kernel's command line
    unsigned vcpus = 1;              // CPUs of the guest
    bool keep = false;               // keep run directory and swap disk
    bool quiet = false;
    std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();

    // build/, seen from build/vm/vm.json.
    std::filesystem::path build_dir() const { return vm_json.parent_path().parent_path(); }
};

// The part of a machine's configuration that these options decide.
machine::MachineConfig machine_config(const CommonOptions& options, const Manifest& manifest);

}  // namespace vttm::cli

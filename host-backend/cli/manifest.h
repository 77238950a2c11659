// SPDX-License-Identifier: Apache-2.0
// vm.json: where the pieces of the virtual machine are. Written by ./vttm, read here.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>

namespace vttm::cli {

struct Manifest {
    std::filesystem::path qemu;
    std::filesystem::path kernel;
    std::filesystem::path initramfs;
    std::string kernel_release;
    std::string variant;
    std::string accel;  // "kvm" or "tcg"
};

// Of vm.json, not of what the user asked for: names the file, the key, and what to do.
class ManifestError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// Reads and checks vm.json: all keys there, all files readable. Throws ManifestError.
Manifest load_manifest(const std::filesystem::path& path);

}  // namespace vttm::cli

// SPDX-License-Identifier: Apache-2.0
// vm.json: where the pieces of the virtual machine are. Written by ./vttm, read here.
#pragma once

#include <filesystem>
#include <optional>
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

// Reads and checks vm.json: all keys there, all files readable. Throws std::runtime_error that names
// the file, the key, and what to do.
Manifest load_manifest(const std::filesystem::path& path);

// Only the variant; nullopt if the file does not say (load_manifest() tells why).
std::optional<std::string> variant_of(const std::filesystem::path& path);

}  // namespace vttm::cli

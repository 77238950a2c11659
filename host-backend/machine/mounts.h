// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

namespace vttm::machine {

// Takes away what is mounted below the directory, the latest first. What cannot be unmounted stays.
void unmount_below(const std::filesystem::path& directory);

}  // namespace vttm::machine

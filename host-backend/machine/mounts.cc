// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/mounts.h"

#include <sys/mount.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace vttm::machine {

void unmount_below(const std::filesystem::path& directory) {
    const std::string below = directory.string() + "/";
    std::ifstream mounts("/proc/self/mountinfo");
    std::vector<std::string> ours;
    for (std::string line, id, parent, device, root, at; std::getline(mounts, line);) {
        std::istringstream(line) >> id >> parent >> device >> root >> at;
        if (at.starts_with(below)) ours.push_back(at);
    }
    for (auto at = ours.rbegin(); at != ours.rend(); ++at) ::umount2(at->c_str(), MNT_DETACH);
}

}  // namespace vttm::machine

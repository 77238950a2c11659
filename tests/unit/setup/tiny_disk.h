// SPDX-License-Identifier: Apache-2.0
// A disk that is really full: a cache on a file system of 4 MiB.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "tests/unit/setup/shell.h"

namespace vttm::setup_test {

// In a mount namespace of its own, so no mount can be left behind. SCRIPT must hold no single quote.
inline Outcome on_tiny_disk(const Sandbox& box, const std::string& script) {
    return box.run(fmt::format(R"(
        mkdir -p "$VTTM_CACHE"
        unshare -m sh -euc 'mount -t tmpfs -o size=4m tmpfs "$VTTM_CACHE"
            . "$VTTM_ROOT/images/lib/common.sh"
            {}')", script));
}

class OnTinyDisk : public ::testing::Test {
   protected:
    void SetUp() override {
        if (geteuid() != 0) GTEST_SKIP() << "needs root, to mount a tiny tmpfs";
        if (Outcome o = on_tiny_disk(box, ":"); o.status != 0)
            GTEST_SKIP() << "no tmpfs can be mounted here: " << o.err;
    }
    Sandbox box;
};

}  // namespace vttm::setup_test

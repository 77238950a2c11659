// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "guest-driver/libvttm/agent/guarded_copy.h"

int main(int argc, char** argv) {
    ::testing::InitGoogleTest(&argc, argv);
    vttm::guest::install_bus_error_handler();
    return RUN_ALL_TESTS();
}

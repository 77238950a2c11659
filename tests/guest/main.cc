// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>

#include "guest-driver/libvttm/agent/guarded_copy.h"
#include "tests/guest/keep.h"
#include "tests/guest/litmus.h"

int main(int argc, char** argv) {
    // One half of a test that a program on the host runs (tests/unit/machine/litmus_test.cc).
    if (argc == 3 && std::strcmp(argv[1], "litmus") == 0) return vttm::litmus::run_guest(argv[2]);
    // What a self-test of the host plants (host-backend/cli/stages/self_test.cc).
    if (argc == 6 && std::strcmp(argv[1], "keep") == 0) return vttm::keep::run_guest({argv + 2, 4});
    ::testing::InitGoogleTest(&argc, argv);
    vttm::guest::install_bus_error_handler();
    return RUN_ALL_TESTS();
}

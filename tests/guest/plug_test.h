// SPDX-License-Identifier: Apache-2.0
// What the tests share in which the driver leaves the device, or the device the bus, and both come back.
#pragma once

#include <string>

#include "tests/guest/guest_test.h"

namespace vttm::guest::test {

class PlugTest : public GuestTest {
protected:
    void SetUp() override;

    void unbind() const;
    void bind();
    void remove() const;
    void rescan();

private:
    // One that works, and counts from 0 (earlier tests may have had their stale uses).
    void expect_new_device();

    std::string name_;
};

}  // namespace vttm::guest::test

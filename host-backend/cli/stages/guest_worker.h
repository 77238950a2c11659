// SPDX-License-Identifier: Apache-2.0
// A test of the guest (tests/guest) that works while the host acts. It says "at work" when the host may begin, and goes on
// until the host tells it to end.
#pragma once

#include <string>

#include "host-backend/machine/machine.h"
#include "host-backend/machine/variant.h"

namespace vttm::cli {

class GuestWorker {
public:
    // @test: of vttm-guest-tests, exactly one.
    GuestWorker(machine::Machine& machine, const machine::Variant& variant, std::string test);

    // Starts it and waits until it works. Why not.
    std::string start();
    // Whether it has said so by now.
    bool says(const std::string& words);
    // Tells it to end, and waits for it. Why it has not passed, in its own words; "": it has.
    std::string finish();

private:
    std::string shell(const std::string& script);
    template <typename Condition>
    bool wait_until(Condition&& condition);

    machine::Machine& machine_;
    const machine::Variant& variant_;
    const std::string test_;
};

}  // namespace vttm::cli

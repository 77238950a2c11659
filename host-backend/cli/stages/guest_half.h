// SPDX-License-Identifier: Apache-2.0
// A test of which the guest has one half, the host the other.
#pragma once

#include <functional>
#include <string>

#include "host-backend/cli/stages/stage.h"

namespace vttm::cli {

class GuestHalf {
public:
    GuestHalf(const StageContext& context, machine::Machine& machine)
        : context_(context), machine_(machine) {}

    // The GoogleTest @filter (one test) in the guest, and @host beside it, from when that says "at work". Then the
    // guest hears that the host is done. Why not; "": all is well.
    std::string run(const std::string& filter, const std::function<std::string()>& host);

    // The parts of it: false if the guest's test has not come to say so; what the guest waits for; its end.
    bool begin(const std::string& filter);
    void host_is_done();
    std::string end();

    // All that it said, after its end.
    const std::string& log() const { return log_; }
    // Whether it has said so by now; and waits until it has, or has ended.
    bool said(const std::string& words);
    bool wait_until_said(const std::string& words);

    bool wait_until(const std::function<bool()>& condition);
    // What the command printed.
    std::string shell(const std::string& script);

private:
    const StageContext& context_;
    machine::Machine& machine_;
    std::string log_;
};

}  // namespace vttm::cli

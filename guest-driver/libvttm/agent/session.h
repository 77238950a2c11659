// SPDX-License-Identifier: Apache-2.0
// Reads requests, runs them one at a time, answers each with one line.
#pragma once

#include <string>

#include "guest-driver/libvttm/agent/channel.h"
#include "guest-driver/libvttm/agent/context.h"

namespace vttm::guest {

class Session {
public:
    Session(Channel& channel, Context& context) : channel_(channel), context_(context) {}

    // Says "ready".
    void greet();
    // Serves until the peer has gone.
    void run();

private:
    void serve(const std::string& line);

    Channel& channel_;
    Context& context_;
};

}  // namespace vttm::guest

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace vttm::machine {

// A splat that a test in the guest provokes on purpose. It is excused only where that test stands in its trace: the
// same words from elsewhere are a fault.
struct ExpectedSplat {
    std::string line;    // regular expression, searched in the telling line without its prefix
    std::string within;  // a function of the trace, that of the test
};

}  // namespace vttm::machine

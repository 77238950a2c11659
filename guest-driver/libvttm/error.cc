// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/error.h"

namespace vttm::guest {

void throw_errno(const std::string& what) { throw Error(errno, what); }

}  // namespace vttm::guest

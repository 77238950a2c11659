// SPDX-License-Identifier: Apache-2.0
// Access to mapped buffers that survives SIGBUS.
#pragma once

#include <cstddef>

namespace vttm::guest {

// Handles SIGBUS from now on, for the whole process. Call once, before other threads start.
void install_bus_error_handler();

// memcpy() where either side may be a mapped buffer. False if the kernel could not bring a page
// (no memory, or its swapped-out content cannot be read): `dst` then holds part of the bytes.
bool guarded_copy(void* dst, const void* src, std::size_t bytes);

}  // namespace vttm::guest

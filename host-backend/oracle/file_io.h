// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace vttm::oracle {

// Internal to the oracle. All throw std::system_error on I/O errors.

// Size in bytes of a regular file or a block device.
std::uint64_t file_size(int fd);

// Reads @size bytes at @at; returns how many there were before the end of the file.
std::size_t read_at(int fd, void* to, std::size_t size, std::uint64_t at);

void write_at(int fd, const void* from, std::size_t size, std::uint64_t at);

}  // namespace vttm::oracle

// SPDX-License-Identifier: Apache-2.0
// Lines of text to and from the host, over a virtio-serial port or a socket.
#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>

#include "guest-driver/libvttm/fd.h"

namespace vttm::guest {

class Channel {
public:
    static constexpr std::size_t kMaxLine = 16u << 20;

    enum class EndOfFile {
        kEnds,       // the peer has gone for good (socket)
        kReconnects  // the host is not connected now (virtio-serial reads 0 then)
    };
    enum class Read { kLine, kTooLong, kClosed };

    Channel(Fd fd, EndOfFile end_of_file, std::size_t max_line = kMaxLine);

    // The next line without its end in `line`. kTooLong: a line over the limit was skipped whole.
    Read read_line(std::string* line);

    // Sends `line` (without an end) as one line; lines of several threads do not mix. False if
    // the peer has gone; a virtio-serial port without a host blocks until one connects.
    bool write_line(std::string_view line);

private:
    bool fill();
    void await_host();

    Fd fd_;
    EndOfFile end_of_file_;
    std::size_t max_line_;
    std::string pending_;
    std::size_t scanned_ = 0;  // bytes of pending_ known to hold no line end
    std::mutex writer_;
};

// Opens the virtio-serial port of that name, found through sysfs (there may be no udev). Waits up
// to `wait_ms` for it to appear. Throws Error with ENODEV.
Fd open_virtio_port(std::string_view name, int wait_ms);

}  // namespace vttm::guest

// SPDX-License-Identifier: Apache-2.0
// vttm-agent: runs the host's steps inside the guest (docs/agent-protocol.md).
#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>

#include "guest-driver/libvttm/agent/channel.h"
#include "guest-driver/libvttm/agent/context.h"
#include "guest-driver/libvttm/agent/drm_backend.h"
#include "guest-driver/libvttm/agent/guarded_copy.h"
#include "guest-driver/libvttm/agent/heartbeat.h"
#include "guest-driver/libvttm/agent/machine_actions.h"
#include "guest-driver/libvttm/agent/session.h"
#include "guest-driver/libvttm/error.h"

namespace {

using namespace vttm::guest;

constexpr std::string_view kPort = "org.vttm.agent";
constexpr int kPortWaitMs = 10'000;
constexpr std::chrono::milliseconds kHeartbeat{1000};
constexpr int kUsageError = 2;
constexpr std::size_t kThreadStack = 128 * 1024;
constexpr const char* kUsage =
    "usage: vttm-agent [--port NAME | --fd N | --socket PATH] [--hog PROGRAM]\n"
    "  --port NAME     virtio-serial port to serve (default org.vttm.agent)\n"
    "  --fd N          serve the open file descriptor N\n"
    "  --socket PATH   connect to a Unix socket and serve it\n"
    "  --hog PROGRAM   the memory hog (default: vttm-hog beside this program)\n";

struct Options {
    std::string port{kPort};
    std::optional<int> fd;
    std::string socket;
    std::string hog;
};

std::optional<Options> parse_options(int argc, char** argv) {
    Options options;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) {
            return std::nullopt;
        }
        const std::string_view name = argv[i];
        const std::string_view value = argv[i + 1];
        if (name == "--port") {
            options.port = value;
        } else if (name == "--socket") {
            options.socket = value;
        } else if (name == "--hog") {
            options.hog = value;
        } else if (name == "--fd") {
            int fd = -1;
            const auto [end, error] =
                std::from_chars(value.data(), value.data() + value.size(), fd);
            if (error != std::errc{} || end != value.data() + value.size() || fd < 0) {
                return std::nullopt;
            }
            options.fd = fd;
        } else {
            return std::nullopt;
        }
    }
    return options;
}

Fd connect_socket(const std::string& path) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
        throw Error(ENAMETOOLONG, path);
    }
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.valid() ||
        ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        throw_errno("connect to " + path);
    }
    return fd;
}

Fd open_channel(const Options& options) {
    if (options.fd) {
        // Children (exec, the hog) must not hold the host's line open.
        ::fcntl(*options.fd, F_SETFD, FD_CLOEXEC);
        return Fd(*options.fd);
    }
    if (!options.socket.empty()) {
        return connect_socket(options.socket);
    }
    return open_virtio_port(options.port, kPortWaitMs);
}

std::string default_hog() {
    std::error_code none;
    return std::filesystem::read_symlink("/proc/self/exe", none).parent_path() / "vttm-hog";
}

// The guest will be starved of memory on purpose: the agent must keep running.
void harden() {
    ::signal(SIGPIPE, SIG_IGN);
    install_bus_error_handler();
    const SystemFiles files;
    if (const int error = files.try_write("/proc/self/oom_score_adj", "-1000"); error != 0) {
        fmt::print(stderr, "vttm-agent: cannot set oom_score_adj: {}\n", std::strerror(error));
    }
    if (::mlockall(MCL_CURRENT) != 0) {
        fmt::print(stderr, "vttm-agent: cannot lock memory: {}\n", std::strerror(errno));
    }
}

// Locking memory would else make the whole default stack (8 MiB) of the heartbeat's thread
// resident.
void use_small_thread_stacks() {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kThreadStack);
    pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
}

int serve(const Options& options) {
    const bool is_port = !options.fd && options.socket.empty();
    Channel channel(open_channel(options),
                    is_port ? Channel::EndOfFile::kReconnects : Channel::EndOfFile::kEnds);
    Context context(
        SystemFiles(), [] { return std::make_unique<DrmBackend>(); },
        options.hog.empty() ? default_hog() : options.hog, real_machine_actions());
    Session session(channel, context);
    use_small_thread_stacks();
    session.greet();
    const Heartbeat heartbeat(channel, kHeartbeat);
    harden();  // with the heartbeat's stack there to be locked
    session.run();
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const auto options = parse_options(argc, argv);
    if (!options) {
        fmt::print(stderr, "{}", kUsage);
        return kUsageError;
    }
    try {
        return serve(*options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "vttm-agent: {}\n", error.what());
        return 1;
    }
}

// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/libvirt.h"

#include <fmt/format.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <signal.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <fstream>

#include "host-backend/machine/errors.h"
#include "host-backend/machine/interrupt.h"
#include "host-backend/machine/workspace.h"

namespace vttm::machine {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

// Threads that libvirt makes meanwhile get none of our signals: they belong to the main thread,
// whose waits they shall end.
class BlockSignals {
public:
    BlockSignals() {
        sigset_t set;
        sigemptyset(&set);
        for (const int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, number);
        ::pthread_sigmask(SIG_BLOCK, &set, &before_);
    }
    ~BlockSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    BlockSignals(const BlockSignals&) = delete;
    BlockSignals& operator=(const BlockSignals&) = delete;

private:
    sigset_t before_;
};

struct FreeDeleter {
    void operator()(char* text) const { std::free(text); }
};
using CText = std::unique_ptr<char, FreeDeleter>;

DomainPtr own(virDomainPtr domain) {
    return {domain, [](virDomainPtr d) {
                if (d != nullptr) virDomainFree(d);
            }};
}

fs::path capability_store() { return cache_root() / "libvirt-capabilities"; }
fs::path capabilities_of(const fs::path& root) { return root / "cache" / "qemu" / "capabilities"; }

// Files appear whole: several runs share the store.
void copy_files(const fs::path& from, const fs::path& to) {
    std::error_code error;
    fs::create_directories(to, error);
    for (const fs::directory_entry& entry : fs::directory_iterator(from, error)) {
        if (entry.path().extension() != ".xml") continue;
        const fs::path target = to / entry.path().filename();
        const fs::path part = target.string() + fmt::format(".{}", ::getpid());
        std::error_code failed;
        fs::copy_file(entry.path(), part, fs::copy_options::overwrite_existing, failed);
        if (!failed) fs::rename(part, target, failed);
        if (failed) fs::remove(part, failed);
    }
}

// libvirt deletes its copy of the pointer when it has dropped the callback for good.
void* share(const std::shared_ptr<DomainState>& state) {
    return std::make_unique<std::shared_ptr<DomainState>>(state).release();
}
void unshare(void* opaque) {
    std::unique_ptr<std::shared_ptr<DomainState>>(
        static_cast<std::shared_ptr<DomainState>*>(opaque));
}
DomainState& shared(void* opaque) { return **static_cast<std::shared_ptr<DomainState>*>(opaque); }

int on_lifecycle(virConnectPtr, virDomainPtr domain, int event, int detail, void* opaque) {
    DomainState& state = shared(opaque);
    if (state.name != virDomainGetName(domain)) return 0;
    const std::lock_guard lock(state.mutex);
    if (event == VIR_DOMAIN_EVENT_STOPPED || event == VIR_DOMAIN_EVENT_CRASHED)
        state.stopped =
            event == VIR_DOMAIN_EVENT_CRASHED ? VIR_DOMAIN_EVENT_STOPPED_CRASHED : detail;
    if (event == VIR_DOMAIN_EVENT_SUSPENDED) state.suspended = true;
    if (event == VIR_DOMAIN_EVENT_RESUMED) state.suspended = false;
    return 0;
}

void on_io_error(virConnectPtr, virDomainPtr domain, const char*, const char*, int,
                 const char* reason, void* opaque) {
    DomainState& state = shared(opaque);
    if (state.name != virDomainGetName(domain)) return;
    const std::lock_guard lock(state.mutex);
    state.io_error = reason != nullptr && *reason != '\0' ? reason : "other";
}

}  // namespace

std::string libvirt_error() {
    const virErrorPtr error = virGetLastError();
    return error != nullptr && error->message != nullptr ? error->message : "unknown error";
}

HostSession& HostSession::get() {
    static HostSession session;
    return session;
}

HostSession::HostSession() = default;

HostSession::~HostSession() {
    connections_.clear();
    if (loop_.joinable()) {
        stop_ = true;
        virEventUpdateTimeout(timer_, 0);
        loop_.join();
    }
    if (!dir_.empty()) {
        std::error_code ignored;
        fs::remove_all(dir_, ignored);
    }
}

void HostSession::start_event_loop() {
    if (loop_.joinable()) return;
    // libvirt's own log goes to a file, never between our lines (a user's choice counts).
    ::setenv("LIBVIRT_LOG_OUTPUTS", ("3:file:" + (dir() / "libvirt.log").string()).c_str(), 0);
    // Errors reach us as return values; libvirt shall not print them too.
    virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
    if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0)
        throw InfraError({"libvirt cannot be initialised: " + libvirt_error(), {}, {}, {}});
    timer_ = virEventAddTimeout(
        -1, [](int, void*) {}, nullptr, nullptr);
    loop_ = std::thread([this] {
        while (!stop_)
            if (virEventRunDefaultImpl() < 0) return;
    });
}

const fs::path& HostSession::dir() {
    if (dir_.empty()) {
        dir_ = make_fresh_directory(runtime_root());
        reaper_.remove_at_end(dir_);
    }
    return dir_;
}

fs::path HostSession::make_embedded_root() {
    const fs::path root = dir() / "libvirt";
    std::error_code error;
    fs::create_directories(root / "etc", error);
    std::ofstream conf(root / "etc" / "qemu.conf");
    // No virtlogd, no cgroups, no namespaces, no security labels: this driver is ours alone.
    if (::geteuid() == 0) conf << "user = \"root\"\ngroup = \"root\"\n";
    conf << "security_driver = \"none\"\n"
            "stdio_handler = \"file\"\n"
            "cgroup_controllers = []\n"
            "namespaces = []\n"
            "remember_owner = 0\n"
            "dynamic_ownership = 0\n"
            "max_core = 0\n";
    conf.close();
    if (error || !conf)
        throw InfraError({"cannot write libvirt's configuration", root, "is the disk full?", {}});
    copy_files(capability_store(), capabilities_of(root));
    return root;
}

void HostSession::keep_capabilities() const {
    if (!dir_.empty()) copy_files(capabilities_of(dir_ / "libvirt"), capability_store());
}

// Each QEMU of the built-in driver has a socket there.
void HostSession::kill_at_end(const fs::path& emulator) {
    reaper_.kill_at_end(emulator, dir().string() + "/");
}

ConnectPtr HostSession::connect(const std::string& uri) {
    if (const auto it = connections_.find(uri); it != connections_.end()) {
        if (virConnectIsAlive(it->second.get()) == 1) return it->second;
        connections_.erase(it);  // the daemon went away, and may be there again
    }
    const BlockSignals blocked;
    start_event_loop();
    const std::string real =
        uri.empty() ? "qemu:///embed?root=" + make_embedded_root().string() : uri;
    virConnectPtr raw = virConnectOpen(real.c_str());
    if (raw == nullptr) {
        throw InfraError(
            {fmt::format("libvirt cannot open {}: {}", real, libvirt_error()),
             fs::path(),
             uri.empty()
                 ? "./vttm doctor tells what is missing (users and groups of libvirt-daemon)"
                 : "is libvirtd running, and may this user speak to it?",
             {}});
    }
    ConnectPtr connection(raw, [](virConnectPtr c) { virConnectClose(c); });
    // A daemon that hangs breaks the connection, so that calls fail instead of waiting for ever.
    if (!uri.empty()) virConnectSetKeepAlive(raw, 5, 4);
    connections_.emplace(uri, connection);
    return connection;
}

fs::path HostSession::qemu_log(const std::string& uri, const std::string& name) const {
    const std::string file = name + ".log";
    if (uri.empty()) return dir_ / "libvirt" / "log" / "qemu" / file;
    if (!qemu_is_foreign(uri)) {
        const char* cache = std::getenv("XDG_CACHE_HOME");
        const char* home = std::getenv("HOME");
        const fs::path base =
            cache != nullptr ? fs::path(cache) : fs::path(home ? home : "/") / ".cache";
        return base / "libvirt" / "qemu" / "log" / file;
    }
    return fs::path("/var/log/libvirt/qemu") / file;
}

Domain::Domain(ConnectPtr connection, bool embedded, const std::string& name,
               const std::string& xml)
    : connection_(std::move(connection)), state_(std::make_shared<DomainState>()) {
    state_->name = name;
    // Subscribed before it runs: a guest that dies at once is seen.
    const auto subscribe = [&](int event, virConnectDomainEventGenericCallback callback) {
        void* opaque = share(state_);
        const int id = virConnectDomainEventRegisterAny(connection_.get(), nullptr, event, callback,
                                                        opaque, unshare);
        if (id < 0) {
            unshare(opaque);
            throw InfraError({"libvirt gives no events: " + libvirt_error(), {}, {}, {}});
        }
        return id;
    };
    lifecycle_ = subscribe(VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle));
    try {
        io_error_ =
            subscribe(VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, VIR_DOMAIN_EVENT_CALLBACK(on_io_error));
    } catch (const InfraError&) {
        virConnectDomainEventDeregisterAny(connection_.get(), lifecycle_);
        throw;
    }
    virDomainPtr raw = nullptr;
    {
        const BlockSignals blocked;
        // A daemon ends the domain when our connection breaks; the embedded driver knows no such
        // thing, there the reaper does it.
        raw = virDomainCreateXML(connection_.get(), xml.c_str(),
                                 embedded ? 0 : VIR_DOMAIN_START_AUTODESTROY);
    }
    if (raw == nullptr) {
        const std::string why = libvirt_error();
        virConnectDomainEventDeregisterAny(connection_.get(), lifecycle_);
        virConnectDomainEventDeregisterAny(connection_.get(), io_error_);
        throw InfraError({"the virtual machine does not start: " + why, {}, {}, {}});
    }
    domain_ = own(raw);
}

Domain::~Domain() {
    virConnectDomainEventDeregisterAny(connection_.get(), lifecycle_);
    virConnectDomainEventDeregisterAny(connection_.get(), io_error_);
}

// If QEMU never answers, the call ends when QEMU is killed.
std::optional<Domain::Answer> Domain::in_thread(std::function<Answer()> work, Millis limit,
                                                bool interruptible) {
    struct Wait {
        std::mutex mutex;
        std::condition_variable came;
        std::optional<Answer> answer;
    };
    auto wait = std::make_shared<Wait>();
    {
        const BlockSignals blocked;
        std::thread([wait, work = std::move(work)] {
            Answer answer = work();
            const std::lock_guard lock(wait->mutex);
            wait->answer = std::move(answer);
            wait->came.notify_all();
        }).detach();
    }
    const auto deadline = std::chrono::steady_clock::now() + limit;
    std::unique_lock lock(wait->mutex);
    while (!wait->answer && std::chrono::steady_clock::now() < deadline) {
        wait->came.wait_for(lock, Millis(100));
        if (interruptible) throw_if_interrupted();
    }
    return std::move(wait->answer);
}

std::optional<Domain::Answer> Domain::ask(Call call, Millis limit, bool interruptible) const {
    if (virDomainRef(domain_.get()) < 0) return Answer{false, libvirt_error()};
    return in_thread([call = std::move(call), domain = own(domain_.get())] {
        return call(domain.get());
    }, limit, interruptible);
}

std::string Domain::need(std::optional<Answer> answer, const std::string& name,
                         const std::string& failed, Millis limit) {
    if (!answer) throw MonitorSilent{name, limit};
    if (!answer->good) throw InfraError({failed + ": " + answer->text, {}, {}, {}});
    return std::move(answer->text);
}

std::string Domain::demand(const std::string& name, const std::string& failed, Call call,
                           Millis limit) const {
    return need(ask(std::move(call), limit, true), name, failed, limit);
}

Domain::Call Domain::monitor(std::string command, unsigned flags) {
    return [command = std::move(command), flags](virDomainPtr domain) -> Answer {
        char* raw = nullptr;
        if (virDomainQemuMonitorCommand(domain, command.c_str(), &raw, flags) < 0)
            return {false, libvirt_error()};
        const CText text(raw);
        return {true, text ? text.get() : ""};
    };
}

json Domain::qmp(const json& command, Millis limit) {
    const std::string text = demand(command.value("execute", "a command"), "QEMU's monitor",
                                    monitor(command.dump(), 0), limit);
    json answer = json::parse(text, nullptr, false);
    if (!answer.is_object()) throw InfraError({"QEMU's monitor gave no JSON", {}, {}, {}});
    return answer;
}

std::string Domain::hmp(const std::string& command, Millis limit) {
    return demand(command, "QEMU's monitor", monitor(command, VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP),
                  limit);
}

std::optional<std::string> Domain::hmp_within(const std::string& command, Millis limit) {
    auto answer = ask(monitor(command, VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP), limit, false);
    if (!answer) return std::nullopt;
    return answer->good ? answer->text : "(" + answer->text + ")";
}

void Domain::suspend(Millis limit) {
    demand(
        "suspend", "the guest cannot be paused",
        [](virDomainPtr d) {
            return virDomainSuspend(d) < 0 ? Answer{false, libvirt_error()} : Answer{true, {}};
        },
        limit);
}

void Domain::resume(Millis limit) {
    demand(
        "resume", "the guest cannot be continued",
        [](virDomainPtr d) {
            return virDomainResume(d) < 0 ? Answer{false, libvirt_error()} : Answer{true, {}};
        },
        limit);
}

void Domain::save(const fs::path& file, Millis limit) {
    demand(
        "save", "the guest cannot be saved",
        [file](virDomainPtr d) {
            return virDomainSave(d, file.c_str()) < 0 ? Answer{false, libvirt_error()}
                                                      : Answer{true, {}};
        },
        limit);
    // libvirt tells of the end of this QEMU, which must not be taken for that of the next one.
    const auto told = [this] {
        const std::lock_guard lock(state_->mutex);
        return state_->stopped.has_value();
    };
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!told()) {
        if (std::chrono::steady_clock::now() >= deadline) throw MonitorSilent{"save", limit};
        std::this_thread::sleep_for(Millis(10));
        throw_if_interrupted();
    }
}

void Domain::restore(const fs::path& file, Millis limit) {
    {
        const std::lock_guard lock(state_->mutex);
        state_->stopped.reset();
        state_->suspended = false;
    }
    auto restored = std::make_shared<DomainPtr>();
    need(in_thread(
             [connection = connection_, file, name = state_->name, restored] {
                 if (virDomainRestoreFlags(connection.get(), file.c_str(), nullptr, VIR_DOMAIN_SAVE_RUNNING) == 0)
                     *restored = own(virDomainLookupByName(connection.get(), name.c_str()));
                 return *restored ? Answer{true, {}} : Answer{false, libvirt_error()};
             },
             limit, true),
         "restore", "the saved guest does not start", limit);
    domain_ = *restored;
}

bool Domain::destroy() {
    const BlockSignals blocked;
    return virDomainDestroy(domain_.get()) == 0;
}

}  // namespace vttm::machine

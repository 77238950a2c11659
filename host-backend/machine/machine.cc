// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/machine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <exception>
#include <fstream>
#include <random>
#include <thread>

#include "host-backend/machine/interrupt.h"
#include "host-backend/machine/machine_impl.h"
#include "host-backend/machine/process.h"
#include "host-backend/machine/variant.h"

namespace vttm::machine {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::chrono::minutes kMigrationLimit{5};
constexpr std::uint64_t kKeptWitness = 256 * kMiB;  // a larger witness log is not saved
constexpr const char* kDevicePath = "/machine/peripheral/vttm0";

// Unique on this host, also among machines of other processes and users: the reaper finds QEMU by
// it.
std::string fresh_name() {
    static std::atomic<unsigned> count{0};
    return fmt::format("vttm-{}-{}-{:08x}", ::getpid(), ++count, std::random_device{}());
}

// QEMU's words on a file that is no kernel (hw/i386/x86-common.c, hw/core/loader.c).
bool refuses_kernel(const std::string& words) {
    for (const char* phrase :
         {"could not load kernel", "linux kernel too old", "invalid kernel header",
          "failed to load kernel", "Error loading uncompressed kernel"})
        if (words.find(phrase) != std::string::npos) return true;
    return false;
}

MachineConfig with_defaults(MachineConfig config) {
    const Variant& variant = variant_named(config.variant);
    if (config.boot_timeout.count() == 0)
        config.boot_timeout = variant.scaled(std::chrono::seconds(config.accel == "kvm" ? 60 : 120));
    if (config.liveness.count() == 0) config.liveness = variant.scaled(std::chrono::seconds(30));
    if (config.migration_limit.count() == 0)
        config.migration_limit = variant.scaled(kMigrationLimit);
    return config;
}

}  // namespace

std::string kernel_command_line(const MachineConfig& config) {
    // panic=-1: reboot at once, which ends the machine. oops=panic: nothing that has oopsed shall
    // swap on. init_on_free=1: a freed page keeps no stamp, so each stamp in RAM is a live copy.
    // rootfstype=ramfs: the initramfs itself cannot be swapped out, so swap and shmem hold buffers
    // only. unknown_nmi_panic, panic_sys_info: an NMI from us makes a hung kernel print where it
    // and each blocked task hang. no_timer_check: on a loaded host the kernel's test of the timer
    // fails now and then under TCG.
    std::string line =
        "console=ttyS0 loglevel=5 panic=-1 oops=panic init_on_free=1 rootfstype=ramfs "
        "unknown_nmi_panic panic_sys_info=blocked_tasks no_timer_check "
        "vttm.mode=agent";
    if (const auto words = variant_named(config.variant).cmdline; !words.empty())
        line.append(" ").append(words);
    // Strict: what the driver unmaps is unmapped at once, so a late access is found out.
    if (config.iommu) line += " intel_iommu=on iommu.strict=1";
    if (config.swap_mib == 0) line += " vttm.swap=none";
    if (!config.cmdline_extra.empty()) line += " " + config.cmdline_extra;
    return line;
}

Machine::Impl::Impl(MachineConfig c)
    : config(with_defaults(std::move(c))),
      name(fresh_name()),
      host(HostSession::get()),
      workspace(config, host.reaper()) {
    console.emplace(console_log(), config.expected_splats);
}

Machine::Impl::~Impl() {
    try {
        stop(Millis{0});
    } catch (const std::exception&) {  // the reaper still has its list
    }
}

DomainSpec Machine::Impl::spec() const {
    DomainSpec s;
    s.name = name;
    s.emulator = emulator;
    s.kernel = workspace.reachable(config.kernel);
    s.initramfs = workspace.reachable(config.initramfs);
    s.cmdline = kernel_command_line(config);
    s.kvm = config.accel == "kvm";
    s.ram_mib = config.ram_mib;
    s.low_ram_mib = config.low_ram_mib;
    s.iommu = config.iommu;
    s.root_port = config.root_port;
    // Linux 7.3.4's pciehp takes reset_lock and pci_rescan_remove_lock in both orders: lockdep reports that at the first
    // unplug, and then looks no more.
    s.native_hotplug = !variant_named(config.variant).lockdep;
    s.vcpus = config.vcpus;
    s.console_log = console_log();
    s.agent_socket = agent_socket();
    if (config.swap_mib != 0) s.swap_disk = swap_disk();
    if (config.device) {
        s.vram_file = workspace.vram_file();
        s.vram_mib = config.vram_mib;
        s.vram_visible_mib = config.vram_visible_mib;
        s.witness_log = witness_log();
        if (config.trace) s.trace_log = trace_log();
    }
    return s;
}

void Machine::Impl::start() {
    if (domain_ || stopped_) throw std::logic_error("a Machine starts once");
    try {
        preflight(config);
        throw_if_interrupted();
        create_domain();
        map_memory();
        connect_agent();
        boot();
    } catch (const Error&) {
        stop(Millis{0});
        throw;
    } catch (const std::system_error& e) {
        Problem problem = keep_evidence({e.what(), {}, {}, {}});
        stop(Millis{0});
        throw InfraError(std::move(problem));
    }
}

void Machine::Impl::create_domain() {
    emulator = workspace.reachable(config.qemu);
    // The model's library is found beside the binary.
    if (const fs::path model = config.qemu.parent_path() / "libvttm-model.so.1"; fs::exists(model))
        workspace.reachable(model);
    if (config.swap_mib != 0) workspace.make_file(swap_disk(), config.swap_mib * kMiB);
    if (config.device) workspace.make_file(workspace.vram_file(), config.vram_mib * kMiB);
    const std::string xml = domain_xml(spec());
    report_file("domain.xml", xml);
    if (config.connect_uri.empty()) host.kill_at_end(emulator);
    ConnectPtr connection = host.connect(config.connect_uri);
    throw_if_interrupted();
    host.reaper().kill_at_end(emulator, "guest=" + name + ",");
    try {
        domain_ = std::make_unique<Domain>(connection, config.connect_uri.empty(), name, xml);
    } catch (const InfraError& e) {
        throw_if_interrupted();
        Problem problem = e.problem();
        problem.excerpt = qemu_log_tail();
        if (refuses_kernel(problem.what + problem.excerpt)) {
            problem.what = "QEMU cannot load the guest's kernel: " + problem.what;
            problem.todo =
                "is " + config.kernel.string() + " a bzImage? ./vttm build makes one anew";
            throw BootFailure(keep_evidence(std::move(problem)));
        }
        problem.todo =
            "read QEMU's log; a QEMU that does not run at all is built anew by ./vttm build";
        throw InfraError(keep_evidence(std::move(problem)));
    }
    if (config.connect_uri.empty()) host.keep_capabilities();
}

void Machine::Impl::map_memory() {
    const auto pids = find_processes(emulator, "guest=" + name + ",");
    if (pids.empty()) {
        if (wait_stopped(Millis{500})) raise_gone();
        throw InfraError(keep_evidence({"the guest runs, but its QEMU is no process of this host",
                                        {},
                                        "the host's witness needs guest RAM: --connect to a daemon "
                                        "of this host and PID namespace",
                                        {}}));
    }
    pid = pids.front();
    const GpaMap map(config.ram_mib * kMiB, config.low_ram_mib * kMiB);
    try {
        const fs::path file = find_memfd(pid, map.ram_bytes());
        if (file.empty())
            throw std::system_error(ENOENT, std::generic_category(), "guest RAM's memory file");
        UniqueFd fd(::open(file.c_str(), O_RDWR | O_CLOEXEC));
        if (!fd) throw std::system_error(errno, std::generic_category(), "guest RAM's memory file");
        ram.emplace(std::move(fd), map);
    } catch (const std::system_error& e) {
        if (!process_alive(pid)) raise_gone();
        throw InfraError(keep_evidence(
            {fmt::format("cannot map the guest's RAM from QEMU (process {}): {}", pid, e.what()),
             {},
             "with --connect the CLI must run as root or as QEMU's user; or leave --connect away",
             {}}));
    }
    if (!config.device) return;
    const UniqueFd fd(::open(workspace.vram_file().c_str(), O_RDWR | O_CLOEXEC));
    if (!fd)
        throw std::system_error(errno, std::generic_category(), workspace.vram_file().string());
    vram.emplace(Mapping(fd.get(), config.vram_mib * kMiB));
    workspace.drop_vram_file();
}

void Machine::Impl::connect_agent() {
    sockaddr_un address{};
    const std::string path = agent_socket().string();
    if (path.size() >= sizeof(address.sun_path))
        throw InfraError({fmt::format("the agent's socket has a path of over {} characters",
                                      sizeof(address.sun_path) - 1),
                          path,
                          "choose a shorter run directory (XDG_RUNTIME_DIR)",
                          {}});
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd ||
        ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        if (!process_alive(pid)) raise_gone();
        throw std::system_error(errno, std::generic_category(), path);
    }
    if (agent)
        agent->rejoin(std::move(fd));
    else
        agent = std::make_unique<AgentClient>(std::move(fd), *this, AgentLimits{config.liveness});
}

void Machine::Impl::boot() {
    const auto started = Clock::now();
    booting_ = true;
    const bool ready = agent->wait_ready(config.boot_timeout);
    if (!ready) {
        poll_console();
        throw BootFailure(keep_evidence(
            {fmt::format("the guest's kernel did not reach the agent within {} s",
                         std::chrono::duration<double>(config.boot_timeout).count()),
             {},
             "the console's end shows how far it came; a slow machine needs a higher boot limit",
             console->bytes_seen() == 0 ? "(the console is empty)\n" : console->tail()}));
    }
    booting_ = false;
    boot_time = std::chrono::duration_cast<Millis>(Clock::now() - started);
    check();  // a WARNING while booting counts
}

void Machine::Impl::migrate() {
    const fs::path file = workspace.disk_dir() / "machine.saved";
    check();
    // libvirt's call on a new QEMU that hangs holds the domain until that QEMU is gone.
    const auto kill_if_new = [this] {
        if (pid == 0) kill_processes(emulator, "guest=" + name + ",", std::chrono::seconds(5));
    };
    try {
        domain().save(file, config.migration_limit);
        ram.reset();
        vram.reset();
        pid = 0;
        // The file behind VRAM has no name any more; the next QEMU wants one, and fills it.
        if (config.device) workspace.make_file(workspace.vram_file(), config.vram_mib * kMiB);
        domain().restore(file, config.migration_limit);
        fs::remove(file);
        map_memory();
        connect_agent();
    } catch (const MonitorSilent& silent) {
        kill_if_new();
        raise_monitor_silent(silent);
    } catch (const Interrupted&) {
        kill_if_new();
        throw;
    } catch (const InfraError& e) {
        Problem problem = e.problem();
        problem.excerpt = qemu_log_tail();
        throw InfraError(keep_evidence(std::move(problem)));
    } catch (const Error&) {
        throw;
    } catch (const std::exception& e) {
        throw InfraError(keep_evidence({e.what(), {}, {}, qemu_log_tail()}));
    }
    if (!agent->wait_ready(config.boot_timeout))
        throw GuestHang(describe_hang("the guest says nothing after its migration"));
    check();
}

void Machine::Impl::stop(Millis grace) {
    if (stopped_) return;
    stopped_ = true;
    std::exception_ptr late;
    const bool raised_before = settled_;
    if (domain_) {
        bool off = false;
        if (grace.count() > 0 && agent && interrupted() == 0) {
            try {
                agent->call("poweroff", nullptr, grace);
                off = wait_stopped(grace);
            } catch (const Error&) {  // it is ended the hard way
            }
        }
        // libvirt waits 10 s and more for a QEMU that does not take SIGTERM.
        if (qemu_hangs_) kill_processes(emulator, "guest=" + name + ",", std::chrono::seconds(5));
        if (!off) domain_->destroy();
        kill_processes(emulator, "guest=" + name + ",", std::chrono::seconds(10));
        if (grace.count() > 0 && !raised_before) late = late_splat();
    }
    agent.reset();
    domain_.reset();
    workspace.save_again(log_files());
    std::error_code ignored;
    if (config.connect_uri.empty()) fs::remove(qemu_log(), ignored);
    ram.reset();
    vram.reset();
    pid = 0;
    workspace.remove();
    if (late) std::rethrow_exception(late);
}

// Also brings QEMU's log, which libvirt keeps elsewhere, to the others.
std::vector<fs::path> Machine::Impl::log_files() const {
    std::error_code ignored;
    fs::copy_file(qemu_log(), workspace.run_dir() / "qemu.log",
                  fs::copy_options::overwrite_existing, ignored);
    std::vector<fs::path> files;
    for (const char* file : {"console.log", "qemu.log", "domain.xml", "hang.txt"})
        files.push_back(workspace.run_dir() / file);
    std::error_code none;
    if (const auto bytes = fs::file_size(witness_log(), none); !none && bytes <= kKeptWitness)
        files.push_back(witness_log());
    return files;
}

fs::path Machine::Impl::save_logs() { return workspace.save(log_files()); }

void Machine::Impl::report_file(const std::string& file_name, const std::string& text) const {
    std::ofstream(workspace.run_dir() / file_name) << text;
}

fs::path Machine::Impl::qemu_log() const { return host.qemu_log(config.connect_uri, name); }

std::string Machine::Impl::qemu_log_tail() const {
    std::ifstream file(qemu_log());
    std::deque<std::string> lines;
    for (std::string line; std::getline(file, line);) {
        // The command line is long and tells nothing new.
        if (line.find("-blockdev") != std::string::npos || line.starts_with('-') ||
            line.ends_with('\\'))
            continue;
        lines.push_back(line);
        if (lines.size() > 12) lines.pop_front();
    }
    std::string out;
    for (const std::string& line : lines) out += line + "\n";
    return out;
}

Domain& Machine::Impl::domain() {
    if (!domain_) throw InfraError({"the virtual machine is not running", {}, {}, {}});
    return *domain_;
}

Machine::Machine(MachineConfig config) : impl_(std::make_unique<Impl>(std::move(config))) {}
Machine::~Machine() = default;
void Machine::start() { impl_->start(); }
void Machine::stop(std::chrono::milliseconds grace) { impl_->stop(grace); }
void Machine::check() { impl_->check(); }
void Machine::migrate() { impl_->migrate(); }

AgentClient& Machine::agent() {
    if (!impl_->agent) throw InfraError({"the virtual machine is not running", {}, {}, {}});
    return *impl_->agent;
}

const GuestRam& Machine::ram() const { return impl_->ram.value(); }
const Vram& Machine::vram() const { return impl_->vram.value(); }
const fs::path& Machine::run_dir() const { return impl_->workspace.run_dir(); }
fs::path Machine::swap_disk() const { return impl_->swap_disk(); }
fs::path Machine::witness_log() const { return impl_->witness_log(); }
fs::path Machine::trace_log() const { return impl_->trace_log(); }
fs::path Machine::console_log() const { return impl_->console_log(); }
fs::path Machine::qemu_log() const { return impl_->qemu_log(); }
int Machine::qemu_pid() const { return impl_->pid; }
fs::path Machine::save_logs() { return impl_->save_logs(); }

json Machine::device_property(const char* name) {
    return qmp("qom-get", {{"path", kDevicePath}, {"property", name}});
}

void Machine::set_device_property(const char* name, json value) {
    qmp("qom-set", {{"path", kDevicePath}, {"property", name}, {"value", std::move(value)}});
}

json Machine::stats() {
    json value = device_property("stats");
    if (!value.is_string()) return value;
    json parsed = json::parse(value.get<std::string>(), nullptr, false);
    return parsed.is_discarded() ? value : parsed;
}

json Machine::qmp(const std::string& command, json arguments) {
    json request = {{"execute", command}};
    if (!arguments.is_null()) request["arguments"] = std::move(arguments);
    json answer = impl_->monitored([&](Domain& d, auto limit) { return d.qmp(request, limit); });
    if (answer.contains("error"))
        throw InfraError({fmt::format("QEMU refuses '{}': {}", command, answer["error"].dump()),
                          impl_->qemu_log(),
                          {},
                          {}});
    return answer.contains("return") ? answer["return"] : json();
}

std::string Machine::hmp(const std::string& command) {
    return impl_->monitored([&](Domain& d, auto limit) { return d.hmp(command, limit); });
}

void Machine::pause() {
    impl_->check();
    impl_->monitored([](Domain& d, auto limit) { d.suspend(limit); });
}
void Machine::resume() {
    impl_->monitored([](Domain& d, auto limit) { d.resume(limit); });
}

std::vector<std::string> Machine::oom_kills() const { return impl_->console->oom_kills(); }
std::vector<std::string> Machine::expected_seen() const { return impl_->console->expected_seen(); }
std::chrono::milliseconds Machine::boot_time() const { return impl_->boot_time; }
void Machine::tolerate_splats(bool tolerate) { impl_->tolerate_splats = tolerate; }

PauseGuard::~PauseGuard() {
    try {
        machine_.resume();
    } catch (const std::exception&) {
        // The machine died while it was paused; the next check() says why.
    }
}

}  // namespace vttm::machine

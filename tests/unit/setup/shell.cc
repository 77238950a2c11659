// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/setup/shell.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

namespace vttm::setup_test {
namespace {

namespace fs = std::filesystem;

std::string slurp(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 200; ++i) {
        if (condition()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return condition();
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
    std::vector<char*> p;
    for (std::string& s : strings) p.push_back(s.data());
    p.push_back(nullptr);
    return p;
}

// The caller's environment without what would lead a script to the user's own cache or mirrors.
std::vector<std::string> clean_environment() {
    std::vector<std::string> env;
    for (char** e = environ; *e; ++e) {
        const std::string s = *e;
        if (!s.starts_with("VTTM_") && !s.starts_with("XDG_")) env.push_back(s);
    }
    return env;
}

}  // namespace

fs::path source_root() {
    const char* root = std::getenv("VTTM_SOURCE_ROOT");
    if (!root) throw std::runtime_error("VTTM_SOURCE_ROOT is not set; run this through meson test");
    return root;
}

Process::Process(pid_t pid, fs::path out, fs::path err)
    : pid_(pid), out_(std::move(out)), err_(std::move(err)) {}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), out_(std::move(other.out_)), err_(std::move(other.err_)) {}

Process::~Process() {
    if (pid_ <= 0) return;
    kill(-pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
}

void Process::signal(int number) { kill(number == SIGINT ? -pid_ : pid_, number); }

Outcome Process::wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return {code, slurp(out_), slurp(err_)};
}

Sandbox::Sandbox() {
    std::string name = (fs::temp_directory_path() / "vttm-setup-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::system_error(errno, std::generic_category(), name);
    dir_ = name;
    fs::create_directories(dir_ / "apt");
    environment_ = clean_environment();
    set("SANDBOX=" + dir_.string());
    set("VTTM_ROOT=" + source_root().string());
    set("VTTM_CACHE=" + cache().string());
    set("VTTM_LOG_DIR=" + (dir_ / "log").string());
    // No apt sources: nothing in these tests reaches the network.
    set("VTTM_APT_DIR=" + (dir_ / "apt").string());
    set("TMPDIR=" + dir_.string());
}

Sandbox::~Sandbox() {
    std::error_code ignored;
    fs::remove_all(dir_, ignored);
}

void Sandbox::set(const std::string& assignment) {
    const std::string name = assignment.substr(0, assignment.find('=') + 1);
    std::erase_if(environment_, [&](const std::string& other) { return other.starts_with(name); });
    environment_.push_back(assignment);
}

void Sandbox::write(const std::string& name, const std::string& text) const {
    fs::create_directories(path(name).parent_path());
    std::ofstream(path(name), std::ios::binary) << text;
}

std::string Sandbox::read(const std::string& name) const { return slurp(path(name)); }

bool Sandbox::wait_for(const std::string& name) const {
    return eventually([&] { return fs::exists(path(name)) && fs::file_size(path(name)) > 0; });
}

Process Sandbox::spawn(const std::vector<std::string>& argv) const {
    const int n = started_++;
    const fs::path out = path(fmt::format("{}.out", n)), err = path(fmt::format("{}.err", n));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    // The test runner may ignore signals; a script started with a signal ignored cannot trap it.
    sigset_t defaults;
    sigfillset(&defaults);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);

    std::vector<std::string> args = argv, env = environment_;
    pid_t pid = -1;
    const int error =
        posix_spawnp(&pid, args[0].c_str(), &actions, &attributes, pointers(args).data(), pointers(env).data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error) throw std::system_error(error, std::generic_category(), args[0]);
    return {pid, out, err};
}

Process Sandbox::start(const std::string& script) const {
    return spawn({"sh", "-c", "set -eu; . \"$VTTM_ROOT/images/lib/common.sh\"\n" + script});
}

Outcome Sandbox::vttm(const std::vector<std::string>& arguments) const {
    std::vector<std::string> argv{(source_root() / "vttm").string()};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    return spawn(argv).wait();
}

std::vector<std::string> Sandbox::leftovers() const {
    std::vector<std::string> names;
    for (const char* folder : {"tmp", "locks"}) {
        std::error_code missing;
        for (const auto& entry : fs::directory_iterator(cache() / folder, missing))
            names.push_back(entry.path().string());
    }
    return names;
}

std::vector<std::string> Sandbox::leftovers_in_the_end() const {
    eventually([&] { return leftovers().empty(); });
    return leftovers();
}

bool runs(pid_t pid) {
    const std::string stat = slurp(fmt::format("/proc/{}/stat", pid));
    const auto after_name = stat.rfind(") ");
    return after_name != std::string::npos && stat[after_name + 2] != 'Z' && stat[after_name + 2] != 'X';
}

bool ends(pid_t pid) {
    return eventually([pid] { return !runs(pid); });
}

}  // namespace vttm::setup_test

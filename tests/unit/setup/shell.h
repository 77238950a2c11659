// SPDX-License-Identifier: Apache-2.0
// Runs shell scripts that source images/lib, each in a world of its own: own cache, logs, apt sources.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace vttm::setup_test {

// The repository (VTTM_SOURCE_ROOT, set by meson).
std::filesystem::path source_root();

struct Outcome {
    int status;       // exit code, or 128 + signal
    std::string out;  // stdout
    std::string err;  // stderr
};

// A process in a group of its own; killed and collected at the latest by the destructor.
class Process {
   public:
    Process(pid_t pid, std::filesystem::path out, std::filesystem::path err);
    Process(Process&& other) noexcept;
    Process& operator=(Process&&) = delete;
    ~Process();

    pid_t pid() const { return pid_; }
    // SIGINT goes to the whole group, as from a terminal (a shell that waits for a child that got no SIGINT
    // ignores its own); any other signal to the process alone, as from `kill`.
    void signal(int number);
    Outcome wait();

   private:
    pid_t pid_;
    std::filesystem::path out_, err_;
};

// A folder that is deleted with its owner, and scripts that run in it.
class Sandbox {
   public:
    Sandbox();
    ~Sandbox();
    Sandbox(const Sandbox&) = delete;
    Sandbox& operator=(const Sandbox&) = delete;

    std::filesystem::path path(const std::string& name) const { return dir_ / name; }
    std::filesystem::path cache() const { return dir_ / "cache"; }
    void write(const std::string& name, const std::string& text) const;
    std::string read(const std::string& name) const;  // "" if it is not there
    bool wait_for(const std::string& name) const;     // up to 10 s

    // VAR=VALUE for all that is started from now on.
    void set(const std::string& assignment);

    // `sh -c` of a script that has sourced common.sh under `set -eu`; $SANDBOX is the folder.
    Outcome run(const std::string& script) const { return start(script).wait(); }
    Process start(const std::string& script) const;
    // The entry, ./vttm.
    Outcome vttm(const std::vector<std::string>& arguments) const;

    // What a finished or killed run must not leave: everything in the cache's tmp/ and locks/.
    std::vector<std::string> leftovers() const;
    // Waits up to 10 s for leftovers() to become empty; returns what stayed.
    std::vector<std::string> leftovers_in_the_end() const;

   private:
    Process spawn(const std::vector<std::string>& argv) const;

    std::filesystem::path dir_;
    std::vector<std::string> environment_;
    mutable int started_ = 0;
};

// True while the process runs (a zombie does not).
bool runs(pid_t pid);
// Waits up to 10 s for the process to end.
bool ends(pid_t pid);

}  // namespace vttm::setup_test

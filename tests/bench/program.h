// SPDX-License-Identifier: Apache-2.0
// A benchmark ($VTTM_BENCH_PROGRAM) as a test runs it.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace vttm::bench {

// The program, with its environment before it: status and all that it says.
struct Said {
    int status = -1;
    std::string text;
};
inline Said run(const std::string& environment, const std::string& arguments) {
    const char* program = std::getenv("VTTM_BENCH_PROGRAM");
    if (!program) return {-1, "VTTM_BENCH_PROGRAM is not set: run it by meson or ./vttm test"};
    const std::string command = environment + " '" + program + "' " + arguments + " 2>&1";
    Said said;
    FILE* pipe = popen(command.c_str(), "r");
    if (!pipe) return said;
    char buf[4096];
    while (const size_t n = std::fread(buf, 1, sizeof(buf), pipe)) said.text.append(buf, n);
    const int status = pclose(pipe);
    said.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return said;
}

// The value in "missed: FIGURE: VALUE, demanded ..."; -1 if it is not missed.
inline double missed(const Said& said, const std::string& figure) {
    const std::string line = "missed: " + figure + ": ";
    const size_t at = said.text.find(line);
    return at == std::string::npos ? -1 : std::atof(said.text.c_str() + at + line.size());
}

}  // namespace vttm::bench

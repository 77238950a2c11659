// SPDX-License-Identifier: Apache-2.0
// What a benchmark must show when it is called with --demand: each figure that is named here must
// have been measured, and be no less than its bound.
#pragma once

#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace vttm::bench {

class Demands {
public:
    // That a figure was missed: not 1, with which the library ends when it crashes or is misused.
    static constexpr int kMissed = 9;

    struct Demand {
        std::string figure;
        double least;
    };
    explicit Demands(std::vector<Demand> demands) : demands_(std::move(demands)) {}

    // Takes --demand out of the arguments.
    void parse(int& argc, char** argv) {
        int kept = 1;
        for (int i = 1; i < argc; i++) {
            if (std::strcmp(argv[i], "--demand") == 0)
                demanded_ = true;
            else
                argv[kept++] = argv[i];
        }
        argc = kept;
        argv[argc] = nullptr;
    }
    bool demanded() const { return demanded_; }
    void measured(const std::string& figure, double value) { figures_[figure] = value; }

    // What is missed, a line for each; a figure that is no number misses every bound.
    std::vector<std::string> missed() const {
        std::vector<std::string> out;
        for (const Demand& d : demands_) {
            const auto it = figures_.find(d.figure);
            if (it == figures_.end())
                out.push_back(d.figure + ": not measured");
            else if (!(it->second >= d.least))
                out.push_back(d.figure + ": " + text(it->second) + ", demanded " + text(d.least));
        }
        return out;
    }
    // The program's status; says on standard error what is missed.
    int status() const {
        if (!demanded_) return 0;
        const auto lines = missed();
        std::fflush(stdout);
        for (const std::string& line : lines) std::fprintf(stderr, "missed: %s\n", line.c_str());
        if (lines.empty()) std::fprintf(stderr, "all %zu demands are met\n", demands_.size());
        return lines.empty() ? 0 : kMissed;
    }

private:
    static std::string text(double v) {
        char buf[32];
        std::snprintf(buf, sizeof(buf), "%.3f", v);
        return buf;
    }

    std::vector<Demand> demands_;
    std::map<std::string, double> figures_;
    bool demanded_ = false;
};

}  // namespace vttm::bench

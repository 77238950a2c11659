// SPDX-License-Identifier: Apache-2.0
// Reads the console log while QEMU writes it and collects splats.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "host-backend/machine/expected_splat.h"
#include "host-backend/machine/splat_rules.h"
#include "host-backend/machine/unique_fd.h"

namespace vttm::machine {

struct Splat {
    SplatKind kind;
    std::string line;                // the line that told, without its prefix
    std::vector<std::string> lines;  // from a few lines before on, raw, at most kExcerptLines
    bool complete = false;           // its end mark or enough lines have come
};

class ConsoleWatcher {
public:
    static constexpr std::size_t kExcerptLines = 60;
    static constexpr std::size_t kMaxPerPoll = 8u << 20;
    static constexpr std::size_t kContextLines = 2;  // before the telling line

    // A splat that matches one of @expected, telling line and trace, is kept apart from splats(). One whose line
    // matches is neither until its trace is there.
    explicit ConsoleWatcher(std::filesystem::path log,
                            const std::vector<ExpectedSplat>& expected = {});

    // Takes what was written since the last call; true if anything was. A file that is not there
    // yet is empty; one that was replaced (rotated) is read to its end, then the new one. Takes at
    // most kMaxPerPoll, so that a guest that floods its console cannot keep the caller. Throws
    // std::system_error if reading fails.
    bool poll();

    // For tests and for text that is no file: takes a piece of console output.
    void feed(std::string_view text);
    // Takes an unfinished last line as a line (at the guest's end).
    void finish();
    // What comes next is not part of the last splat, even if that has no end mark.
    void end_report();

    const std::vector<Splat>& splats() const { return splats_; }
    // Telling lines of expected splats, without prefix, in order.
    const std::vector<std::string>& expected_seen() const { return expected_seen_; }
    // OOM kills and notes, without prefix, in order.
    const std::vector<std::string>& oom_kills() const { return oom_kills_; }
    const std::vector<std::string>& notes() const { return notes_; }
    // The last lines, raw.
    std::string tail(std::size_t lines = 20) const;
    std::uint64_t bytes_seen() const { return seen_; }

    static constexpr std::size_t kTailLines = 400;

private:
    // A guest that floods its console must not fill the host's memory.
    static constexpr std::size_t kMaxSplats = 100;
    static constexpr std::size_t kMaxRecords = 1000;
    static constexpr std::size_t kMaxLine = 4096;

    struct Expected {
        std::regex line;
        std::string within;
    };
    // A splat that may turn out to be expected, and by whom.
    struct Candidate {
        Splat splat;
        std::vector<const Expected*> by;
    };

    bool replaced() const;
    void take_line(std::string_view raw);
    void begin_splat(SplatKind kind, const std::string& message);
    // True if the line belongs to the open candidate and tells nothing else.
    bool feed_candidate(const std::string& line, const std::string& message, bool is_new_splat);
    // True if the line names the test that the candidate is expected of.
    bool acquit_candidate(const std::string& message);
    void condemn_candidate();

    std::filesystem::path path_;
    std::vector<Expected> expected_;
    std::optional<Candidate> candidate_;
    std::vector<std::string> expected_seen_;
    UniqueFd fd_;
    std::uint64_t seen_ = 0;
    std::string partial_;
    std::deque<std::string> tail_;
    std::vector<Splat> splats_;
    std::vector<std::string> oom_kills_;
    std::vector<std::string> notes_;
};

}  // namespace vttm::machine

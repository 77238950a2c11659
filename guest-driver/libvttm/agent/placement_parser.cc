// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/placement_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

namespace vttm::guest {
namespace {

constexpr std::size_t kMaxLine = 512;

// Splits at single or repeated blanks into at most N + 1 words; returns how many there are.
template <std::size_t N>
std::size_t split(std::string_view line, std::array<std::string_view, N>* words) {
    std::size_t count = 0;
    for (std::size_t at = 0; (at = line.find_first_not_of(' ', at)) != std::string_view::npos;) {
        const std::size_t end = std::min(line.find(' ', at), line.size());
        if (count < N) {
            (*words)[count] = line.substr(at, end - at);
        }
        ++count;
        at = end;
    }
    return count;
}

template <typename Number>
bool parse(std::string_view word, Number* value, int base = 10) {
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), *value, base);
    return error == std::errc{} && end == word.data() + word.size();
}

bool parse_hex(std::string_view word, std::uint64_t* value) {
    if (word.starts_with("0x")) {
        word.remove_prefix(2);
    }
    return parse(word, value, 16);
}

}  // namespace

void PlacementParser::fail(std::string_view line, const char* why) const {
    throw PlacementError(fmt::format("placement line {}: {}: '{}'", line_, why,
                                     line.substr(0, std::min<std::size_t>(line.size(), 80))));
}

void PlacementParser::feed(std::string_view chunk) {
    while (!chunk.empty()) {
        const std::size_t end = chunk.find('\n');
        if (end == std::string_view::npos) {
            partial_.append(chunk);
            if (partial_.size() > kMaxLine) {
                ++line_;
                fail(partial_, "line too long");
            }
            return;
        }
        if (partial_.empty()) {
            parse_line(chunk.substr(0, end));
        } else {
            partial_.append(chunk.substr(0, end));
            parse_line(partial_);
            partial_.clear();
        }
        chunk.remove_prefix(end + 1);
    }
}

void PlacementParser::finish() {
    if (!partial_.empty()) {
        ++line_;
        fail(partial_, "text ends within a line");
    }
    end_buffer();
    in_buffer_ = false;
}

void PlacementParser::end_buffer() const {
    if (in_buffer_ && covered_ != pages_) {
        throw PlacementError(fmt::format("placement line {}: bo {} has {} pages, its runs cover {}",
                                         line_, tag_, pages_, covered_));
    }
}

void PlacementParser::parse_line(std::string_view line) {
    ++line_;
    if (line.find_first_not_of(' ') == std::string_view::npos) {
        return;
    }
    if (line.starts_with("bo ")) {
        parse_buffer(line);
    } else {
        parse_run(line);
    }
}

void PlacementParser::parse_buffer(std::string_view line) {
    end_buffer();
    std::array<std::string_view, 3> words;
    if (split(line, &words) != words.size()) {
        fail(line, "expected 'bo <tag> <pages>'");
    }
    if (!parse(words[1], &tag_) || !parse(words[2], &pages_)) {
        fail(line, "bad number");
    }
    in_buffer_ = true;
    covered_ = 0;
    sink_.buffer(tag_, pages_);
}

void PlacementParser::parse_run(std::string_view line) {
    if (!in_buffer_) {
        fail(line, "run before any 'bo' line");
    }
    std::array<std::string_view, 5> words;
    if (split(line, &words) != words.size()) {
        fail(line, "expected '<first> <count> <kind> <addr> <slot>'");
    }
    PlacementRun run;
    if (!parse(words[0], &run.first) || !parse(words[1], &run.count) ||
        !parse_hex(words[3], &run.addr) || !parse(words[4], &run.slot)) {
        fail(line, "bad number");
    }
    const auto kind = std::find(kPlacementKinds.begin(), kPlacementKinds.end(), words[2]);
    if (kind == kPlacementKinds.end()) {
        fail(line, "unknown kind");
    }
    run.kind = *kind;
    if (run.slot < -1) {
        fail(line, "bad slot");
    }
    if (run.first != covered_ || run.count == 0 || run.count > pages_ - covered_) {
        fail(line, "run does not follow the one before within the buffer");
    }
    covered_ += run.count;
    sink_.run(run);
}

}  // namespace vttm::guest

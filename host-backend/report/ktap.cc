// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>
#include <vector>

#include "host-backend/report/test_results.h"

namespace vttm::report {
namespace {

// A line without the kernel log's "[    1.234567] " (its depth counts after it) and line end.
std::string_view without_stamp(std::string_view line) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    // "<6>[    1.2] " as from /dev/kmsg, too.
    std::string_view rest = line;
    if (rest.starts_with('<')) {
        const std::size_t end = rest.find('>');
        if (end != std::string_view::npos && end <= 4) rest.remove_prefix(end + 1);
    }
    if (!rest.starts_with('[')) return line;
    const std::size_t end = rest.find("] ");
    if (end == std::string_view::npos) return line;
    const std::string_view stamp = rest.substr(1, end - 1);
    const bool number = stamp.find_first_not_of("0123456789. TC") == std::string_view::npos &&
                        stamp.find('.') != std::string_view::npos;
    return number ? rest.substr(end + 2) : line;
}

struct ResultLine {
    bool ok = false;
    std::string name;
    std::string directive;  // "SKIP reason", "TODO", "TIMEOUT", ...
};

std::optional<std::uint64_t> number_at(std::string_view& text) {
    std::uint64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return n;
}

void skip_space(std::string_view& text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
}

// "ok 3 - name # SKIP reason" or the kernel's "ok 3 name".
std::optional<ResultLine> result_line(std::string_view text) {
    ResultLine r;
    if (text.starts_with("ok ")) {
        r.ok = true;
        text.remove_prefix(3);
    } else if (text.starts_with("not ok ")) {
        text.remove_prefix(7);
    } else {
        return std::nullopt;
    }
    if (!number_at(text)) return std::nullopt;
    skip_space(text);
    if (text.starts_with("- ")) text.remove_prefix(2);
    const std::size_t hash = text.find('#');
    std::string_view name = text.substr(0, hash);
    while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
    r.name = std::string(name);
    if (hash != std::string_view::npos) {
        text.remove_prefix(hash + 1);
        skip_space(text);
        r.directive = std::string(text);
    }
    return r;
}

bool is_skip(const std::string& directive) {
    if (directive.size() < 4) return false;
    std::string word = directive.substr(0, 4);
    std::transform(word.begin(), word.end(), word.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return word == "SKIP";
}

// One level of nesting: its results wait here for the line that names the suite.
struct Level {
    std::size_t depth = 0;  // spaces before its lines
    std::optional<std::uint64_t> plan;
    std::uint64_t seen = 0;
    std::string subtest;  // of a "# Subtest:" line
    std::string notes;    // diagnostics since the last result
    TestResults results;
};

class KtapParser {
public:
    TestResults parse(std::string_view text) {
        while (!text.empty()) {
            const std::size_t end = std::min(text.find('\n'), text.size());
            line(without_stamp(text.substr(0, end)));
            text.remove_prefix(std::min(end + 1, text.size()));
        }
        // A suite whose own result never came: it crashed or hung half way.
        while (levels_.size() > 1) close_level(std::nullopt);
        if (levels_.empty()) levels_.emplace_back();
        check_plan(levels_.front(), "");
        TestResults out = std::move(levels_.front().results);
        if (!any_) throw ParseError("KTAP: no result line");
        return out;
    }

private:
    void line(std::string_view raw) {
        const std::size_t depth = std::min(raw.find_first_not_of(' '), raw.size());
        const std::string_view text = raw.substr(depth);
        if (text.empty()) return;
        if (text.starts_with("KTAP version ") || text.starts_with("TAP version ")) {
            open(depth);
        } else if (text.starts_with("1..")) {
            std::string_view rest = text.substr(3);
            const auto n = number_at(rest);
            if (n) open(depth).plan = *n;
        } else if (text.starts_with("# Subtest: ")) {
            open(depth).subtest = std::string(text.substr(11));
        } else if (text.starts_with("Bail out!")) {
            TestCase t;
            t.name = "bail-out";
            t.status = TestStatus::kFailed;
            t.message = std::string(text);
            open(depth).results.cases.push_back(std::move(t));
            any_ = true;
        } else if (auto result = result_line(text)) {
            any_ = true;
            take(depth, std::move(*result));
        } else if (!levels_.empty() && levels_.size() < 64) {
            std::string& notes = levels_.back().notes;
            if (notes.size() < 16384) notes += std::string(text) + "\n";
        }
    }

    // The level at @depth, made if it is not there. A deeper one that is still open has lost its
    // end.
    Level& open(std::size_t depth) {
        while (levels_.size() > 1 && levels_.back().depth > depth) close_level(std::nullopt);
        if (levels_.empty() || levels_.back().depth < depth) {
            Level level;
            level.depth = depth;
            levels_.push_back(std::move(level));
        }
        return levels_.back();
    }

    void take(std::size_t depth, ResultLine r) {
        while (levels_.size() > 1 && levels_.back().depth > depth &&
               levels_[levels_.size() - 2].depth > depth) {
            close_level(std::nullopt);
        }
        if (!levels_.empty() && levels_.back().depth > depth) {
            if (levels_.size() == 1) {  // the parent printed nothing before its result
                Level parent;
                parent.depth = depth;
                levels_.insert(levels_.begin(), std::move(parent));
            } else if (levels_[levels_.size() - 2].depth < depth) {
                Level parent;
                parent.depth = depth;
                levels_.insert(levels_.end() - 1, std::move(parent));
            }
            // A child level without results is only decoration (an empty or skipped suite).
            if (levels_.back().seen || levels_.back().plan.value_or(0) ||
                !levels_.back().results.cases.empty()) {
                close_level(r);
                return;
            }
            levels_.pop_back();
        }
        Level& level = open(depth);
        level.seen++;
        TestCase t;
        t.name = r.name;
        if (is_skip(r.directive)) {
            t.status = TestStatus::kSkipped;
            t.message = r.directive;
        } else if (!r.ok) {
            t.status = TestStatus::kFailed;
            t.message = level.notes;
            if (!r.directive.empty()) t.message += r.directive;
        }
        level.notes.clear();
        level.results.cases.push_back(std::move(t));
    }

    static void add_failure(Level& level, std::string name, std::string message) {
        TestCase t;
        t.name = std::move(name);
        t.status = TestStatus::kFailed;
        t.message = std::move(message);
        level.results.cases.push_back(std::move(t));
    }

    static void check_plan(Level& level, std::string_view end) {
        if (level.plan && *level.plan != level.seen) {
            add_failure(level, "missing",
                        fmt::format("planned {} tests, saw {}{}", *level.plan, level.seen, end));
        }
    }

    // Moves the deepest level's results under its suite's name into its parent.
    void close_level(const std::optional<ResultLine>& own) {
        Level level = std::move(levels_.back());
        levels_.pop_back();
        check_plan(level, own ? "" : "; the suite did not end");
        const bool failed_inside = level.results.counts().failed != 0;
        if (!own && !failed_inside) {
            add_failure(level, "missing", "the suite did not end");
        } else if (own && !own->ok && !is_skip(own->directive) && !failed_inside) {
            add_failure(level, "suite", "the suite failed, its tests did not\n" + level.notes);
        }
        const std::string name = own && !own->name.empty() ? own->name : level.subtest;
        if (levels_.empty()) levels_.emplace_back();
        Level& parent = levels_.back();
        parent.results.append(level.results, name);
        parent.notes.clear();
        parent.seen++;
    }

    std::vector<Level> levels_;
    bool any_ = false;
};

// A name that survives its own parser: no '#', no line breaks.
std::string one_line(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c == '\n' || c == '\r' || c == '#') c = ' ';
    }
    return out;
}

}  // namespace

TestResults parse_ktap(std::string_view text) { return KtapParser().parse(text); }

std::string to_ktap(const TestResults& results) {
    std::vector<std::string> suites;
    for (const TestCase& t : results.cases) {
        if (std::find(suites.begin(), suites.end(), t.suite) == suites.end()) {
            suites.push_back(t.suite);
        }
    }
    std::string out = fmt::format("KTAP version 1\n1..{}\n", suites.size());
    for (std::size_t s = 0; s < suites.size(); s++) {
        std::string body;
        std::size_t number = 0;
        bool failed = false;
        for (const TestCase& t : results.cases) {
            if (t.suite != suites[s]) continue;
            failed |= t.status == TestStatus::kFailed;
            if (t.status == TestStatus::kFailed) {
                std::string_view rest = t.message;
                while (!rest.empty()) {
                    const std::size_t end = std::min(rest.find('\n'), rest.size());
                    body += fmt::format("    # {}\n", rest.substr(0, end));
                    rest.remove_prefix(std::min(end + 1, rest.size()));
                }
            }
            body +=
                fmt::format("    {} {} {}{}\n", t.status == TestStatus::kFailed ? "not ok" : "ok",
                            ++number, one_line(t.name),
                            t.status == TestStatus::kSkipped ? " # SKIP " + one_line(t.message)
                                                             : std::string());
        }
        const std::string name = suites[s].empty() ? "tests" : one_line(suites[s]);
        out += fmt::format("    KTAP version 1\n    # Subtest: {}\n    1..{}\n{}{} {} {}\n", name,
                           number, body, failed ? "not ok" : "ok", s + 1, name);
    }
    return out;
}

}  // namespace vttm::report

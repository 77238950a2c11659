// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace vttm::report {

// Checks the JUnit XML that is written. Reads XML as test tools write it, in one pass: elements, attributes, text, CDATA, comments,
// declarations, the five named entities and numeric ones. No DTDs, no namespaces.
class XmlReader {
public:
    enum class Event { kStart, kEnd, kText, kDone };

    explicit XmlReader(std::string_view text) : text_(text) {}

    // The next event. An empty element gives kStart and kEnd. Throws ParseError for text that is
    // not well formed, also for elements that are still open at the end.
    Event next();

    const std::string& name() const { return name_; }   // of kStart and kEnd
    const std::string& text() const { return value_; }  // of kText, decoded
    // Attribute of the kStart element; @fallback if absent.
    std::string attribute(const std::string& key, std::string fallback = {}) const;
    bool has_attribute(const std::string& key) const { return attributes_.contains(key); }

private:
    [[noreturn]] void fail(std::string_view what) const;
    bool skip_past(std::string_view open, std::string_view close);
    std::string read_name();
    void skip_space();
    std::string decode(std::string_view raw) const;
    Event read_start();

    std::string_view text_;
    std::size_t at_ = 0;
    std::string name_, value_;
    std::map<std::string, std::string> attributes_;
    std::vector<std::string> open_;
    bool close_next_ = false;  // the element was empty: give its end, too
    bool seen_root_ = false;
};

}  // namespace vttm::report

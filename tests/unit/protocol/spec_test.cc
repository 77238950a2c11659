// SPDX-License-Identifier: Apache-2.0
// The spec for QEMU's documentation says of each register, bit, opcode and packet what the headers say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <string>
#include <vector>

namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string text_of(const std::string& file) {
    const char* root = std::getenv("VTTM_SOURCE_ROOT");
    std::ifstream in(std::filesystem::path(root ? root : "") / file);
    return {std::istreambuf_iterator<char>(in), {}};
}

// A number or an expression of vm, e, r, without blanks, brackets and suffixes: "0x1000+vm*8".
std::string plain(const std::string& value) {
    const std::string short_ = std::regex_replace(value, std::regex("([0-9a-fA-F])u(ll)?\\b"), "$1");
    return std::regex_replace(short_, std::regex("[()\\s]"), "");
}

using Values = std::map<std::string, std::string>;

// What has a value of its own; not what takes one apart.
void add_values(Values& values, const std::string& header) {
    static const std::regex define(R"(#define (VTTM_\w+)(\((?:vm|e|r)(?:, (?:vm|e|r))*\))? ([^/\n\\]*[^/\n\\\s]))");
    static const std::regex enumerator(R"(\n\t(VTTM_\w+) = (\w+),)");
    for (std::sregex_iterator it(header.begin(), header.end(), define), end; it != end; ++it)
        values[(*it)[1]] = plain((*it)[3]);
    for (std::sregex_iterator it(header.begin(), header.end(), enumerator), end; it != end; ++it)
        values[(*it)[1]] = plain((*it)[2]);
}

Values header_values() {
    Values values;
    for (const char* name : {"vttm_regs.h", "vttm_packets.h", "vttm_pte.h", "vttm_fault.h"}) {
        // Where a line goes on in the next, it is no plain value.
        add_values(values, std::regex_replace(text_of(std::string("protocol/") + name),
                                              std::regex("[^\\n]*\\\\\\n[^\\n]*"), ""));
    }
    return values;
}

// "hdr vm" by "vttm_pkt_set_vm".
Values header_packets() {
    Values packets;
    const std::string header = text_of("protocol/vttm_packets.h");
    static const std::regex structure(R"(struct (vttm_pkt_\w+) \{([^}]*)\};)");
    static const std::regex members(R"(uint32_t ([^;]*);)");
    for (std::sregex_iterator it(header.begin(), header.end(), structure), end; it != end; ++it) {
        const std::string body = (*it)[2];
        std::string list;
        for (std::sregex_iterator m(body.begin(), body.end(), members); m != end; ++m)
            list += (list.empty() ? "" : " ") + std::regex_replace((*m)[1].str(), std::regex(", *"), " ");
        packets[(*it)[1]] = list;
    }
    return packets;
}

// What the spec says wrongly, or not at all.
std::vector<std::string> complaints(const std::string& spec) {
    std::vector<std::string> wrong;
    Values told;
    static const std::regex row(R"(\n``([^`]+)`` +``(VTTM_\w+)(\([^`]*\))?``)");
    for (std::sregex_iterator it(spec.begin(), spec.end(), row), end; it != end; ++it) {
        if (told.contains((*it)[2])) wrong.push_back("twice " + (*it)[2].str());
        told[(*it)[2]] = plain((*it)[1]);
    }
    const Values true_values = header_values();
    for (const auto& [name, value] : true_values) {
        const auto it = told.find(name);
        if (it == told.end())
            wrong.push_back("missing " + name);
        else if (it->second != value)
            wrong.push_back(name + " is " + value + ", not " + it->second);
    }
    for (const auto& [name, value] : told)
        if (!true_values.contains(name)) wrong.push_back("unknown " + name);

    static const std::map<std::string, std::string> shared = {
        {"SCATTER", "sg"}, {"GATHER", "sg"}, {"STAMP_WRITE", "stamp"}, {"STAMP_VERIFY", "stamp"}};
    const Values packets = header_packets();
    for (const auto& [name, value] : true_values) {
        if (!name.starts_with("VTTM_OP_") || name == "VTTM_OP_NOP") continue;
        const std::string op = name.substr(8);
        std::string type = shared.contains(op) ? shared.at(op) : op;
        for (char& c : type) c = static_cast<char>(std::tolower(c));
        const auto packet = packets.find("vttm_pkt_" + type);
        if (packet == packets.end()) {
            wrong.push_back("no struct of " + name);
            continue;
        }
        const auto dwords = std::count(packet->second.begin(), packet->second.end(), ' ') + 1;
        std::smatch m;
        if (!std::regex_search(spec, m, std::regex("\n``" + name + R"(`` \([^)]*\), (\d+) dwords\n  ``([^`]*)``)")))
            wrong.push_back("no layout of " + name);
        else if (std::stol(m[1]) != dwords ||
                 std::regex_replace(m[2].str(), std::regex("\\s+"), " ") != packet->second)
            wrong.push_back("layout of " + name + " is " + packet->second);
    }
    return wrong;
}

std::string spec() { return text_of("qemu-device/docs/vttm.rst"); }

TEST(Spec, SaysWhatTheHeadersSay) {
    EXPECT_GT(header_values().size(), 200u) << "the headers could not be read";
    EXPECT_GT(header_packets().size(), 10u);
    EXPECT_THAT(complaints(spec()), IsEmpty());
    EXPECT_THAT(spec(), HasSubstr(".. SPDX-License-Identifier: GPL-2.0-or-later\n"));
}

// Every property that the device has, by name.
TEST(Spec, NamesEachProperty) {
    const std::string text = spec();
    unsigned properties = 0;
    static const std::regex property(R"re((?:DEFINE_PROP_\w+\(|class_property_add\w*\(klass, )"([\w-]+)")re");
    for (const char* file : {"vttm.c", "log.c", "faults.c", "power.c", "rebar.c"}) {
        const std::string source = text_of(std::string("qemu-device/") + file);
        for (std::sregex_iterator it(source.begin(), source.end(), property), end; it != end; ++it, ++properties)
            EXPECT_THAT(text, HasSubstr("\n``" + (*it)[1].str() + "``")) << file;
    }
    EXPECT_GE(properties, 11u);
}

TEST(Spec, PlantedErrorsAreSeen) {
    const auto planted = [](const std::string& what, const std::string& instead) {
        std::string text = spec();
        const std::size_t at = text.find(what);
        EXPECT_NE(at, text.npos) << what;
        return complaints(text.replace(at, what.size(), instead));
    };
    EXPECT_THAT(planted("``0x0034``", "``0x0035``"), Contains(HasSubstr("VTTM_REG_IRQ_ENABLE is 0x0034")));
    EXPECT_THAT(planted("``VTTM_OP_COPY``", "``VTTM_OP_COPI``"), Contains("missing VTTM_OP_COPY"));
    EXPECT_THAT(planted("``VTTM_FAULT_BUS``", "``VTTM_FAULT_BUZ``"), Contains("unknown VTTM_FAULT_BUZ"));
    EXPECT_THAT(planted("``0x1000 + vm * 8``", "``0x1000 + vm * 4``"), Contains(HasSubstr("VTTM_REG_VM_ROOT_LO is")));
    EXPECT_THAT(planted("``hdr vm``", "``hdr``"), Contains(HasSubstr("layout of VTTM_OP_SET_VM")));
    EXPECT_THAT(planted("7 dwords", "8 dwords"), Contains(HasSubstr("layout of VTTM_OP_")));
    EXPECT_THAT(planted("``VTTM_CNT_BYTES``", "``VTTM_CNT_FAULTS``"), Contains("twice VTTM_CNT_FAULTS"));
}

}  // namespace

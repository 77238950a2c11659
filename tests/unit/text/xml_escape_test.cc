// SPDX-License-Identifier: Apache-2.0
#include "host-backend/text/xml_escape.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace vttm::text {
namespace {

TEST(XmlEscape, MarkupIsEscapedForBothQuotes) {
    for (const Unfit unfit : {Unfit::kRefuse, Unfit::kReplace})
        EXPECT_EQ(xml_escape("a<b>&'\"c", unfit), "a&lt;b&gt;&amp;&apos;&quot;c");
}

TEST(XmlEscape, EachControlCharacterIsRefusedOrReplaced) {
    for (int c = 0; c < 0x20; ++c) {
        const std::string text = {'a', static_cast<char>(c), 'b'};
        EXPECT_THROW(xml_escape(text, Unfit::kRefuse), std::invalid_argument) << c;
        const std::string out = xml_escape(text, Unfit::kReplace);
        if (c == '\t')
            EXPECT_EQ(out, "a&#9;b");
        else if (c == '\n')
            EXPECT_EQ(out, "a&#10;b");
        else if (c == '\r')
            EXPECT_EQ(out, "a&#13;b");
        else
            EXPECT_EQ(out, "a?b") << c;
    }
    EXPECT_EQ(xml_escape("a\x7f", Unfit::kRefuse), "a\x7f");  // XML 1.0 allows DEL
}

TEST(XmlEscape, Utf8Stays) {
    for (const char* text : {"\u00fc", "\u20ac", "\ufffd", "\U0001f4be", "\U0010ffff"})
        EXPECT_EQ(xml_escape(text, Unfit::kRefuse), text);
}

TEST(XmlEscape, WhatIsNoUtf8IsRefusedOrReplaced) {
    for (const char* bad :
         {"\xff", "\xc3", "\xe2\x82", "\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xef\xbf\xbe", "\xef\xbf\xbf"}) {
        EXPECT_THROW(xml_escape(bad, Unfit::kRefuse), std::invalid_argument) << bad;
        const std::string out = xml_escape(std::string(bad) + "z<", Unfit::kReplace);
        EXPECT_EQ(out.find_first_not_of('?'), out.find("z&lt;")) << out;
        EXPECT_TRUE(out.starts_with("?") && out.ends_with("z&lt;")) << out;
    }
}

}  // namespace
}  // namespace vttm::text

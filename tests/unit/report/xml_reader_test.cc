// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/report/xml_reader.h"

#include <gtest/gtest.h>

#include <string>

#include "host-backend/report/test_results.h"

namespace vttm::report {
namespace {

// The events as one line: (name key=value) text )name.
std::string events(std::string_view text, const std::string& key = "k") {
    XmlReader xml(text);
    std::string out;
    for (;;) {
        switch (xml.next()) {
            case XmlReader::Event::kStart:
                out += "<" + xml.name();
                if (xml.has_attribute(key)) out += " " + xml.attribute(key);
                out += ">";
                break;
            case XmlReader::Event::kEnd:
                out += "</" + xml.name() + ">";
                break;
            case XmlReader::Event::kText:
                out += "[" + xml.text() + "]";
                break;
            case XmlReader::Event::kDone:
                return out;
        }
    }
}

TEST(XmlReader, ElementsAttributesAndText) {
    EXPECT_EQ(events("<?xml version='1.0'?><!-- x --><a k='1'>\n<b k = \"2\" />text</a>\n"),
              "<a 1><b 2></b>[text]</a>");
}

TEST(XmlReader, EntitiesAndCdata) {
    EXPECT_EQ(events("<a k='&lt;&amp;&#x41;&#66;&quot;'>&gt;&apos;&#228;<![CDATA[<&]]></a>"),
              "<a <&AB\">[>'\xc3\xa4][<&]</a>");
    EXPECT_EQ(events("<a>&#x20ac;&#x1f600;</a>"), "<a>[\xe2\x82\xac\xf0\x9f\x98\x80]</a>");
}

TEST(XmlReader, Malformed) {
    for (const char* text : {"",
                             "   ",
                             "text",
                             "<a>",
                             "<a></b>",
                             "</a>",
                             "<a",
                             "<a k>",
                             "<a k=>",
                             "<a k='1>",
                             "<a k=1/>",
                             "<a/><b/>",
                             "<a>&nope;</a>",
                             "<a>&amp</a>",
                             "<a>&#xffffffff;</a>",
                             "<a>&#;</a>",
                             "<a><![CDATA[x</a>",
                             "<!-- x",
                             "<a/>text",
                             "< a/>",
                             "<a></a"}) {
        EXPECT_THROW(events(text), ParseError) << text;
    }
}

TEST(XmlReader, NoPrefixOfADocumentIsAccepted) {
    const std::string whole =
        "<?xml version=\"1.0\"?><a k=\"v\"><b>text &amp; <![CDATA[more]]></b><c/></a>";
    for (std::size_t n = 0; n < whole.size(); n++) {
        EXPECT_THROW(events(whole.substr(0, n)), ParseError) << n;
    }
    EXPECT_NO_THROW(events(whole));
}

}  // namespace
}  // namespace vttm::report

// SPDX-License-Identifier: Apache-2.0
// images/lib/fetch.sh: nothing that is not what was pinned gets into downloads/; mirrors are tried in order.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/setup/shell.h"

namespace vttm::setup_test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kText[] = "the content that was pinned\n";

// A mirror is a folder; apt's downloader knows "copy:" besides http.
class Fetch : public ::testing::Test {
   protected:
    void put(const std::string& mirror, const std::string& text) {
        box.write(mirror + "/pool/main/t/tool/tool_1.orig.tar.xz", text);
    }
    void use(std::vector<std::string> mirrors) {
        std::string list = "VTTM_MIRRORS=";
        for (const std::string& m : mirrors) list += "copy:" + box.path(m).string() + " ";
        box.set(list);
    }
    std::string sha256(const std::string& text) {
        box.write("to-hash", text);
        return box.run("sha256sum <\"$SANDBOX/to-hash\" | cut -d ' ' -f 1 | tr -d '\\n'").out;
    }
    Outcome fetch() {
        return box.run(fmt::format("fetch_source_file any tool tool_1.orig.tar.xz {}", sha256(kText)));
    }
    fs::path product() { return box.cache() / "downloads/tool_1.orig.tar.xz"; }
    Sandbox box;
};

TEST_F(Fetch, GetsAndKeepsAFile) {
    put("m1", kText);
    use({"m1"});
    const Outcome first = fetch();
    ASSERT_EQ(first.status, 0) << first.err;
    EXPECT_EQ(first.out, product().string() + "\n");
    EXPECT_EQ(box.read("cache/downloads/tool_1.orig.tar.xz"), kText);
    fs::remove_all(box.path("m1"));
    EXPECT_EQ(fetch().status, 0) << "the second time no mirror is needed";
    EXPECT_THAT(box.leftovers(), IsEmpty());
}

TEST_F(Fetch, ACorruptedDownloadIsRejected) {
    put("m1", "the content that was pinnee\n");
    use({"m1"});
    const Outcome o = fetch();
    EXPECT_EQ(o.status, 11);
    EXPECT_THAT(o.err, HasSubstr("cannot download"));
    EXPECT_THAT(o.err, HasSubstr("sha256"));
    EXPECT_FALSE(fs::exists(product()));
    EXPECT_THAT(box.leftovers(), IsEmpty());
}

TEST_F(Fetch, ATruncatedDownloadIsRejected) {
    put("m1", std::string(kText).substr(0, 10));
    use({"m1"});
    EXPECT_EQ(fetch().status, 11);
    EXPECT_FALSE(fs::exists(product()));
}

TEST_F(Fetch, TheNextMirrorIsTried) {
    put("broken", "something else\n");
    put("good", kText);
    use({"absent", "broken", "good"});
    const Outcome o = fetch();
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(box.read("cache/downloads/tool_1.orig.tar.xz"), kText);
}

TEST_F(Fetch, AFileThatRottedInTheCacheIsFetchedAgain) {
    put("m1", kText);
    use({"m1"});
    box.write("cache/downloads/tool_1.orig.tar.xz", "bit rot\n");
    const Outcome o = fetch();
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_THAT(o.err, HasSubstr("removed"));
    EXPECT_EQ(box.read("cache/downloads/tool_1.orig.tar.xz"), kText);
}

TEST_F(Fetch, NoMirrorIsExitCode11WithAWayOut) {
    const Outcome o = fetch();
    EXPECT_EQ(o.status, 11);
    EXPECT_THAT(o.err, HasSubstr("VTTM_MIRRORS"));
    EXPECT_THAT(o.err, HasSubstr((box.cache() / "downloads").string()));
}

TEST_F(Fetch, ADebThatTheUserPutThereServes) {
    box.write("cache/downloads/tool_1%3a2+b~1_all.deb", kText);
    const Outcome o = box.run(fmt::format("fetch_deb any tool '1:2+b~1' {}", sha256(kText).substr(0, 12)));
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(o.out, (box.cache() / "downloads/tool_1%3a2+b~1_all.deb").string() + "\n");
}

TEST_F(Fetch, ADebWithAnotherHashDoesNot) {
    box.write("cache/downloads/tool_1_all.deb", kText);
    EXPECT_EQ(box.run("fetch_deb any tool 1 0123456789abcdef").status, 11);
    EXPECT_FALSE(fs::exists(box.cache() / "downloads/tool_1_all.deb"));
}

TEST_F(Fetch, AHashTooShortToPinAnythingIsRefused) {
    box.write("cache/downloads/tool_1_all.deb", kText);
    EXPECT_EQ(box.run("fetch_deb any tool 1 ''").status, 2);
    EXPECT_TRUE(fs::exists(box.cache() / "downloads/tool_1_all.deb"));
}

// The lists of apt, in both formats. Only the archive of the running release's main component serves.
class Mirrors : public ::testing::Test {
   protected:
    std::string mirrors() { return box.run("fetch_mirrors").out; }
    Sandbox box;
    std::string codename = box.run(". /etc/os-release; printf %s \"$VERSION_CODENAME\"").out;
};

TEST_F(Mirrors, FromTheOneLineFormat) {
    box.write("apt/sources.list", fmt::format("# deb http://no.example/debian {0} main\n"
                                              "deb [arch=amd64 signed-by=/k] http://one.example/debian/ {0} main contrib\n"
                                              "deb-src http://src.example/debian {0} main\n"
                                              "deb http://sec.example/debian-security {0}-security main\n"
                                              "deb http://third.example/apt stable main\n"
                                              "deb cdrom:[disc]/ {0} main\n",
                                              codename));
    box.write("apt/sources.list.d/more.list", fmt::format("deb http://two.example/debian {0} main\n"
                                                          "deb http://one.example/debian {0} main\n",
                                                          codename));
    EXPECT_EQ(mirrors(), "http://one.example/debian\nhttp://two.example/debian\n");
}

TEST_F(Mirrors, FromTheDeb822Format) {
    box.write("apt/sources.list.d/debian.sources",
              fmt::format("# comment\nTypes: deb\nURIs: http://one.example/debian\n  http://two.example/debian/\n"
                          "Suites: {0} {0}-updates\nComponents: main\n\n"
                          "Types: deb\nURIs: http://sec.example/s\nSuites: {0}-security\nComponents: main\n\n"
                          "Enabled: no\nTypes: deb\nURIs: http://off.example/d\nSuites: {0}\nComponents: main\n",
                          codename));
    box.write("apt/sources.list.d/zz.sources",
              fmt::format("Types: deb-src deb\nURIs: http://last.example/debian\nSuites: {0}\nComponents: main\n", codename));
    EXPECT_EQ(mirrors(),
              "http://one.example/debian\nhttp://two.example/debian\nhttp://last.example/debian\n");
}

TEST_F(Mirrors, TheUsersOwnComeFirst) {
    box.write("apt/sources.list", fmt::format("deb http://one.example/debian {0} main\n", codename));
    box.set("VTTM_MIRRORS=http://mine.example/debian http://one.example/debian");
    EXPECT_EQ(mirrors(), "http://mine.example/debian\nhttp://one.example/debian\n");
}

}  // namespace
}  // namespace vttm::setup_test

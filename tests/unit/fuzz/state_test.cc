// SPDX-License-Identifier: Apache-2.0
// Saved states that are not what they were: refused by name, and nothing has changed; or taken, and
// then they are a device like any other.
#include <gtest/gtest.h>

#include <cstring>

#include "tests/fuzz/state_input.h"

namespace vttm::fuzz {
namespace {

using model::StateBytes;

class Tampered : public ::testing::Test {
protected:
    std::string load(const StateBytes& bytes, bool thorough = true) {
        std::string refusal;
        EXPECT_EQ(target.load(bytes, refusal, thorough), "");
        return refusal;
    }
    static uint64_t get(const StateBytes& b, size_t at, unsigned size) {
        uint64_t v = 0;
        std::memcpy(&v, &b[at], size);
        return v;
    }
    // @base with @value in place of the @size bytes @at, and a right checksum.
    static StateBytes with(StateBytes b, size_t at, uint64_t value, unsigned size) {
        std::memcpy(&b[at], &value, size);
        model::seal_state(b);
        return b;
    }
    // Where the content of the @n-th section of that name begins.
    static size_t section(const StateBytes& b, const std::string& name, unsigned n = 0) {
        std::string tag = name;
        tag.resize(8);
        const std::string all(b.begin(), b.end());
        size_t at = all.find(tag);
        while (n--) at = all.find(tag, at + 1);
        EXPECT_NE(at, all.npos) << name;
        return at + 12;
    }

    StateTarget target;
};

TEST_F(Tampered, SoundStatesAreTaken) {
    ASSERT_EQ(target.bases().size(), 4u);
    for (const StateBytes& base : target.bases()) {
        EXPECT_EQ(load(base), "");
        EXPECT_EQ(load(target.bases()[0]), "");
    }
}

TEST_F(Tampered, EachLengthButTheRightOne) {
    for (unsigned which : {1, 3}) {
        const StateBytes& base = target.bases()[which];
        for (size_t n = 0; n < base.size(); n++) {
            const StateBytes cut(base.begin(), base.begin() + n);
            ASSERT_NE(load(cut), "") << n;
            if (n < model::kStateHeader + model::kStateChecksum) continue;
            // One that knows its length, and has a checksum.
            ASSERT_NE(load(with(cut, 12, n, 4)), "") << n;
        }
        StateBytes more = base;
        more.push_back(0);
        EXPECT_NE(load(more).find("says that it has"), std::string::npos);
        EXPECT_NE(load(with(more, 12, more.size(), 4)).find("behind the last field"),
                  std::string::npos);
    }
}

TEST_F(Tampered, EachByteFlipped) {
    for (const StateBytes& base : target.bases())
        for (size_t i = 0; i < base.size(); i++) {
            StateBytes b = base;
            b[i] ^= 0x10;
            ASSERT_NE(load(b), "") << i;
        }
}

// With a right checksum: whatever it is, it is refused whole or is a device.
TEST_F(Tampered, EachByteChangedOnPurpose) {
    unsigned taken = 0, refused = 0;
    for (unsigned which : {2, 3}) {
        const StateBytes& base = target.bases()[which];
        for (size_t i = 0; i + model::kStateChecksum < base.size(); i++)
            for (unsigned flip : {0x01, 0x80, 0xff}) {
                const bool ok = load(with(base, i, base[i] ^ flip, 1), i % 16 == 0).empty();
                ASSERT_FALSE(::testing::Test::HasFailure()) << i << " " << flip;
                ++(ok ? taken : refused);
            }
    }
    EXPECT_GT(taken, 1000u);
    EXPECT_GT(refused, 1000u);
}

TEST_F(Tampered, TheHeader) {
    const StateBytes& base = target.bases()[0];
    EXPECT_EQ(load(with(base, 8, 2, 4)),
              "the state has version 2, and this model knows but version 1");
    EXPECT_EQ(load(with(base, 8, 0, 4)),
              "the state has version 0, and this model knows but version 1");
    EXPECT_EQ(load(with(base, 0, 'V', 1)), "this is no state of a vttm GPU");
    EXPECT_EQ(load({}), "this is no state of a vttm GPU");
    StateBytes changed = base;
    changed[100] ^= 1;
    EXPECT_EQ(load(changed), "the checksum of the state is wrong: it was changed on its way");
}

TEST_F(Tampered, AnotherDevice) {
    const StateBytes& base = target.bases()[0];
    const char* fields[] = {"abi",     "features", "page-size", "vram-size",
                            "engines", "rings",    "vms",       "vectors"};
    for (unsigned i = 0; i < std::size(fields); i++) {
        const size_t at = section(base, "identity") + i * 8;
        const uint64_t here = get(base, at, 8);
        EXPECT_EQ(load(with(base, at, here * 2, 8)),
                  "the state, identity: '" + std::string(fields[i]) + "' is " +
                      std::to_string(here * 2) + " there and " + std::to_string(here) + " here");
    }
}

// One wrong value for the fields that a device relies on, and what is said of it.
TEST_F(Tampered, FieldsAreNamed) {
    const StateBytes& running = target.bases()[2];
    const auto ring = [&](unsigned n, size_t field) { return section(running, "ring", n) + field; };
    struct Case {
        size_t at;
        unsigned size;
        uint64_t value;
        const char* says;
    } cases[] = {
        {section(running, "device"), 8, 3, "device: 'vram-visible' is no size of BAR2"},
        {section(running, "irq"), 4, 1 << VTTM_NUM_VECTORS,
         "irq: 'status' is 16: at most 15 can be"},
        {section(running, "vms") + 8 * VTTM_MAX_VMS, 4, 2, "vms: 'mode' is 2: at most 1 can be"},
        {section(running, "fltring"), 1, 2, "fault ring: 'enabled' is 2: it is 0 or 1"},
        {section(running, "fltring") + 1, 8, 1, "fault ring: 'base' is not aligned to a page"},
        {section(running, "fltring") + 9, 4, 5000, "fault ring: 'size' is no size of a fault ring"},
        {section(running, "fltring") + 13, 4, 1000, "fault ring: 'get' does not follow PUT"},
        {section(running, "balloon") + 8, 8, 4096, "balloon: 'limit' is not a multiple of 2 MiB"},
        {section(running, "balloon"), 8, uint64_t{8} << 20,
         "balloon: 'target' is 8388608: at most 4194304 can be"},
        {ring(0, 1), 1, 1, "engine copy, ring 0: 'halted' is set, and there is a packet"},
        {ring(1, 3), 1, 1, "engine copy, ring 1: 'stalled' is set, and nothing stalls"},
        {ring(0, 4), 1, 1, "engine copy, ring 0: 'waiting' is set, and nothing waits"},
        {ring(2, 5), 4, 4, "engine copy, ring 2: 'priority' is 4: at most 3 can be"},
        {ring(2, 13), 8, 17, "engine copy, ring 2: 'base' is not aligned to a page"},
        {ring(7, 21), 4, 4097, "engine stamp, ring 3: 'size' is no size of a ring"},
        {ring(7, 25), 4, 1 << 20,
         "engine stamp, ring 3: 'head' is 1048576: at most 1048572 can be"},
        {ring(7, 41), 4, 256, "engine stamp, ring 3: 'vm' does not exist"},
        {ring(7, 45), 4, 7, "engine stamp, ring 3: 'error' is set, and something runs"},
        {ring(7, 53), 4, 5, "engine stamp, ring 3: 'depth' is 5: at most 4 can be"},
        {ring(7, 57), 4, 3, "engine stamp, ring 3: 'open' is 3: at most 2 can be"},
        {ring(6, 77), 4, 0x06000001, "engine stamp, ring 2: 'packet' is none of this engine"},
    };
    for (const Case& c : cases)
        EXPECT_EQ(load(with(running, c.at, c.value, c.size)), "the state, " + std::string(c.says))
            << c.at;
}

}  // namespace
}  // namespace vttm::fuzz

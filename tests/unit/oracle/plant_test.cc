// SPDX-License-Identifier: Apache-2.0
// Self-test of the oracle: each planter in each store, and the host must find exactly what it did.
#include "host-backend/oracle/plant.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>

#include "tests/unit/oracle/fake_guest.h"

namespace vttm::oracle::test {
namespace {

struct Where {
    const char* name;
    PlaceKind kind;
};

class Plant : public ::testing::TestWithParam<Where> {
protected:
    Plant() {
        g_.add(1, 40, Domain::kGtt, 5);
        g_.add(2, 8, Domain::kVram, 5);
        g_.put_run(1, 0, 20, in_swap(100));
        g_.put_run(1, 20, 10, in_shmem(g_.gpa(3000)));
        g_.put_run(1, 30, 10, in_gtt(g_.gpa(50)));
        g_.put_run(2, 0, 8, in_vram(0x10000));
    }

    std::unique_ptr<PageStore> store() {
        if (GetParam().kind == PlaceKind::kSwap) return std::make_unique<SwapStore>(g_.swap_fd());
        if (GetParam().kind == PlaceKind::kVram) return std::make_unique<VramStore>(g_.vram());
        return std::make_unique<RamStore>(g_.ram());
    }
    // The @n-th page that lies in this store.
    Target target(std::uint64_t n) {
        PageId id{1, n};
        if (GetParam().kind == PlaceKind::kShmem) id.page = 20 + n;
        if (GetParam().kind == PlaceKind::kGtt) id.page = 30 + n;
        if (GetParam().kind == PlaceKind::kVram) id = {2, n};
        const Place place = g_.placement().find(id);
        EXPECT_EQ(place.kind, GetParam().kind);
        return {.id = g_.ledger.expected(id).value(), .addr = store_addr(place)};
    }
    // The host must find the planted pages, with their classes, and nothing else; and after the
    // undo nothing at all.
    HostCheck expect_found(const Planted& planted) {
        EXPECT_FALSE(planted.text.empty());
        const HostCheck c = check_host(g_.ledger, g_.placement(), g_.view());
        EXPECT_EQ(c.report.bad.size(), planted.changes.size());
        for (const auto& change : planted.changes) {
            bool found = false;
            for (const BadPage& b : c.report.bad) {
                if (b.id != change.id) continue;
                found = true;
                EXPECT_EQ(b.cls, change.expected) << planted.text;
                EXPECT_EQ(store_addr(b.where), change.addr);
            }
            EXPECT_TRUE(found) << planted.text;
        }
        planted.undo(*store());
        EXPECT_TRUE(check_host(g_.ledger, g_.placement(), g_.view()).report.bad.empty());
        return c;
    }

    FakeGuest g_;
};

TEST_P(Plant, OneBit) {
    const std::uint32_t bits[] = {12345};
    const HostCheck c = expect_found(plant_bit_flip(*store(), target(3), bits));
    EXPECT_EQ(c.report.bad.at(0).flipped_bits, 1u);
    EXPECT_EQ(c.report.bad.at(0).first_bad_bit, 12345u);
    EXPECT_EQ(c.report.bad.at(0).first_bad_line, 12345u / 512);
}

TEST_P(Plant, EightBits) {
    const std::uint32_t bits[] = {0, 1, 511, 512, 5000, 20000, 32766, 32767};
    const HostCheck c = expect_found(plant_bit_flip(*store(), target(0), bits));
    EXPECT_EQ(c.report.bad.at(0).flipped_bits, 8u);
}

TEST_P(Plant, SwappedPages) {
    const HostCheck c = expect_found(plant_swapped_pages(*store(), target(2), target(6)));
    EXPECT_EQ(c.report.bad.at(0).found->page, c.report.bad.at(1).id.page);
    EXPECT_EQ(c.report.bad.at(1).found->page, c.report.bad.at(0).id.page);
}

TEST_P(Plant, StalePage) {
    const HostCheck c = expect_found(plant_stale(*store(), target(4), 4));
    EXPECT_EQ(c.report.bad.at(0).found->generation, 4u);
}

TEST_P(Plant, ZeroedPage) { expect_found(plant_zero(*store(), target(7))); }

TEST_P(Plant, RefusesATargetThatIsNotThere) {
    Target t = target(1);
    t.id.generation = 4;
    const std::uint32_t bits[] = {1};
    EXPECT_THROW(plant_bit_flip(*store(), t, bits), std::logic_error);
    EXPECT_THROW(plant_zero(*store(), t), std::logic_error);
    EXPECT_THROW(plant_stale(*store(), t, 1), std::logic_error);
    EXPECT_THROW(plant_swapped_pages(*store(), t, target(2)), std::logic_error);
    EXPECT_THROW(plant_swapped_pages(*store(), target(2), t), std::logic_error);
    EXPECT_TRUE(check_host(g_.ledger, g_.placement(), g_.view()).report.bad.empty())
        << "a refused fault must leave nothing behind";
}

TEST_P(Plant, RefusesFaultsThatAreNone) {
    const Target t = target(1);
    EXPECT_THROW(plant_bit_flip(*store(), t, {}), std::logic_error);
    const std::uint32_t twice[] = {5, 5};
    EXPECT_THROW(plant_bit_flip(*store(), t, twice), std::logic_error);
    const std::uint32_t outside[] = {32768};
    EXPECT_THROW(plant_bit_flip(*store(), t, outside), std::logic_error);
    const std::uint32_t many[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    EXPECT_THROW(plant_bit_flip(*store(), t, many), std::logic_error);
    EXPECT_THROW(plant_stale(*store(), t, t.id.generation), std::logic_error);
    EXPECT_THROW(plant_swapped_pages(*store(), t, t), std::logic_error);
}

TEST_P(Plant, RefusesAddressesOutside) {
    Target t = target(1);
    for (const std::uint64_t addr : {t.addr + 1, std::uint64_t{1} << 45}) {
        t.addr = addr;
        EXPECT_THROW(plant_zero(*store(), t), std::out_of_range);
        EXPECT_THROW(store()->write(addr, PageBytes{}), std::out_of_range);
    }
}

INSTANTIATE_TEST_SUITE_P(Stores, Plant,
                         ::testing::Values(Where{"swap", PlaceKind::kSwap},
                                           Where{"shmem", PlaceKind::kShmem},
                                           Where{"gtt", PlaceKind::kGtt},
                                           Where{"vram", PlaceKind::kVram}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(SwapStore, TheHeaderIsNoPage) {
    FakeGuest g;
    SwapStore store(g.swap_fd());
    PageBytes page{};
    EXPECT_THROW(store.read(0, page), std::out_of_range);
    EXPECT_THROW(store.write(0, page), std::out_of_range);
}

TEST(SwapStore, ABadDescriptor) {
    SwapStore store(-1);
    PageBytes page{};
    EXPECT_THROW(store.read(kPageSize, page), std::system_error);
}

TEST(StoreAddr, OfEachPlace) {
    EXPECT_EQ(store_addr(in_swap(3)), 3 * kPageSize);
    EXPECT_EQ(store_addr(in_cache(0x5000, 3)), 0x5000u);
    EXPECT_EQ(store_addr(in_vram(0x6000)), 0x6000u);
    EXPECT_THROW(store_addr(Place{}), std::logic_error);
}

}  // namespace
}  // namespace vttm::oracle::test

// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/ledger.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace vttm::oracle {
namespace {

TEST(Ledger, ExpectedIdentityFollowsFills) {
    Ledger ledger(42);
    ledger.add({.id = 7, .pages = 3});
    EXPECT_FALSE(ledger.expected({7, 0})) << "never filled: nothing to expect";
    ledger.filled(7, 1);
    ledger.filled(7, 5);
    const auto id = ledger.expected({7, 2});
    ASSERT_TRUE(id);
    EXPECT_EQ(id->key, 42u);
    EXPECT_EQ(id->buffer, 7u);
    EXPECT_EQ(id->page, 2u);
    EXPECT_EQ(id->generation, 5u);
    EXPECT_FALSE(ledger.expected({7, 3}));
    EXPECT_FALSE(ledger.expected({8, 0}));
}

TEST(Ledger, CountsPagesByDomain) {
    Ledger ledger(1);
    ledger.add({.id = 1, .pages = 10, .domain = Domain::kGtt});
    ledger.add({.id = 2, .pages = 4, .domain = Domain::kVram});
    ledger.filled(2, 1);
    EXPECT_EQ(ledger.pages(), 14u);
    EXPECT_EQ(ledger.pages(Domain::kGtt), 10u);
    EXPECT_EQ(ledger.pages(Domain::kVram), 4u);
    EXPECT_EQ(ledger.filled_pages(), 4u);
}

TEST(Ledger, RefusesWhatCannotBe) {
    Ledger ledger(1);
    EXPECT_THROW(ledger.add({.id = 0, .pages = 1}), std::invalid_argument);
    EXPECT_THROW(ledger.add({.id = 1, .pages = 0}), std::invalid_argument);
    ledger.add({.id = 1, .pages = 1});
    EXPECT_THROW(ledger.add({.id = 1, .pages = 1}), std::invalid_argument);
    EXPECT_THROW(ledger.filled(2, 1), std::invalid_argument);
    ledger.filled(1, 2);
    EXPECT_THROW(ledger.filled(1, 2), std::invalid_argument);
    EXPECT_THROW(ledger.filled(1, 1), std::invalid_argument);
    EXPECT_THROW(ledger.freed(3), std::invalid_argument);
}

TEST(Ledger, AFreedIdIsNeverUsedAgain) {
    Ledger ledger(1);
    ledger.add({.id = 1, .pages = 1});
    ledger.freed(1);
    EXPECT_TRUE(ledger.was_freed(1));
    EXPECT_EQ(ledger.find(1), nullptr);
    EXPECT_THROW(ledger.add({.id = 1, .pages = 1}), std::invalid_argument);
    ledger.add({.id = 2, .pages = 1});
    ledger.freed_all();
    EXPECT_TRUE(ledger.was_freed(2));
    EXPECT_EQ(ledger.pages(), 0u);
}

}  // namespace
}  // namespace vttm::oracle

// SPDX-License-Identifier: Apache-2.0
// What the tests of the backup share: stamped buffers, ttm's counters, the switches, the swap area.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "guest-driver/libvttm/agent/buffer_set.h"
#include "guest-driver/libvttm/agent/drm_backend.h"
#include "tests/guest/guest_test.h"

namespace vttm::guest::test {

inline constexpr const char* kBackupSwitch = "/sys/module/ttm/parameters/backup";
inline constexpr const char* kBackupStats = "/sys/kernel/debug/ttm/backup_stats";
inline constexpr const char* kModes[] = {"copy", "insert", "swapcache"};

// The counter of pages backed up in a mode.
const char* pages_counter(std::string_view mode);

// The pages of all buffers by where they are: for each of kPlacementKinds.
Stats pages_by_kind(const SystemFiles& files);

// Stamped buffers through the agent's own code: batches, both witnesses.
class Stamped {
public:
    Stamped() : buffers_(gpu_) {}

    void create(std::uint64_t bytes, std::uint64_t each, Domain domain = Domain::kGtt,
                Caching caching = Caching::kWb);
    void fill(std::uint32_t generation, Actor by = Actor::kDevice);
    // Bad pages.
    std::uint64_t count_bad(std::uint32_t generation, Actor by);
    void expect_intact(std::uint32_t generation, Actor by = Actor::kDevice);
    void make_resident();

private:
    DrmBackend gpu_;
    BufferSet buffers_;
    std::uint32_t last_id_ = 0;
};

// The swap area of the guest.
class Swap {
public:
    explicit Swap(const SystemFiles& files);

    bool found() const { return !device_.empty(); }
    const std::string& device() const { return device_; }
    bool is_on() const;
    // 0, or the errno of swapoff(2), which SIGALRM ends after `seconds` (EINTR).
    int off(unsigned seconds);
    // With discard as the guest's init does, else without; 0 or the errno.
    int on();

private:
    const SystemFiles& files_;
    std::string device_;
};

// Two stamped GTT buffers on one device: content 1 is needed, content 2 (2 MiB) is soon not any more.
struct KeepAndDrop {
    explicit KeepAndDrop(std::uint64_t keep_bytes);

    Gpu gpu;
    Gpu::Bound keep;
    Gpu::Bound drop;
};

// Skips if there is nothing to test; puts ttm.backup, the device's own mode and the swap area back.
class SwitchTest : public GuestTest {
protected:
    void SetUp() override;
    void TearDown() override;

    // ttm's own counters; empty without our series, where there is `copy` only.
    Stats backup_stats() const;
    std::int64_t shrunk_pages() const { return driver_stats(files).at("shrunk_pages"); }
    // Shrinks until `pages` were, or the shrinker has no more.
    void shrink_all(std::int64_t pages);

    // Skips the test if this kernel does not know the mode.
    void set_global(std::string_view mode);
    std::string device_switch() const { return find_driver_debugfs(files) + "/ttm_backup"; }

    std::unique_ptr<Swap> swap;

private:
    std::string old_global_;
    std::string old_device_;
};

// With each mode as the global one.
class BackupTest : public SwitchTest, public ::testing::WithParamInterface<const char*> {
protected:
    void SetUp() override;

    // That what was shrunk since `before` went the way that the mode names, all of it.
    void expect_mode_was_used(const Stats& before, std::int64_t shrunk) const;
    // The same for a mode that is not the parameter.
    void expect_used(std::string_view mode, const Stats& before, std::int64_t shrunk) const;
};

}  // namespace vttm::guest::test

// SPDX-License-Identifier: Apache-2.0
// A load that gets no memory changes nothing, wherever it is that there is none.
#include <cstdlib>
#include <new>

#include "tests/unit/model/state_fixture.h"

namespace {

// How many more allocations this thread gets; negative: all. Others are not concerned.
thread_local long allocations_left = -1;

void* get(size_t size) {
    if (!allocations_left) throw std::bad_alloc();
    if (allocations_left > 0) allocations_left--;
    if (void* p = std::malloc(size ? size : 1)) return p;
    throw std::bad_alloc();
}

}  // namespace

// For the whole program, so no other test has to know. What is aligned beyond the usual is left alone.
void* operator new(size_t size) { return get(size); }
void* operator new[](size_t size) { return get(size); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }

namespace vttm::model::test {
namespace {

// In the middle of a GATHER and of a HASH: the list of pieces and what waits to be hashed are memory.
TEST_F(State, NoMemoryForALoad) {
    map(kVa, kFree, kPages, {5});
    auto* list = reinterpret_cast<vttm_sg_entry*>(bus_.ram(kRecords));
    for (uint32_t i = 0; i < kPages; i++) list[i] = {kVa + i * kPage, uint32_t{kPage}, 0};
    put_packet(0, sg(false, S, kFree + (1 << 20), M, S, kRecords, kPages));
    kick(0);
    put_packet(1, hash(M, kVa, kPages * kPage - 7, 0, S, kResultAddr));
    kick(1);
    for (unsigned e : {0, 1}) ASSERT_TRUE(wait_status(e, VTTM_ENG_STATUS_STALLED));
    pause();
    const StateBytes middle = save();
    resume();
    for (unsigned e : {0, 1}) reset_engine(e);
    // What it is loaded into has a packet under way itself, and gave VRAM up.
    ASSERT_EQ(vttm_model_set_vram_target(model_.get(), kVramSize / 2), 0);
    wr64(VTTM_REG_VRAM_LIMIT_LO, kVramSize / 2);
    put_set_vm(0, kVm);
    put_packet(0, sg(false, S, kFree + (1 << 20), M, S, kRecords, kPages - 1));
    kick(0);
    ASSERT_TRUE(wait_status(0, VTTM_ENG_STATUS_STALLED));
    pause();
    const StateBytes before = save();

    char err[256];
    long n = 0;
    int ret = -1;
    for (; ret && n < 10000; n++) {
        allocations_left = n;
        ret = vttm_model_restore(model_.get(), middle.data(), middle.size(), nullptr, err,
                                 sizeof(err));
        allocations_left = -1;
        if (ret) {
            ASSERT_STREQ(err, "std::bad_alloc") << n;
            ASSERT_EQ(without_time(save()), without_time(before)) << n;
        }
    }
    ASSERT_EQ(ret, 0) << err;
    EXPECT_GT(n, 20);
    EXPECT_EQ(without_time(save()), without_time(middle));
    resume();
    tables_.set(root_, kVa + 5 * kPage, sys_pte(kFree + 5 * kPage));
    for (unsigned e : {0, 1}) answer(e, VTTM_ENG_ANSWER_RETRY);
    ASSERT_TRUE(wait_idle(0));
    ASSERT_TRUE(wait_idle(1));
    EXPECT_EQ(std::memcmp(bus_.ram(kFree + (1 << 20)), bus_.ram(kFree), kPages * kPage), 0);
}

}  // namespace
}  // namespace vttm::model::test

// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/bus.h"

#include <algorithm>

namespace vttm::model {

Bus::Mapping::~Mapping() {
    if (ptr_) bus_->ops_.dma_unmap(bus_->opaque_, addr_, ptr_, mapped_, write_);
}

Bus::Mapping Bus::map(uint64_t addr, uint64_t len, bool write) const {
    Mapping m;
    uint64_t got = len;
    void* ptr = ops_.dma_map(opaque_, addr, &got, write);

    if (!ptr) return m;
    m.bus_ = this;
    m.ptr_ = static_cast<uint8_t*>(ptr);
    m.addr_ = addr;
    m.mapped_ = got;
    m.usable_ = std::min(got, len);
    m.write_ = write;
    if (!m.usable_) return Mapping();
    return m;
}

}  // namespace vttm::model

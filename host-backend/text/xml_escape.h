// SPDX-License-Identifier: Apache-2.0
// Text for XML 1.0, for everybody who writes some (libvirt's domain, JUnit).
#pragma once

#include <string>
#include <string_view>

namespace vttm::text {

// What XML 1.0 cannot hold, not even escaped: control characters, what is no UTF-8, surrogates,
// U+FFFE and U+FFFF.
enum class Unfit {
    kRefuse,   // throw std::invalid_argument; tab and line ends are refused, too
    kReplace,  // each by '?'; tab and line ends become character references
};

// @text for an attribute in either quotes, or for an element.
std::string xml_escape(std::string_view text, Unfit unfit);

}  // namespace vttm::text

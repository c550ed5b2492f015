// SPDX-License-Identifier: Apache-2.0
// What is kept of struct up_peer (900 bytes, most of them padding of names) while a connection lasts: what its line in
// the access log will say, in one piece of memory.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "underpass/abi.h"
#include "underpass/ids.h"
#include "userspace_proxy/session/routes.h"

namespace underpass::session {

class Record {
 public:
  enum Name {
    kSourceNamespace,
    kSourcePod,
    kSourceIdentity,
    kDestinationNamespace,
    kDestinationPod,
    kDestinationIdentity,
    kServiceNamespace,
    kServiceName,
    kNames
  };

  Record() = default;  // of a connection that nobody knows
  // `pod` is whose listener it came to.
  Record(const up_peer& peer, NetnsCookie pod, const Routes& routes);

  // Empty: not known.
  [[nodiscard]] std::string_view name(Name which) const {
    const std::size_t begin = which == 0 ? 0 : ends_[which - 1];
    return std::string_view(names_).substr(begin, ends_[which] - begin);
  }

  std::chrono::system_clock::time_point start;
  up_addr client{};
  up_addr server{};
  up_addr dialled{};
  __be16 client_port = 0;  // 0: not known, and so below
  __be16 server_port = 0;
  __be16 dialled_port = 0;
  bool inbound = false;

 private:
  void add(Name which, std::string_view text);

  std::string names_;
  std::array<std::uint16_t, kNames> ends_{};  // of each name, in names_
};

}  // namespace underpass::session

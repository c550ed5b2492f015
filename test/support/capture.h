// SPDX-License-Identifier: Apache-2.0
// What goes over a link, as anybody sees it who listens there (AF_PACKET, see packet(7)): whole packets of both
// directions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "underpass/unique_fd.h"

namespace underpass::test {

class Capture {
 public:
  // From now on. The device is one of the network namespace at this path.
  Capture(const std::string& netns, const std::string& device);

  // Takes what has come meanwhile. Throws when packets were lost: then it has not seen everything.
  void take();
  // take(), and: whether these bytes stand in any packet. Bytes at the border of two packets are not found: ask for a
  // short text that was sent often.
  [[nodiscard]] bool has(std::string_view text);
  [[nodiscard]] const std::vector<std::string>& packets() const { return packets_; }
  [[nodiscard]] std::size_t bytes() const;
  // Of both directions that have this TCP port at either end.
  [[nodiscard]] std::size_t count_of_port(std::uint16_t port);

 private:
  UniqueFd fd_;
  std::vector<std::string> packets_;
};

}  // namespace underpass::test

// SPDX-License-Identifier: Apache-2.0
#include "userspace_proxy/control/request_packets.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace underpass::control {
namespace {

// Calls `use` with at most `most` of them at a time.
template <typename T, typename Use>
void in_parts(std::vector<T> all, std::size_t most, Use use) {
  for (std::size_t at = 0; at < all.size(); at += most) {
    const auto begin = std::make_move_iterator(all.begin() + static_cast<std::ptrdiff_t>(at));
    use(std::vector<T>(begin, begin + static_cast<std::ptrdiff_t>(std::min(most, all.size() - at))));
  }
}

}  // namespace

std::vector<worker::Message> packets_of(ToldRequests told) {
  std::vector<worker::Message> out;
  in_parts(std::move(told.series), kSeriesPerPacket,
           [&](std::vector<RequestSeries> part) { out.emplace_back(worker::Metrics{.series = std::move(part)}); });
  in_parts(std::move(told.notices), kNoticesPerPacket, [&](std::vector<PolicyNoticeCount> part) {
    out.emplace_back(worker::Metrics{.series = {}, .notices = std::move(part)});
  });
  in_parts(std::move(told.flows.flows), kFlowsPerPacket,
           [&](std::vector<RequestFlow> part) { out.emplace_back(worker::Requests{.flows = std::move(part)}); });
  if (told.flows.skipped != 0) out.emplace_back(worker::Requests{.flows = {}, .skipped = told.flows.skipped});
  return out;
}

}  // namespace underpass::control

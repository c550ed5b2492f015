// SPDX-License-Identifier: Apache-2.0
// Which thread asked for how many dial sockets, so that a batch from the agent is dealt to those that asked, in turn.
// What nobody asked for is spread evenly.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "underpass/ids.h"
#include "underpass/unique_fd.h"

namespace underpass::control {

class DialDesk {
 public:
  void want(unsigned thread, NetnsCookie pod, bool v6, std::uint64_t count) {
    auto& wants = wants_[{pod, v6}];
    // One that asks again has waited too long for the answer to its last question: it is the same wish.
    const auto same = std::ranges::find(wants, thread, &Want::thread);
    if (same != wants.end())
      same->count = count;
    else
      wants.push_back({thread, count});
  }

  // What each of `threads` threads gets.
  std::vector<std::vector<UniqueFd>> deal(unsigned threads, NetnsCookie pod, bool v6, std::vector<UniqueFd> sockets) {
    std::vector<std::vector<UniqueFd>> hands(threads);
    auto& wants = wants_[{pod, v6}];
    for (auto& socket : sockets) {
      unsigned thread = 0;
      if (wants.empty()) {
        thread = next_++ % threads;
      } else {
        thread = wants.front().thread % threads;
        if (--wants.front().count == 0) wants.pop_front();
      }
      hands[thread].push_back(std::move(socket));
    }
    // A batch is one answer: who got less than it asked for asks again by itself.
    std::erase_if(wants, [&](const Want& want) { return !hands[want.thread % threads].empty(); });
    return hands;
  }

  void forget(NetnsCookie pod) {
    wants_.erase({pod, false});
    wants_.erase({pod, true});
  }
  void clear() { wants_.clear(); }

 private:
  struct Want {
    unsigned thread = 0;
    std::uint64_t count = 0;  // not 0
  };

  std::map<std::pair<NetnsCookie, bool>, std::deque<Want>> wants_;
  unsigned next_ = 0;
};

}  // namespace underpass::control

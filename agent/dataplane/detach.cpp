// SPDX-License-Identifier: Apache-2.0
#include "agent/dataplane/detach.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include "agent/dataplane/dataplane.h"
#include "agent/dataplane/netns.h"
#include "agent/dataplane/pins.h"
#include "agent/dataplane/sock_destroy.h"

namespace underpass::dataplane {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(50);

void unpin(const std::string& pin_dir, const std::string& name, std::vector<std::string>& removed) {
  if (::unlink((pin_dir + "/" + name).c_str()) == 0) removed.push_back(name);
}

// Ends both sockets, so that neither side takes a truncated stream for a whole one, and unmaps them: a dead socket that
// its application keeps would keep our programs too.
void cut(Maps& maps, const up_conn& record) {
  for (const int end : {UP_CLIENT, UP_SERVER}) {
    const auto& local = record.end[end];
    if (local.cookie == 0 || (record.closed & 1u << end) != 0) continue;
    if (auto netns = find_netns(local.netns_cookie)) (void)destroy_socket(netns->get(), local, record.end[1 - end]);
    maps.unmap_socket(local.cookie);
  }
}

// Leads every short-circuited connection back to TCP; what does not drain in time is cut.
Result<std::vector<CutConnection>> drain(Programs& programs, std::chrono::milliseconds timeout,
                                         const std::function<void(std::string_view)>& progress) {
  Maps& maps = programs.maps();
  if (auto done = programs.stop(0); !done) return std::unexpected(done.error());

  const auto deadline = std::chrono::steady_clock::now() + timeout;
  std::size_t reported = 0;
  for (;;) {
    // First a pause: a message that was decided before the stop may still be on its way into a queue.
    std::this_thread::sleep_for(kPoll);
    if (auto done = programs.sweep(); !done) return std::unexpected(done.error());
    const auto waiting = unmap_drained(maps, maps.connections());
    if (waiting.empty()) return std::vector<CutConnection>{};
    if (std::chrono::steady_clock::now() >= deadline) {
      std::vector<CutConnection> result;
      for (const auto& connection : waiting) {
        result.push_back({.id = connection.id, .description = describe(connection.record)});
        cut(maps, connection.record);
      }
      return result;
    }
    if (waiting.size() != reported)
      progress("waiting for " + std::to_string(waiting.size()) + " connection(s) whose reader has not caught up");
    reported = waiting.size();
  }
}

}  // namespace

std::vector<std::string> remove_pins(const std::string& pin_dir) {
  std::vector<std::string> removed;
  const auto pins = list_pins(pin_dir);
  if (!pins) return removed;
  // Links first: nothing new is decided while the maps go.
  for (const auto* names : {&pins->links, &pins->maps, &pins->previous, &pins->other})
    for (const auto& name : *names) unpin(pin_dir, name, removed);
  ::rmdir(pin_dir.c_str());
  return removed;
}

Result<DetachResult> detach_node(const std::string& pin_dir, std::chrono::milliseconds timeout,
                                 const std::function<void(std::string_view)>& progress) {
  DetachResult result;
  const auto layout = check_layout(pin_dir);
  if (layout && *layout == LayoutState::kNone) return result;
  auto switched_off = throw_kill_switch(pin_dir);
  if (layout && *layout == LayoutState::kOurs) {
    if (!switched_off) return std::unexpected(switched_off.error());
    auto programs = Programs::load(pin_dir, Programs::Purpose::kInspect, {});
    if (!programs) return std::unexpected(programs.error());
    // No new connection is taken in; sockops stays to see the live ones close.
    unpin(pin_dir, "link_connect4", result.removed);
    unpin(pin_dir, "link_connect6", result.removed);
    auto cut_connections = drain(**programs, timeout, progress);
    if (!cut_connections) return std::unexpected(cut_connections.error());
    result.cut = std::move(*cut_connections);
  } else if (!layout) {
    progress(layout.error().message);
  } else if (*layout == LayoutState::kPrevious) {
    progress(pin_dir + ": the pinned maps are of an earlier layout: connections keep the programs they have");
  }
  for (auto& name : remove_pins(pin_dir)) result.removed.push_back(std::move(name));
  if (auto left = list_pins(pin_dir); left && !left->empty()) return fail("could not remove all of " + pin_dir);
  return result;
}

}  // namespace underpass::dataplane

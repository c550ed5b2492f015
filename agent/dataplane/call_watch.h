// SPDX-License-Identifier: Apache-2.0
// Attaches what sees splice() and FIONREAD on the sockets of the node (bpf/calls.h): fentry where the kernel has it,
// else hardware watchpoints on the slots of the socket operations, four of them, which is all that an x86 CPU has.
// Pinned, so that the guard does not end with the agent.
#pragma once

#include <string>

#include "underpass/result.h"

struct underpass_bpf;

namespace underpass::dataplane {

enum class CallMeans {
  kNone,         // neither: such calls cannot be seen
  kFentry,       // costs nobody anything
  kWatchpoints,  // the watched calls themselves take some microseconds more, on every TCP socket of the node
};

struct CallProbe {
  CallMeans means = CallMeans::kNone;
  std::string missing;  // kNone: why
};

// kAlways: watchpoints whatever they cost.
enum class Watchpoints { kAuto, kAlways, kNever };

// What this kernel and this processor have, found by trying. Some processors copy memory many times slower while any
// watchpoint is armed (`rep movs` loses its fast path), so on those kAuto has none.
CallProbe probe_call_means(Watchpoints watchpoints);

// Attaches and pins; what an earlier agent pinned with the very same programs stays. kNone: does nothing.
Result<void> attach_call_watch(underpass_bpf& skeleton, CallMeans means, const std::string& pin_dir);
void detach_call_watch(const std::string& pin_dir);
bool is_call_watch_pinned(const std::string& pin_dir);

}  // namespace underpass::dataplane

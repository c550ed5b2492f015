// SPDX-License-Identifier: Apache-2.0
// The plugin's end of a question to the agent.
#pragma once

#include <chrono>
#include <string>

#include "agent/cni/protocol.h"
#include "underpass/result.h"

namespace underpass::cni {

struct Patience {
  std::chrono::milliseconds to_take;    // for the question to be taken; one that does not take it hangs
  std::chrono::milliseconds to_answer;  // in all, once it is taken
};

// Blocks for the longer of both at most. An error is an agent that is not there: no socket, nobody behind it, one that
// hangs, dies in the middle, or does not understand. One that hangs up is asked again: another may have its socket.
// `netns`: -1 for none.
Result<Answer> ask_agent(const std::string& socket, const Request& request, int netns, Patience patience);

}  // namespace underpass::cni

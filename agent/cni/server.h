// SPDX-License-Identifier: Apache-2.0
// The agent's end of the plugin's questions. Root alone may ask (0600, peer credentials). An answer may come later; a
// question whose asker has gone is dropped. Askers are few, each has little time to say what it wants, and one that
// cannot be understood is told so, which for the plugin is as if there were no agent.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "agent/cni/protocol.h"
#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace boost::asio {
class io_context;
}

namespace underpass::cni {

struct Question {
  Request request;
  UniqueFd netns;  // a network namespace; none for DEL where it is gone already
};

struct ServerLimits {
  std::size_t askers = 256;
  std::chrono::milliseconds question{5'000};  // from the connection to the question
  std::chrono::milliseconds answer{150'000};  // from there to the handler's answer; longer than a plugin waits
};

class Server {
 public:
  // May be called once, now or later, in the thread of `io`. Dropped unused, the question is refused.
  using Reply = std::function<void(Answer)>;
  using Handler = std::function<void(Question, Reply)>;

  // `path`: of the socket; one left by a dead agent is replaced, `handed` is one that another agent has handed over.
  // `io` outlives the server.
  static Result<std::unique_ptr<Server>> listen(boost::asio::io_context& io, std::string path, Handler handler,
                                                ServerLimits limits = {}, UniqueFd handed = {});
  virtual ~Server() = default;  // removes the socket; who waits is refused
  // Listens no more, for another agent to; who waits will see the connection end, and ask that one. None where somebody
  // else has the path.
  virtual UniqueFd hand_over() = 0;
};

}  // namespace underpass::cni

// SPDX-License-Identifier: Apache-2.0
// The agent's end of the admin protocol (protocol.h): a unix socket that only root and the agent's own user may use.
// It is for an operator and a handful of scripts, so everything about it is bounded: clients, request lines, idle time,
// and the time a client may take to read its answer.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/admin/protocol.h"
#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace boost::asio {
class io_context;
}

namespace underpass::admin {

// Answers one request, now or later; on the io_context's thread. Only the first call counts, and one that comes after
// the client or the server has gone does nothing. A Reply that is dropped unused answers that the command failed.
class Reply {
 public:
  using Deliver = std::function<void(Answer, std::vector<UniqueFd>)>;
  explicit Reply(Deliver deliver) : deliver_(std::move(deliver)) {}

  // `descriptors` go beside the answer (SCM_RIGHTS).
  void operator()(Answer answer, std::vector<UniqueFd> descriptors = {}) const {
    deliver_(std::move(answer), std::move(descriptors));
  }

 private:
  Deliver deliver_;
};

// Serves one request. It must not throw and must not block; what takes time keeps `reply` for later (`request` lives no
// longer than the call).
using Handler = std::function<void(const boost::json::object& request, Reply reply)>;

// Handlers by command name; any other command is refused with the names that exist.
Handler dispatch(std::map<std::string, Handler, std::less<>> commands);

struct ServerLimits {
  std::size_t connections = 64;
  std::size_t request_bytes = 64UL * 1024;
  std::chrono::milliseconds idle{60'000};   // for a whole request to arrive
  std::chrono::milliseconds write{30'000};  // for an answer to be taken
};

class Server {
 public:
  // Takes `path` over from an agent that died, and refuses when one answers there, unless that has `handed` its socket
  // over. The socket is 0600 from the moment it exists; its folder is made when it is missing. `io` must outlive the
  // server.
  static Result<std::unique_ptr<Server>> listen(boost::asio::io_context& io, const std::string& path, Handler handler,
                                                ServerLimits limits = {}, UniqueFd handed = {});

  // Closes all connections and removes the socket, unless another agent has taken the path since.
  ~Server();
  // Listens no more, for another process to: connections stay. None where somebody else has the path.
  UniqueFd hand_over();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

 private:
  struct State;
  explicit Server(std::shared_ptr<State> state) : state_(std::move(state)) {}

  std::shared_ptr<State> state_;
};

}  // namespace underpass::admin

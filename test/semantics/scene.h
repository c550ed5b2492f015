// SPDX-License-Identifier: Apache-2.0
// What a behaviour is given: two places between which it makes connections, and a sheet of paper. It works with real
// sockets and writes down what it sees, line by line, in words that are the same every time over plain TCP. The scene
// also keeps account of which way its connections went.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "test/support/sockets.h"
#include "test/support/world.h"

namespace underpass::test {

// Where a behaviour happens. Most behaviours have a sender and a reader: whether the sender is the client or the server
// is decided here, so that each behaviour is seen at both ends.
struct Stage {
  Place client;
  Place server;
  int family = AF_INET;
  bool server_sends = false;
};

// One connection of a behaviour.
struct Link {
  UniqueFd client;
  UniqueFd server;
  bool server_sends = false;

  [[nodiscard]] UniqueFd& sending_end() { return server_sends ? server : client; }
  [[nodiscard]] UniqueFd& reading_end() { return server_sends ? client : server; }
  [[nodiscard]] int sender() const { return (server_sends ? server : client).get(); }
  [[nodiscard]] int reader() const { return (server_sends ? client : server).get(); }
};

// The way of a behaviour's connections.
struct Account {
  std::string way = "none";  // short-circuit, direct; "short-circuit, direct": it began as one and ended as the other
  std::string reason;        // why not, or why not always, short-circuit
  std::uint64_t redirected = 0;  // bytes that went socket to socket, those of the warm-up not counted
};

// This machine cannot show the behaviour; what() says why.
class Skip : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Scene {
 public:
  Scene(const World& world, Stage stage);

  // The next line: the parts with a blank between two.
  template <typename... Parts>
  void saw(const Parts&... parts) {
    std::ostringstream line;
    const char* blank = "";
    ((line << blank << parts, blank = " "), ...);
    lines_.push_back(line.str());
    look();
  }

  // A connection without a byte on it.
  Link connect(const Prepare& sender = {}, const Prepare& reader = {});
  // A connection that has left the first reads behind, which are always by TCP: from here on it can be redirected.
  Link connect_warm(const Prepare& sender = {}, const Prepare& reader = {});
  // Non-blocking exchanges in both directions, one message at a time.
  void warm_up(const Link& link);
  // A connection that was made by hand.
  Link adopt(UniqueFd client, UniqueFd server);
  // Closes an end; the account of the connection is taken before.
  void close(UniqueFd& end);
  // Takes the account of all connections so far. A record goes with its connection, so this is done with every line.
  void look();

  [[nodiscard]] const Stage& stage() const { return stage_; }
  // An empty folder, and one that all scenes share: for programs and their files.
  [[nodiscard]] std::filesystem::path new_folder() const;
  [[nodiscard]] std::filesystem::path shared_folder() const;
  [[nodiscard]] const std::vector<std::string>& lines() const { return lines_; }
  [[nodiscard]] Account account();

 private:
  struct Seen {
    up_way first_way;
    up_conn last;
  };

  const World& world_;
  const Stage stage_;
  std::vector<std::string> lines_;
  std::vector<std::uint64_t> ids_;
  std::map<std::uint64_t, Seen> seen_;
  const up_stats before_;
  std::uint64_t warm_up_ = 0;  // bytes that warm-ups have redirected
};

}  // namespace underpass::test

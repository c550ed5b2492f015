// SPDX-License-Identifier: Apache-2.0
// Whom a server sees, behind a hostile worker: always a client whose connection the worker has, and which wanted to go
// there.
#include <doctest/doctest.h>

#include <string>

#include "test/netns/hostile/stage.h"

namespace underpass::test {
namespace {

void check_comes_from(const Accepted& server, const Address& client) {
  CHECK(server.said.to_string() == client.to_string());
  CHECK(peer_of(server.fd.get()).to_string() == client.to_string());
}

TEST_CASE("hostile clients: a server sees whose connection is carried, however the socket was used before") {
  const Stage stage;
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(stage.at("b"), family);
    const Address to = local_address(listener.get());
    const Dialogue talk(stage.at("a"), to);
    Dialogue other(stage.at("a"), to);
    REQUIRE(other.ask("peer").starts_with("id="));
    Dial dial = dial_to(to);
    CHECK(talk.ask(dial.to_string()) == "announced=ok connected=ok");
    const Accepted first = accept_and_hear(listener.get());
    check_comes_from(first, local_address(talk.fd()));
    // The same socket, while the server still has its end of the first connection.
    dial.which = "last";
    dial.how = "unspec";
    dial.carries = std::to_string(other.id());
    CHECK(talk.ask(dial.to_string()) == "disconnected=ok announced=ok connected=ok");
    const Accepted second = accept_and_hear(listener.get());
    check_comes_from(second, local_address(other.fd()));
    CHECK(talk.ask("last send hello") == "ok");
    CHECK(receive_exactly(second.fd.get(), 5) == "hello");
    char byte = 0;
    CHECK(::recv(first.fd.get(), &byte, 1, MSG_DONTWAIT) == -1);  // reset
    // And when the client has gone nobody comes in its name.
    other.close();
    CHECK(eventually(seconds(5),
                     [&] { return talk.ask(dial.to_string()) == "disconnected=ok announced=EPERM connected=EPERM"; }));
  }
}

TEST_CASE("hostile clients: who was accepted for one server is not shown to another") {
  const Stage stage;
  for (const int family : kFamilies) {
    const UniqueFd listener = listen_at(stage.at("b"), family);
    const UniqueFd other = listen_at(stage.at("b"), family);
    // Of both sides: dialled by a, and come to b from outside the mesh.
    for (const char* from : {"a", "out"}) {
      CAPTURE(from);
      const Dialogue talk(stage.at(from), local_address(listener.get()));
      const Dialogue elsewhere(stage.at(from), local_address(other.get()));
      REQUIRE(elsewhere.ask("peer").starts_with("id="));
      std::string said = talk.ask("peer");
      const std::string id = said.substr(3, said.find(' ') - 3);
      said = elsewhere.ask("peer");
      Dial dial = dial_to(local_address(listener.get()));
      dial.carries = said.substr(3, said.find(' ') - 3);
      CHECK(talk.ask(dial.to_string()) == "announced=ok connected=EPERM");
      dial.carries = id;
      CHECK(talk.ask(dial.to_string()) == "announced=ok connected=ok");
      const Accepted server = accept_and_hear(listener.get());
      check_comes_from(server, local_address(talk.fd()));
    }
    CHECK_FALSE(readable(listener.get(), milliseconds(0)));
    CHECK_FALSE(readable(other.get(), milliseconds(0)));
  }
}

}  // namespace
}  // namespace underpass::test

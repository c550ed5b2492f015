// SPDX-License-Identifier: Apache-2.0
#include "test/netns/faults/load.h"

#include <stdexcept>
#include <utility>

namespace underpass::test {

Load::Load(std::string name, const Place& from, const Place& to, std::uint16_t port, int clients)
    : name_(std::move(name)), from_(from), to_(to), port_(port) {
  for (int i = 0; i < clients; ++i) threads_.emplace_back([this, i] { run(i); });
}

Load::~Load() { (void)stop(); }

void Load::run(int client) {
  std::optional<Wire> wire;
  for (int i = 0; !stop_; ++i) {
    try {
      ask(wire, "/" + name_ + "-" + std::to_string(client) + "-" + std::to_string(i));
    } catch (const std::exception& problem) {
      wire.reset();
      const std::lock_guard lock(mutex_);
      ++tally_.breaks;
      if (tally_.broken.size() < 5) tally_.broken.emplace_back(problem.what());
    }
  }
}

void Load::ask(std::optional<Wire>& wire, const std::string& path) {
  if (!wire) wire.emplace(from_, to_, port_);
  wire->send("GET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n");
  const Message answer = wire->read_answer();
  const bool closes = answer.field("connection") == "close";
  if (closes) wire.reset();
  if (answer.status() != 200) throw std::runtime_error(answer.start + " " + answer.body);
  const std::lock_guard lock(mutex_);
  ++tally_.answered;
  tally_.told_to_go += closes ? 1 : 0;
  tally_.answered_paths.push_back(path);
}

Load::Tally Load::tally() {
  const std::lock_guard lock(mutex_);
  return tally_;
}

bool Load::goes_on(std::size_t more) {
  const std::size_t until = tally().answered + more;
  return eventually(seconds(15), [&] { return tally().answered >= until; });
}

Load::Tally Load::stop() {
  stop_ = true;
  for (auto& thread : threads_) thread.join();
  threads_.clear();
  return tally();
}

}  // namespace underpass::test

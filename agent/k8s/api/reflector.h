// SPDX-License-Identifier: Apache-2.0
// One kind, kept as the API server has it, over a connection of its own: listed, then watched from there on. A stream
// that is cut is resumed where it was, without a list; 410 Gone asks for a new one. Whatever fails is tried again with
// back-off, and nothing that is known is given up for it.
//
// The first list asks for resourceVersion "0", as client-go's reflector does: any state that the API server has in
// memory, so that a thousand agents that start at once are no load for etcd. Later ones ask for the newest (""), since
// what led to them is that the version we had is too old to go on from. With "0" the server may leave the limit
// unheeded; pages are read as a stream, so that costs nothing.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/k8s/api/api_kind.h"
#include "agent/k8s/api/api_source.h"
#include "agent/k8s/api/backoff.h"
#include "agent/k8s/api/channel.h"
#include "agent/k8s/api/object_reader.h"
#include "agent/k8s/api/replica.h"

namespace underpass::k8s {

// Whether a custom kind is defined, as far as is known.
enum class Defined { kUnknown, kYes, kNo, kMayNotAsk };

class Reflector : public std::enable_shared_from_this<Reflector> {
 public:
  struct Hooks {
    Replica::Decode decode;
    Replica::Changed changed;             // of an object
    std::function<void()> state_changed;  // synced, stale, fresh again, or another problem
    std::function<Defined()> defined;     // of custom kinds: is asked when the server answers 404
  };

  Reflector(boost::asio::io_context& io, std::shared_ptr<Channel> channel, ApiKind kind, ApiTuning tuning, Hooks hooks);

  void start();
  // No hook is called after this.
  void stop();
  // What it waits for may be over: it tries again at once.
  void wake();

  [[nodiscard]] const ApiKind& kind() const { return kind_; }
  [[nodiscard]] const Replica& replica() const { return replica_; }
  [[nodiscard]] KindState state() const;
  [[nodiscard]] bool synced() const { return synced_; }
  [[nodiscard]] bool forbidden() const { return forbidden_; }
  [[nodiscard]] bool absent() const { return absent_; }
  // Neither watched nor listed since then.
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> stale_since() const { return stale_; }
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  struct Failure {
    std::string problem;
    std::optional<std::chrono::seconds> retry_after = {};
    unsigned status = 0;      // HTTP
    bool unreadable = false;  // it would be the same from the same place on: a list gets past it
  };
  // Nothing: it went well.
  using Outcome = std::optional<Failure>;
  struct Page;
  struct Watched;

  static boost::asio::awaitable<void> run(std::shared_ptr<Reflector> self);
  boost::asio::awaitable<Outcome> list();
  boost::asio::awaitable<Outcome> list_version(std::string version);
  boost::asio::awaitable<Outcome> read_page(std::string target, std::shared_ptr<Page> page);
  boost::asio::awaitable<Outcome> watch();
  boost::asio::awaitable<Outcome> read_events(std::shared_ptr<Watched> watched, SteadyTime deadline);
  boost::asio::awaitable<Outcome> begin(std::string target, std::string_view verb);
  boost::asio::awaitable<void> sleep(std::chrono::milliseconds time);

  [[nodiscard]] std::string path(const std::string& version) const;
  [[nodiscard]] std::string selector() const;
  [[nodiscard]] std::string problem_of(const HttpHead& head, std::string_view body, std::string_view verb) const;
  // To watch on from where we are leads nowhere.
  [[nodiscard]] static bool needs_list(const Failure& failure);
  [[nodiscard]] Failure unreadable(const Error& error) const;
  void take_event(Watched& watched, std::string_view type, Received&& received);
  // The server has no such kind: true where it is not to be expected either.
  bool give_up();
  void fail_with(const Failure& failure);
  void fresh();
  void stale();

  boost::asio::io_context& io_;
  std::shared_ptr<Channel> channel_;
  ApiKind kind_;
  ApiTuning tuning_;
  Hooks hooks_;
  Replica replica_;
  Backoff backoff_;
  boost::asio::steady_timer timer_;
  bool stopped_ = false;
  bool woken_ = false;

  std::string version_;         // that is served
  bool listed_before_ = false;  // ever
  bool synced_ = false;
  bool absent_ = false;
  bool forbidden_ = false;
  std::optional<std::chrono::steady_clock::time_point> stale_;
  std::string problem_;
  std::uint64_t lists_ = 0;
  std::uint64_t watches_ = 0;
  std::uint64_t events_ = 0;
};

}  // namespace underpass::k8s

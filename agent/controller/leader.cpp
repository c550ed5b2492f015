// SPDX-License-Identifier: Apache-2.0
#include "agent/controller/leader.h"

#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/value.hpp>
#include <utility>

#include "agent/controller/api_writes.h"

namespace underpass::controller {
namespace asio = boost::asio;
namespace json = boost::json;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::chrono::seconds kTurn(2);
constexpr std::chrono::milliseconds kWatch(500);  // over one's own term

class Candidate : public std::enable_shared_from_this<Candidate> {
 public:
  Candidate(asio::io_context& io, k8s::ApiClient& client, ElectionTerms terms, Leader::Hooks hooks)
      : client_(client), terms_(terms), election_(std::move(terms)), hooks_(std::move(hooks)), turn_(io), watch_(io) {}

  void start() {
    turn();
    watch();
  }

  void stop() {
    stopped_ = true;
    turn_.cancel();
    watch_.cancel();
  }

  void resign(std::function<void()> done) {
    resigned_ = true;
    const bool led = leads_;
    end_term();
    if (!led) return done();
    client_.request("GET", path(), nullptr, [this, weak = weak_from_this(), done](const Result<k8s::ApiAnswer>& got) {
      const auto self = weak.lock();
      const auto freed = self && got && got->status / 100 == 2
                             ? election_.release(got->body, std::chrono::system_clock::now())
                             : std::nullopt;
      if (!freed) return done();
      client_.request("PUT", path(), *freed, [done](const Result<k8s::ApiAnswer>& /*answer*/) { done(); });
    });
  }

  [[nodiscard]] bool leads() const { return leads_; }
  [[nodiscard]] const std::string& holder() const { return election_.holder(); }
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  [[nodiscard]] std::string collection() const {
    return "/apis/coordination.k8s.io/v1/namespaces/" + terms_.lease.ns + "/leases";
  }
  [[nodiscard]] std::string path() const { return collection() + "/" + terms_.lease.name; }

  void turn() {
    client_.request("GET", path(), nullptr, [weak = weak_from_this()](const Result<k8s::ApiAnswer>& answer) {
      if (const auto self = weak.lock(); self && !self->stopped_) self->have(answer);
    });
  }

  void next_turn() {
    turn_.expires_after(kTurn);
    turn_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (!error && self && !self->stopped_ && !self->resigned_) self->turn();
    });
  }

  void have(const Result<k8s::ApiAnswer>& answer) {
    const bool absent = answer && answer->status == kNotFound;
    const auto good = check_answer("get Lease " + terms_.lease.to_string(), answer);
    if (resigned_ || (!good && !absent)) return note(good ? "" : good.error().message);
    const auto began = Clock::now();
    const auto wanted =
        election_.answer(absent ? json::value() : answer->body, began, std::chrono::system_clock::now());
    if (!wanted) return note("");
    write_object(client_, collection(), terms_.lease.name, !absent, *wanted,
                 [weak = weak_from_this(), began](const Result<k8s::ApiAnswer>& written) {
                   const auto self = weak.lock();
                   if (!self || self->stopped_) return;
                   const bool raced = written && written->status == kConflict;
                   const auto done = check_answer("write Lease " + self->terms_.lease.to_string(), written);
                   self->election_.wrote(done.has_value(), began);
                   self->note(done || raced ? "" : done.error().message);
                 });
  }

  void note(std::string problem) {
    if (problem != problem_ && !problem.empty()) spdlog::error("election-problem reason=\"{}\"", problem);
    problem_ = std::move(problem);
    follow();
    next_turn();
  }

  void watch() {
    watch_.expires_after(kWatch);
    watch_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (error || !self || self->stopped_) return;
      self->follow();
      self->watch();
    });
  }

  void follow() {
    const bool now = election_.leads(Clock::now()) && !resigned_;
    if (now == leads_) return;
    if (!now) return end_term();
    leads_ = true;
    spdlog::info("term-begins identity={} lease={}", terms_.identity, terms_.lease.to_string());
    hooks_.begins();
  }

  void end_term() {
    if (!std::exchange(leads_, false)) return;
    spdlog::info("term-ends identity={} holder=\"{}\"", terms_.identity, election_.holder());
    hooks_.ends();
  }

  k8s::ApiClient& client_;
  ElectionTerms terms_;
  Election election_;
  Leader::Hooks hooks_;
  asio::steady_timer turn_;
  asio::steady_timer watch_;
  bool leads_ = false;
  bool stopped_ = false;
  bool resigned_ = false;
  std::string problem_;
};

class CandidateHolder : public Leader {
 public:
  explicit CandidateHolder(std::shared_ptr<Candidate> candidate) : candidate_(std::move(candidate)) {}
  ~CandidateHolder() override { candidate_->stop(); }
  CandidateHolder(const CandidateHolder&) = delete;
  CandidateHolder& operator=(const CandidateHolder&) = delete;

  void start() override { candidate_->start(); }
  void resign(std::function<void()> done) override { candidate_->resign(std::move(done)); }
  [[nodiscard]] bool leads() const override { return candidate_->leads(); }
  [[nodiscard]] const std::string& holder() const override { return candidate_->holder(); }
  [[nodiscard]] const std::string& problem() const override { return candidate_->problem(); }

 private:
  std::shared_ptr<Candidate> candidate_;
};

}  // namespace

std::unique_ptr<Leader> Leader::make(asio::io_context& io, k8s::ApiClient& client, ElectionTerms terms, Hooks hooks) {
  return std::make_unique<CandidateHolder>(std::make_shared<Candidate>(io, client, std::move(terms), std::move(hooks)));
}

}  // namespace underpass::controller

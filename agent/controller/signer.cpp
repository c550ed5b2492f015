// SPDX-License-Identifier: Apache-2.0
#include "agent/controller/signer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <map>
#include <set>
#include <utility>

#include "agent/ca/issue.h"
#include "agent/ca/request.h"
#include "agent/controller/api_writes.h"
#include "agent/controller/child_object.h"
#include "agent/k8s/base64.h"

namespace underpass::controller {
namespace asio = boost::asio;
namespace json = boost::json;
using Clock = std::chrono::steady_clock;

namespace {

// `object` with one condition more.
json::value with_condition(const json::value& object, const char* type, const char* reason,
                           const std::string& message) {
  json::object out = object.get_object();
  auto& conditions = child(out, "status")["conditions"];
  if (!conditions.is_array()) conditions.emplace_array();
  conditions.get_array().push_back(
      json::object{{"type", type}, {"status", "True"}, {"reason", reason}, {"message", message}});
  return out;
}

struct Pending {
  SigningRequest request;
  json::value object;
  Clock::time_point since = Clock::now();
};

class Desk : public std::enable_shared_from_this<Desk> {
 public:
  Desk(asio::io_context& io, k8s::ApiClient& client, SignerOptions options, Signer::Hooks hooks)
      : client_(client), options_(options), hooks_(std::move(hooks)), timer_(io) {}

  void see(k8s::Received&& received) {
    auto request = decode_signing_request(received.object);
    if (!request) {
      // Of another signer, or one that the API server would not have taken.
      spdlog::warn("csr-unreadable name={} reason=\"{}: {}\"", received.name, request.error().path,
                   request.error().cause);
      return;
    }
    const auto name = request->name;
    if (request->signer != ca::kSignerName || request->over) return forget(name);
    const auto since = pending_.contains(name) ? pending_.at(name).since : Clock::now();
    pending_.insert_or_assign(
        name, Pending{.request = std::move(*request), .object = std::move(received.object), .since = since});
    wake();
  }

  void forget(const std::string& name) { pending_.erase(name); }

  void wake() {
    timer_.expires_after(std::chrono::milliseconds(0));
    timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (!error && self && !self->stopped_) self->work();
    });
  }

  void stop() {
    stopped_ = true;
    timer_.cancel();
  }

  [[nodiscard]] Signer::Counts counts() const {
    auto out = counts_;
    out.waiting = pending_.size();
    return out;
  }

 private:
  using Next = std::function<void(const Result<k8s::ApiAnswer>&)>;

  void work() {
    const auto* authority = hooks_.authority();
    if (authority == nullptr) return;  // wake() comes when there is one
    bool waits = false;
    const auto terms = hooks_.terms();
    for (auto& [name, pending] : pending_) {
      if (busy_.size() >= options_.at_once) return;  // whoever is done comes back here
      if (busy_.contains(name)) continue;
      auto verdict = judge(pending.request, terms, hooks_.runs);
      const bool patient = Clock::now() - pending.since < options_.pod_patience;
      if (verdict.kind == SigningVerdict::Kind::kWait && patient) {
        waits = true;
        continue;
      }
      busy_.insert(name);
      if (verdict.kind == SigningVerdict::Kind::kSign)
        approve(name, pending, verdict, *authority);
      else
        deny(name, pending, verdict.cause);
    }
    if (waits) again();
  }

  void again() {
    timer_.expires_after(options_.retry);
    timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (!error && self && !self->stopped_) self->work();
    });
  }

  k8s::ApiClient::Done then(Next next) {
    return [weak = weak_from_this(), next = std::move(next)](const Result<k8s::ApiAnswer>& answer) {
      if (const auto self = weak.lock(); self && !self->stopped_) next(answer);
    };
  }

  void approve(const std::string& name, const Pending& pending, const SigningVerdict& verdict,
               const ca::Authority& authority) {
    auto signed_now = sign(verdict, authority);
    if (!signed_now) return failed(name, signed_now.error().message);
    if (pending.request.approved) return hand_out(name, pending.object, *signed_now);
    const auto message = verdict.asked.identity + " runs on Node " + pending.request.node;
    client_.request("PUT", std::string(ca::kRequestsPath) + "/" + name + "/approval",
                    with_condition(pending.object, "Approved", "PodRunsThere", message),
                    then([this, name, pem = std::move(*signed_now)](const auto& answer) {
                      if (auto good = check_answer("approve", answer); !good)
                        return failed(name, good.error().message, answer);
                      hand_out(name, answer->body, pem);
                    }));
  }

  static Result<std::string> sign(const SigningVerdict& verdict, const ca::Authority& authority) {
    const auto now = std::chrono::system_clock::now();
    const auto left = std::chrono::duration_cast<std::chrono::seconds>(authority.ends - now);
    auto leaf = ca::sign_svid(authority.issuer, verdict.asked.identity, verdict.asked.key,
                              {.now = now, .lasts = std::min(verdict.lasts, left)});
    if (!leaf) return std::unexpected(leaf.error());
    if (auto good = ca::check_issued(authority, *leaf, now); !good) return std::unexpected(good.error());
    std::vector chain{*leaf};
    chain.insert(chain.end(), authority.chain.begin(), authority.chain.end());
    return ca::to_pem(chain);
  }

  void hand_out(const std::string& name, const json::value& object, const std::string& pem) {
    json::object out = object.get_object();
    child(out, "status")["certificate"] = k8s::encode_base64(pem);
    client_.request("PUT", std::string(ca::kRequestsPath) + "/" + name + "/status", out,
                    then([this, name](const auto& answer) {
                      if (auto good = check_answer("sign", answer); !good)
                        return failed(name, good.error().message, answer);
                      ++counts_.issued;
                      over(name);
                    }));
  }

  void deny(const std::string& name, const Pending& pending, const std::string& cause) {
    spdlog::warn("csr-denied name={} user={} node={} reason=\"{}\"", name, pending.request.user, pending.request.node,
                 cause);
    const bool approved = pending.request.approved;  // by somebody else: it cannot be denied any more
    client_.request("PUT", std::string(ca::kRequestsPath) + "/" + name + (approved ? "/status" : "/approval"),
                    with_condition(pending.object, approved ? "Failed" : "Denied", "Refused", cause),
                    then([this, name](const auto& answer) {
                      if (auto good = check_answer("deny", answer); !good)
                        return failed(name, good.error().message, answer);
                      ++counts_.denied;
                      over(name);
                    }));
  }

  void over(const std::string& name) {
    pending_.erase(name);
    busy_.erase(name);
    wake();
  }

  // What lost a race comes again by the watch, as it is then; the rest is tried again after a while.
  void failed(const std::string& name, const std::string& cause, const Result<k8s::ApiAnswer>& answer = fail("")) {
    const bool raced = answer && (answer->status == kConflict || answer->status == kNotFound);
    if (!raced) {
      ++counts_.failed;
      spdlog::warn("csr-failed name={} reason=\"{}\"", name, cause);
    }
    busy_.erase(name);
    again();
  }

  k8s::ApiClient& client_;
  SignerOptions options_;
  Signer::Hooks hooks_;
  asio::steady_timer timer_;
  std::map<std::string, Pending> pending_;
  std::set<std::string> busy_;
  Signer::Counts counts_;
  bool stopped_ = false;
};

class DeskHolder : public Signer {
 public:
  explicit DeskHolder(std::shared_ptr<Desk> desk) : desk_(std::move(desk)) {}
  ~DeskHolder() override { desk_->stop(); }
  DeskHolder(const DeskHolder&) = delete;
  DeskHolder& operator=(const DeskHolder&) = delete;

  void see(k8s::Received&& received) override { desk_->see(std::move(received)); }
  void forget(const std::string& name) override { desk_->forget(name); }
  void wake() override { desk_->wake(); }
  [[nodiscard]] Counts counts() const override { return desk_->counts(); }

 private:
  std::shared_ptr<Desk> desk_;
};

}  // namespace

std::unique_ptr<Signer> Signer::make(asio::io_context& io, k8s::ApiClient& client, SignerOptions options, Hooks hooks) {
  return std::make_unique<DeskHolder>(std::make_shared<Desk>(io, client, options, std::move(hooks)));
}

}  // namespace underpass::controller

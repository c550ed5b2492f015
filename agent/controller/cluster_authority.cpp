// SPDX-License-Identifier: Apache-2.0
#include "agent/controller/cluster_authority.h"

#include <spdlog/spdlog.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/value.hpp>
#include <utility>

#include "agent/ca/details.h"
#include "agent/ca/memory_files.h"
#include "agent/controller/api_writes.h"
#include "agent/controller/secret_object.h"
#include "agent/k8s/field.h"

namespace underpass::controller {
namespace asio = boost::asio;
namespace json = boost::json;

namespace {

constexpr std::chrono::milliseconds kSoon(200);

class Kept : public ClusterAuthority, public std::enable_shared_from_this<Kept> {
 public:
  Kept(asio::io_context& io, k8s::ApiClient& client, AuthorityOptions options, std::function<void()> changed)
      : client_(client), options_(std::move(options)), changed_(std::move(changed)), timer_(io) {}

  void start() override { look(); }
  [[nodiscard]] const ca::Authority* authority() const override {
    return opened_ && good_ ? &opened_->authority : nullptr;
  }
  [[nodiscard]] const std::string& problem() const override { return problem_; }

  void stop() {
    stopped_ = true;
    timer_.cancel();
  }

 private:
  // An answer that comes when the term is over is nobody's.
  k8s::ApiClient::Done then(void (Kept::*member)(const Result<k8s::ApiAnswer>&)) {
    return [weak = weak_from_this(), member](const Result<k8s::ApiAnswer>& answer) {
      if (const auto self = weak.lock(); self && !self->stopped_) ((*self).*member)(answer);
    };
  }

  void again(std::chrono::milliseconds pause) {
    timer_.expires_after(pause);
    timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (!error && self && !self->stopped_) self->look();
    });
  }

  void fail_with(std::string problem) {
    good_ = false;
    note(std::move(problem));
    again(options_.look);
  }

  void note(std::string problem) {
    if (problem != problem_ && !problem.empty()) spdlog::error("ca-problem reason=\"{}\"", problem);
    if (problem != problem_ && problem.empty()) spdlog::info("ca-good-again secret={}", options_.secret.to_string());
    problem_ = std::move(problem);
    changed_();
  }

  // --- 1: the ConfigMap, which also says whether there ever was an authority ---
  void look() {
    client_.request("GET", core_path(options_.trust_bundle, "configmaps") + "/" + options_.trust_bundle.name, nullptr,
                    then(&Kept::have_bundle));
  }

  void have_bundle(const Result<k8s::ApiAnswer>& answer) {
    const bool absent = answer && answer->status == kNotFound;
    if (auto good = check_answer("get ConfigMap " + options_.trust_bundle.to_string(), answer); !good && !absent)
      return out_of_reach(good.error().message);
    map_ = absent ? json::value() : answer->body;
    client_.request("GET", core_path(options_.secret, "secrets") + "/" + options_.secret.name, nullptr,
                    then(&Kept::have_secret));
  }

  // --- 2: the Secret ---
  void have_secret(const Result<k8s::ApiAnswer>& answer) {
    const std::string what = "Secret " + options_.secret.to_string();
    const bool absent = answer && answer->status == kNotFound;
    if (auto good = check_answer("get " + what, answer); !good && !absent) return out_of_reach(good.error().message);
    if (absent && !map_.is_null())
      return fail_with(what + ": is gone, and ConfigMap " + options_.trust_bundle.to_string() +
                       " says that there was one: put it back, or delete the ConfigMap too, and all begins anew");
    secret_ = absent ? json::value() : answer->body;
    AuthoritySecret held;
    if (!absent) {
      auto decoded = decode_secret(secret_);
      if (!decoded) return fail_with(what + ": " + decoded.error().message);
      held = std::move(*decoded);
    }
    open(what, held);
  }

  void open(const std::string& what, const AuthoritySecret& held) {
    const auto now = std::chrono::system_clock::now();
    const ca::MemoryFiles files(what, held.files);
    if (held.rotate) {
      const auto begun = ca::rotate_root(files, options_.upkeep, now);
      if (begun)
        spdlog::info("root-rotation-begun secret={}", options_.secret.to_string());
      else
        spdlog::warn("root-rotation-refused reason=\"{}\"", begun.error().message);
    }
    auto opened = ca::open_authority(files, options_.upkeep, now, held.files.empty());
    if (!opened) return fail_with(opened.error().message);
    next_ = std::move(*opened);
    if (files.files() == held.files && !held.rotate) return publish();
    write_object(client_, core_path(options_.secret, "secrets"), options_.secret.name, secret_.is_object(),
                 encode_secret(secret_, options_.secret, files.files()), then(&Kept::wrote_secret));
  }

  void wrote_secret(const Result<k8s::ApiAnswer>& answer) {
    if (answer && answer->status == kConflict) return again(kSoon);  // somebody else did
    if (auto good = check_answer("write Secret " + options_.secret.to_string(), answer); !good)
      return out_of_reach(good.error().message);
    for (const auto& done : next_->done) spdlog::info("{}", done);
    publish();
  }

  // --- 3: whom to believe, before anything is signed by who is new ---
  void publish() {
    const auto object = encode_bundle(map_, options_.trust_bundle, ca::to_pem(next_->authority.bundle));
    if (!object) return adopt();
    write_object(client_, core_path(options_.trust_bundle, "configmaps"), options_.trust_bundle.name, map_.is_object(),
                 *object, then(&Kept::wrote_bundle));
  }

  void wrote_bundle(const Result<k8s::ApiAnswer>& answer) {
    if (answer && answer->status == kConflict) return again(kSoon);
    if (auto good = check_answer("write ConfigMap " + options_.trust_bundle.to_string(), answer); !good)
      return out_of_reach(good.error().message);
    spdlog::info("trust-bundle-written configmap={} roots={}", options_.trust_bundle.to_string(),
                 next_->authority.bundle.size());
    adopt();
  }

  void adopt() {
    opened_ = std::exchange(next_, std::nullopt);
    good_ = true;
    note(opened_->problem);
    again(options_.look);
  }

  // Nothing is known to be wrong with it: what signed goes on, if it is in its time.
  void out_of_reach(std::string problem) {
    const auto now = std::chrono::system_clock::now();
    if (opened_ && now >= opened_->authority.ends) good_ = false;
    note(std::move(problem));
    again(options_.look);
  }

  k8s::ApiClient& client_;
  AuthorityOptions options_;
  std::function<void()> changed_;
  asio::steady_timer timer_;
  json::value map_;  // as they were read last; null: there is none
  json::value secret_;
  std::optional<ca::Opened> next_;  // is being written
  std::optional<ca::Opened> opened_;
  bool good_ = false;
  bool stopped_ = false;
  std::string problem_;
};

class Holder : public ClusterAuthority {
 public:
  explicit Holder(std::shared_ptr<Kept> kept) : kept_(std::move(kept)) {}
  ~Holder() override { kept_->stop(); }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  void start() override { kept_->start(); }
  [[nodiscard]] const ca::Authority* authority() const override { return kept_->authority(); }
  [[nodiscard]] const std::string& problem() const override { return kept_->problem(); }

 private:
  std::shared_ptr<Kept> kept_;
};

}  // namespace

std::unique_ptr<ClusterAuthority> ClusterAuthority::make(asio::io_context& io, k8s::ApiClient& client,
                                                         AuthorityOptions options, std::function<void()> changed) {
  return std::make_unique<Holder>(std::make_shared<Kept>(io, client, std::move(options), std::move(changed)));
}

}  // namespace underpass::controller
